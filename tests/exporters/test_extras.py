from __future__ import annotations

import json

import numpy as np
import pytest

from exporters.errors import MissingExtra
from exporters.extras import require_extra, version_of


def test_what_is_installed_is_imported() -> None:
    assert require_extra("int8", "json", "json.decoder") == (json, json.decoder)


def test_what_is_missing_is_one_line_that_names_the_extra() -> None:
    with pytest.raises(
        MissingExtra, match=r"no_such_module.*pip install 'hilnas\[int8\]'"
    ) as found:
        require_extra("int8", "json", "no_such_module")
    assert "\n" not in str(found.value)


def test_the_version_is_that_of_the_distribution_that_is_installed() -> None:
    assert version_of("int8", "no-such-distribution", "numpy") == np.__version__
    with pytest.raises(MissingExtra, match=r"no-such, nor-this; .*'hilnas\[int8\]'"):
        version_of("int8", "no-such", "nor-this")
