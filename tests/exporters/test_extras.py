from __future__ import annotations

import json

import pytest

from exporters.errors import MissingExtra
from exporters.extras import require_extra


def test_what_is_installed_is_imported() -> None:
    assert require_extra("int8", "json", "json.decoder") == (json, json.decoder)


def test_what_is_missing_is_one_line_that_names_the_extra() -> None:
    with pytest.raises(
        MissingExtra, match=r"no_such_module.*pip install 'hilnas\[int8\]'"
    ) as found:
        require_extra("int8", "json", "no_such_module")
    assert "\n" not in str(found.value)
