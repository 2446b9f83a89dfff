"""Published networks have the published counts."""

import pytest

from networks.errors import ShapeError, UnknownName
from networks.published import PUBLISHED, published_network


@pytest.mark.parametrize(
    ("name", "width", "params_millions", "madds_millions"),
    [
        ("mnasnet-a1", 1.0, 3.887, 311.6),
        ("mnasnet-b1", 1.0, 4.383, 314.4),
        ("mnasnet-small", 1.0, 2.030, 68.3),
        ("mobilenet-v1", 1.0, 4.232, 568.7),
        ("mobilenet-v2", 1.0, 3.505, 300.8),
        ("mobilenet-v2", 1.4, 6.109, 582.2),
        ("mobilenet-v3-large", 1.0, 5.483, 216.6),
    ],
)
def test_counts(name: str, width: float, params_millions: float, madds_millions: float) -> None:
    network = published_network(name, width=width)
    assert round(network.params / 1e6, 3) == params_millions
    assert round(network.madds / 1e6, 1) == madds_millions


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("width", [0.25, 0.75, 1.3])
def test_any_width_and_resolution(name: str, width: float) -> None:
    network = published_network(name, width=width, resolution=96, classes=10, in_channels=1)
    assert str(network.input) == "96x96x1"
    assert str(network.output) == "1x1x10"


def test_an_unknown_name_gets_suggestions() -> None:
    with pytest.raises(UnknownName, match="did you mean mobilenet-v2"):
        published_network("mobilenetv2")


@pytest.mark.parametrize("width", [0.0, -1.0, float("nan"), float("inf")])
def test_a_width_that_cannot_be(width: float) -> None:
    with pytest.raises(ShapeError, match="width multiplier"):
        published_network("mnasnet-a1", width=width)
