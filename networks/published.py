"""Published networks by name, at any width multiplier, resolution and number of classes.

Sources: MnasNet from tensorflow/tpu (`mnasnet_models.py`), MobileNets from their papers and
timm's block strings. The width multiplier rounds every width with `make_divisible`; the
1280-wide last convolution never shrinks (MobileNetV2's rule) and grows only in MobileNetV2.
"""

from __future__ import annotations

from collections.abc import Callable

from networks.errors import ShapeError, UnknownName
from networks.graph import Activation, Shape
from networks.layers import Bottleneck, Classifier, Conv, Layer, Separable, SqueezeExcite, can_skip
from networks.network import Network
from networks.rounding import make_divisible, squeeze_channels

# MnasNet rows: repeats, kernel, stride, expansion (0: separable), channels, squeeze-excite
_Row = tuple[int, int, int, int, int, bool]
_A1: tuple[_Row, ...] = (
    (1, 3, 1, 0, 16, False),
    (2, 3, 2, 6, 24, False),
    (3, 5, 2, 3, 40, True),
    (4, 3, 2, 6, 80, False),
    (2, 3, 1, 6, 112, True),
    (3, 5, 2, 6, 160, True),
    (1, 3, 1, 6, 320, False),
)
_B1: tuple[_Row, ...] = (
    (1, 3, 1, 0, 16, False),
    (3, 3, 2, 3, 24, False),
    (3, 5, 2, 3, 40, False),
    (3, 5, 2, 6, 80, False),
    (2, 3, 1, 6, 96, False),
    (4, 5, 2, 6, 192, False),
    (1, 3, 1, 6, 320, False),
)
_SMALL: tuple[_Row, ...] = (
    (1, 3, 1, 0, 8, False),
    (1, 3, 2, 3, 16, False),
    (2, 3, 2, 6, 16, False),
    (4, 5, 2, 6, 32, True),
    (3, 3, 1, 6, 32, True),
    (3, 5, 2, 6, 88, True),
    (1, 3, 1, 6, 144, False),
)
# channels, stride
_V1 = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1),
    (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
# expansion, channels, repeats, stride
_V2 = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip
# kernel, stride, expansion, channels, squeeze-excite, activation
_V3: tuple[tuple[int, int, float, int, bool, Activation], ...] = (
    (3, 1, 1, 16, False, "relu"),
    (3, 2, 4, 24, False, "relu"),
    (3, 1, 3, 24, False, "relu"),
    (5, 2, 3, 40, True, "relu"),
    (5, 1, 3, 40, True, "relu"),
    (5, 1, 3, 40, True, "relu"),
    (3, 2, 6, 80, False, "hard-swish"),
    (3, 1, 2.5, 80, False, "hard-swish"),
    (3, 1, 2.3, 80, False, "hard-swish"),
    (3, 1, 2.3, 80, False, "hard-swish"),
    (3, 1, 6, 112, True, "hard-swish"),
    (3, 1, 6, 112, True, "hard-swish"),
    (5, 2, 6, 160, True, "hard-swish"),
    (5, 1, 6, 160, True, "hard-swish"),
    (5, 1, 6, 160, True, "hard-swish"),
)


def published_network(
    name: str,
    *,
    width: float = 1.0,
    resolution: int = 224,
    classes: int = 1000,
    in_channels: int = 3,
    stem_stride: int = 2,
) -> Network:
    """Return the published network of this name.

    Args:
        width: multiplier of all widths, greater than 0.
        resolution: height and width of the image in pixels.
        stem_stride: 2 as published; 1 keeps more of a small image.

    Raises:
        UnknownName: there is none; the nearest names are listed.
        ShapeError: width or resolution is not a positive number.
    """
    if name not in _BUILDERS:
        raise UnknownName("published network", name, _BUILDERS)
    if not 0 < width < float("inf"):
        raise ShapeError(f"width multiplier is greater than 0, found {width}")
    return _BUILDERS[name](
        _Chain(Shape(resolution, resolution, in_channels), width, stem_stride), classes
    )


class _Chain:
    """Layers so far, and the widths they are scaled by."""

    def __init__(self, image: Shape, width: float, stem_stride: int) -> None:
        self.layers: list[Layer] = []
        self.shape, self.width, self.stem_stride = image, width, stem_stride

    def scaled(self, channels: int) -> int:
        return make_divisible(channels * self.width)

    def append(self, layer: Layer) -> None:
        self.layers.append(layer)
        self.shape = layer.output

    def conv(
        self, channels: int, *, kernel: int, stride: int = 1, activation: Activation = "relu"
    ) -> None:
        self.append(Conv(self.shape, channels, kernel=kernel, stride=stride, activation=activation))

    def mobile(
        self, channels: int, *, kernel: int = 3, stride: int = 1, expansion: float = 0,
        activation: Activation = "relu", se: SqueezeExcite | None = None, skip: bool = True,
    ) -> None:  # fmt: skip
        """Append a bottleneck, or with expansion 0 a separable layer."""
        acts = skip and can_skip(self.shape.channels, channels, stride)
        if expansion:
            self.append(
                Bottleneck(
                    self.shape, channels, kernel=kernel, stride=stride, activation=activation,
                    expanded=make_divisible(self.shape.channels * expansion), se=se,
                    skip="identity" if acts else "none",
                )
            )  # fmt: skip
        else:
            self.append(
                Separable(
                    self.shape, channels, kernel=kernel, stride=stride, activation=activation,
                    se=se, skip="identity" if acts else "none",
                )
            )  # fmt: skip

    def finish(self, classes: int, hidden: int = 0, activation: Activation = "linear") -> Network:
        self.append(Classifier(self.shape, classes, hidden, activation))
        return Network(tuple(self.layers))


def _mnasnet(rows: tuple[_Row, ...], stem: int) -> Callable[[_Chain, int], Network]:
    def build(chain: _Chain, classes: int) -> Network:
        chain.conv(chain.scaled(stem), kernel=3, stride=chain.stem_stride)
        for repeats, kernel, stride, expansion, channels, squeezes in rows:
            for repeat in range(repeats):
                squeeze = squeeze_channels(chain.shape.channels)
                chain.mobile(
                    chain.scaled(channels),
                    kernel=kernel,
                    stride=stride if repeat == 0 else 1,
                    expansion=expansion,
                    se=SqueezeExcite(squeeze) if squeezes else None,
                )
        chain.conv(1280, kernel=1)
        return chain.finish(classes)

    return build


def _mobilenet_v1(chain: _Chain, classes: int) -> Network:
    chain.conv(chain.scaled(32), kernel=3, stride=chain.stem_stride, activation="relu6")
    for channels, stride in _V1:
        chain.append(
            Separable(
                chain.shape, chain.scaled(channels), kernel=3, stride=stride,
                activation="relu6", pointwise="relu6",
            )
        )  # fmt: skip
    return chain.finish(classes)


def _mobilenet_v2(chain: _Chain, classes: int) -> Network:
    chain.conv(chain.scaled(32), kernel=3, stride=chain.stem_stride, activation="relu6")
    for expansion, channels, repeats, stride in _V2:
        for repeat in range(repeats):
            chain.mobile(
                chain.scaled(channels),
                stride=stride if repeat == 0 else 1,
                expansion=0 if expansion == 1 else expansion,
                activation="relu6",
            )
    chain.conv(make_divisible(1280 * max(1.0, chain.width)), kernel=1, activation="relu6")
    return chain.finish(classes)


def _mobilenet_v3_large(chain: _Chain, classes: int) -> Network:
    chain.conv(chain.scaled(16), kernel=3, stride=chain.stem_stride, activation="hard-swish")
    for kernel, stride, expansion, channels, squeezes, activation in _V3:
        squeeze = make_divisible(make_divisible(chain.shape.channels * expansion) * 0.25)
        chain.mobile(
            chain.scaled(channels),
            kernel=kernel,
            stride=stride,
            expansion=0 if expansion == 1 else expansion,
            activation=activation,
            se=SqueezeExcite(squeeze, "hard-sigmoid") if squeezes else None,
        )
    chain.conv(chain.scaled(960), kernel=1, activation="hard-swish")
    return chain.finish(classes, 1280, "hard-swish")


_BUILDERS: dict[str, Callable[[_Chain, int], Network]] = {
    "mnasnet-a1": _mnasnet(_A1, 32),
    "mnasnet-b1": _mnasnet(_B1, 32),
    "mnasnet-small": _mnasnet(_SMALL, 8),
    "mobilenet-v1": _mobilenet_v1,
    "mobilenet-v2": _mobilenet_v2,
    "mobilenet-v3-large": _mobilenet_v3_large,
}
PUBLISHED = tuple(_BUILDERS)
