"""Block strings: networks as one line of text, strict both ways.

    224x224x3:cn_r1_k3_s2_c32:ds_r1_k3_s1_c16:ir_r2_k3_s2_e6_c24:...:cn_r1_k1_s1_c1280:fc_c1000

The image, then blocks, joined by colons. A block is a kind and tokens in this order; those in
brackets appear only where they differ from the default:

    cn     convolution           r repeats, k kernel, s stride of the first layer, c channels
    ds     depthwise separable   the same; `dsa` has its pointwise convolution activated too
    ir     inverted residual     and e expansion ratio (or m exact expanded channels) before c
    fc     classifier            c classes [, h hidden units]

    [se0.25 | sc24]              squeeze to a quarter of the input's channels, or to exactly 24
    [hsigmoid]                   the gate is a hard-sigmoid
    [relu6 | hswish | linear]    activation (default relu)
    [noskip | pool]              no skip, or an average-pooling skip, where one could act
                                 (default: identity)

Repeats have stride 1. `format_network` joins as many layers into a block as say the same, so each
network has one string. The tokens are timm's and tensorflow/tpu's where those have one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import TypeVar

from networks.errors import BlockStringError, NetworkError, ShapeError
from networks.graph import Activation, Shape
from networks.layers import (
    Bottleneck,
    Classifier,
    Conv,
    Layer,
    Separable,
    Skip,
    Spatial,
    SqueezeExcite,
    can_skip,
)
from networks.network import Network
from networks.rounding import squeeze_channels
from networks.scanner import NUMBER, Scanner

_ACTIVATIONS: dict[Activation, str] = {
    "relu": "",
    "relu6": "_relu6",
    "hard-swish": "_hswish",
    "linear": "_linear",
}
_SKIPS: dict[Skip, str] = {"identity": "", "none": "_noskip", "pool": "_pool"}
_CLASSES = {"cn": Conv, "ds": Separable, "dsa": Separable, "ir": Bottleneck}
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class BlockTemplate:
    """What the layers of one block share; ``skip`` is None until a layer tells."""

    kind: str
    kernel: int
    channels: int
    expansion: Fraction | None
    expanded: int | None
    se: SqueezeExcite | None
    se_is_ratio: bool
    activation: Activation
    skip: Skip | None

    @classmethod
    def of(cls, layer: Spatial) -> BlockTemplate:
        """Return that of a layer."""
        inputs = layer.input.channels
        expansion, expanded = None, None
        if isinstance(layer, Bottleneck):
            ratio = Fraction(layer.expanded, inputs)
            expansion = ratio if (ratio * 1000).denominator == 1 else None
            expanded = layer.expanded
        return cls(
            kind=_kind(layer),
            kernel=layer.kernel,
            channels=layer.channels,
            expansion=expansion,
            expanded=expanded,
            se=layer.se,
            se_is_ratio=layer.se is not None and layer.se.channels == squeeze_channels(inputs),
            activation=layer.activation,
            skip=layer.skip if can_skip(inputs, layer.channels, layer.stride) else None,
        )

    def layer(self, shape: Shape, stride: int) -> Layer:
        """Return the layer for that input; the skip acts where it can."""
        se = self.se
        if se is not None and self.se_is_ratio:
            se = replace(se, channels=squeeze_channels(shape.channels))
        acts = can_skip(shape.channels, self.channels, stride)
        skip: Skip = (self.skip or "identity") if acts else "none"
        spatial: Callable[..., Layer] = partial(
            _CLASSES[self.kind], shape, self.channels, kernel=self.kernel, stride=stride,
            activation=self.activation, se=se, skip=skip,
        )  # fmt: skip
        if self.kind == "dsa":
            return spatial(pointwise=self.activation)
        if self.kind == "ir":
            exact = self.expansion is None
            wide = self.expanded if exact else Fraction(shape.channels) * (self.expansion or 0)
            return spatial(expanded=_whole(wide))
        return spatial()

    def text(self, repeats: int, stride: int) -> str:
        """Return the block as text."""
        wide = ""
        if self.kind == "ir":
            exact = self.expansion is None
            wide = f"_m{self.expanded}" if exact else f"_e{_decimal(self.expansion or Fraction())}"
        squeeze = ""
        if self.se is not None:
            squeeze = "_se0.25" if self.se_is_ratio else f"_sc{self.se.channels}"
            squeeze += "_hsigmoid" if self.se.gate == "hard-sigmoid" else ""
        return (
            f"{self.kind}_r{repeats}_k{self.kernel}_s{stride}{wide}_c{self.channels}{squeeze}"
            f"{_ACTIVATIONS[self.activation]}{_SKIPS[self.skip or 'identity']}"
        )


def format_network(network: Network) -> str:
    """Return the block string of a network; `parse_network` is its inverse."""
    parts = [str(network.input)]
    layers = list(network.layers)
    while layers:
        first = layers.pop(0)
        if isinstance(first, Classifier):
            hidden = f"_h{first.hidden}" if first.hidden else ""
            activation = _ACTIVATIONS[first.activation] if first.hidden else ""
            parts.append(f"fc_c{first.classes}{hidden}{activation}")
            continue
        template, repeats = BlockTemplate.of(first), 1
        while layers and isinstance(layers[0], Spatial):
            known = template if template.skip else replace(template, skip=layers[0].skip)
            if known.layer(layers[0].input, 1) != layers[0]:
                break
            if can_skip(layers[0].input.channels, layers[0].channels, 1):
                template = known
            layers.pop(0)
            repeats += 1
        parts.append(template.text(repeats, first.stride))
    return ":".join(parts)


def parse_network(text: str) -> Network:
    """Return the network that a block string spells.

    Raises:
        BlockStringError: with the position of the first character that does not fit.
    """
    scan = Scanner(text)
    shape = scan.image()
    layers: list[Layer] = []
    while not scan.ended:
        scan.take(":", "':' and a block")
        start = scan.position
        try:
            for layer in _parse_block(scan, shape):
                layers.append(layer)
                shape = layer.output
        except NetworkError as error:
            if isinstance(error, BlockStringError):
                raise
            raise scan.fail(f"a block that can be ({error})", start) from error
    if not layers:
        raise scan.fail("':' and a block")
    return Network(tuple(layers))


def parse_block(text: str) -> tuple[BlockTemplate, int, int]:
    """Return the template, the repeats and the stride of one block other than a classifier.

    Raises:
        BlockStringError: with the position of the first character that does not fit.
    """
    scan = Scanner(text)
    kind = scan.take("cn|dsa|ds|ir", "a block: cn, ds, dsa or ir")[0]
    parsed = _parse_template(scan, kind)
    if not scan.ended:
        raise scan.fail("the end of the block")
    return parsed


def _parse_block(scan: Scanner, shape: Shape) -> Iterator[Layer]:
    kind = scan.take("cn|dsa|ds|ir|fc", "a block: cn, ds, dsa, ir or fc")[0]
    if kind == "fc":
        classes = scan.number("c")
        hidden = scan.maybe(rf"_h({NUMBER})")
        activation = _activation(scan) if hidden else "linear"
        scan.end_block()
        yield Classifier(shape, classes, int(hidden[1]) if hidden else 0, activation)
        return
    template, repeats, stride = _parse_template(scan, kind)
    for repeat in range(repeats):
        layer = template.layer(shape, stride if repeat == 0 else 1)
        yield layer
        shape = layer.output


def _parse_template(scan: Scanner, kind: str) -> tuple[BlockTemplate, int, int]:
    """Return template, repeats and stride of what follows a block's kind."""
    repeats, kernel = scan.number("r"), scan.number("k")
    stride = int(scan.take("_s([12])", "_s1 or _s2")[1])
    ratio = expanded = None
    if kind == "ir":
        wide = scan.take(
            rf"_e((?:0|{NUMBER})(?:\.\d+)?)|_m({NUMBER})", "_e and a ratio, or _m and a width"
        )
        ratio = Fraction(wide[1]) if wide[1] else None
        expanded = int(wide[2]) if wide[2] else None
    channels = scan.number("c")
    squeeze = scan.maybe(rf"_se0\.25|_sc({NUMBER})")
    gate = squeeze and scan.maybe("_hsigmoid")
    se = None
    if squeeze:
        se = SqueezeExcite(int(squeeze[1] or 1), "hard-sigmoid" if gate else "sigmoid")
    activation = _activation(scan)
    skip = scan.maybe("_noskip|_pool")
    scan.end_block()
    block_skip: Skip = _by_text(_SKIPS, skip[0] if skip else "")
    template = BlockTemplate(
        kind, kernel, channels, ratio, expanded, se, squeeze is not None and not squeeze[1],
        activation, block_skip,
    )  # fmt: skip
    return template, repeats, stride


def _activation(scan: Scanner) -> Activation:
    match = scan.maybe("|".join(filter(None, sorted(_ACTIVATIONS.values(), reverse=True))))
    return _by_text(_ACTIVATIONS, match[0] if match else "")


def _kind(layer: Spatial) -> str:
    if isinstance(layer, Separable):
        if layer.pointwise == "linear":
            return "ds"
        if layer.pointwise == layer.activation:
            return "dsa"
        raise NetworkError(f"no block string says {layer.key}: two different activations")
    return "cn" if isinstance(layer, Conv) else "ir"


def _whole(channels: Fraction | int | None) -> int:
    if channels is None or Fraction(channels).denominator != 1:
        raise ShapeError(f"the expansion gives {channels} channels, not a whole number")
    return int(channels)


def _decimal(ratio: Fraction) -> str:
    return f"{Decimal(ratio.numerator) / Decimal(ratio.denominator):f}"


def _by_text(texts: dict[_T, str], text: str) -> _T:
    return next(value for value, own in texts.items() if own == text)
