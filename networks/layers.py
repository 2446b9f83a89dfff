"""Layers: the units that a latency table prices, their keys, and the operators they lower to.

    Conv         k x k, BN, act [, SE] [, skip]; also a stem and a 1 x 1 head
    Separable    depthwise k x k, BN, act [, SE], 1 x 1, BN [, act] [, skip]
    Bottleneck   1 x 1 expand, BN, act, depthwise k x k, BN, act [, SE], linear 1 x 1, BN [, skip]
    Classifier   global average [, dense, act], dense

Squeeze-and-excitation sits after the spatial convolution's activation. A skip acts only where
stride is 1 and channels match; a layer elsewhere has skip `none`, so that layers that compute
the same compare equal and share one key.

Layer key, version 1 (permanent; fields are never reordered, a change is a new version):

    v1/conv/224x224x3/c32/k3/s2/relu/se0/none
    v1/separable/112x112x32/c16/k3/s1/relu-linear/se0/none
    v1/bottleneck/56x56x24/c40/k5/s2/m72/relu/se6-sigmoid/none
    v1/classifier/7x7x1280/c1000/h0/linear

The key holds the exact widths (`m` expanded, `se` squeezed) where block strings hold ratios:
two ratios that round to one width are one layer.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias, cast, get_args

from networks.errors import LayerKeyError, ShapeError
from networks.graph import Activation, Gate, Graph, GraphBuilder, Shape

Skip = Literal["none", "identity", "pool"]


@dataclass(frozen=True, slots=True)
class SqueezeExcite:
    """Global average, 1 x 1 to ``channels``, ReLU, 1 x 1 back, gate, multiply."""

    channels: int
    gate: Gate = "sigmoid"

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ShapeError(f"squeeze channels start at 1, found {self.channels}")

    def lower(self, graph: GraphBuilder, value: int) -> int:
        """Append the gate and its product with ``value``."""
        width = graph.shape(value).channels
        squeezed = graph.convolution(
            graph.global_average(value),
            self.channels,
            name="se_squeeze",
            affine="bias",
            activation="relu",
        )
        excited = graph.convolution(squeezed, width, name="se_excite", affine="bias")
        return graph.multiply(value, graph.activate(excited, self.gate))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spatial(ABC):
    """What the three convolutional layers share: geometry, activation, gate and skip."""

    kind: ClassVar[str]

    input: Shape = field(kw_only=False)
    channels: int = field(kw_only=False)
    kernel: int
    stride: int = 1
    activation: Activation = "relu"
    se: SqueezeExcite | None = None
    skip: Skip = "none"

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ShapeError(f"channels start at 1, found {self.channels}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ShapeError(f"kernel is odd, found {self.kernel}")
        if self.stride not in (1, 2):
            raise ShapeError(f"stride is 1 or 2, found {self.stride}")
        if self.skip != "none" and not can_skip(self.input.channels, self.channels, self.stride):
            raise ShapeError(
                f"skip {self.skip!r} needs stride 1 and equal channels, found stride {self.stride}"
                f" and {self.input.channels} -> {self.channels} channels; use 'none'"
            )

    @property
    def output(self) -> Shape:
        """Shape of the result."""
        return self.input.strided(self.stride, self.channels)

    @property
    def key(self) -> str:
        """The permanent text of this layer; see the module."""
        se = "se0" if self.se is None else f"se{self.se.channels}-{self.se.gate}"
        return (
            f"v1/{self.kind}/{self.input}/c{self.channels}/k{self.kernel}/s{self.stride}"
            f"/{self._middle()}/{se}/{self.skip}"
        )

    def lower(self, graph: GraphBuilder, value: int) -> int:
        """Append this layer's operators; returns the number of its output."""
        # The pool comes before the body, as the official converter orders them.
        shortcut = graph.average_pool(value, kernel=3) if self.skip == "pool" else value
        hidden = self._lower_body(graph, value)
        return hidden if self.skip == "none" else graph.add(hidden, shortcut)

    def _middle(self) -> str:
        return self.activation

    @abstractmethod
    def _lower_body(self, graph: GraphBuilder, value: int) -> int:
        """Append the operators between input and skip; returns the number of their output."""

    def _spatial(
        self, graph: GraphBuilder, value: int, channels: int, *, name: str, depthwise: bool
    ) -> int:
        """Append the k x k convolution and, after its activation, the gate."""
        hidden = graph.convolution(
            value,
            channels,
            name=name,
            kernel=self.kernel,
            stride=self.stride,
            depthwise=depthwise,
            activation=self.activation,
        )
        return hidden if self.se is None else self.se.lower(graph, hidden)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv(Spatial):
    """A k x k convolution with batch norm and activation."""

    kind: ClassVar[str] = "conv"

    def _lower_body(self, graph: GraphBuilder, value: int) -> int:
        return self._spatial(graph, value, self.channels, name="conv", depthwise=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Separable(Spatial):
    """Depthwise k x k, then 1 x 1: linear as in MnasNet, or activated as in MobileNet V1."""

    kind: ClassVar[str] = "separable"
    pointwise: Activation = "linear"

    def _middle(self) -> str:
        return f"{self.activation}-{self.pointwise}"

    def _lower_body(self, graph: GraphBuilder, value: int) -> int:
        hidden = self._spatial(graph, value, self.input.channels, name="depthwise", depthwise=True)
        return graph.convolution(hidden, self.channels, name="project", activation=self.pointwise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottleneck(Spatial):
    """MobileNetV2's inverted bottleneck (MBConv), ``expanded`` channels wide inside."""

    kind: ClassVar[str] = "bottleneck"
    expanded: int

    def __post_init__(self) -> None:
        Spatial.__post_init__(self)
        if self.expanded < 1:
            raise ShapeError(f"expanded channels start at 1, found {self.expanded}")

    def _middle(self) -> str:
        return f"m{self.expanded}/{self.activation}"

    def _lower_body(self, graph: GraphBuilder, value: int) -> int:
        hidden = graph.convolution(value, self.expanded, name="expand", activation=self.activation)
        hidden = self._spatial(graph, hidden, self.expanded, name="depthwise", depthwise=True)
        return graph.convolution(hidden, self.channels, name="project")


@dataclass(frozen=True, slots=True)
class Classifier:
    """Global average, an optional hidden dense with ``activation``, and a dense to ``classes``."""

    kind: ClassVar[str] = "classifier"

    input: Shape
    classes: int
    hidden: int = 0
    activation: Activation = "linear"

    def __post_init__(self) -> None:
        if self.classes < 1 or self.hidden < 0:
            raise ShapeError(f"classes start at 1 and hidden units at 0: {self}")
        if self.hidden == 0 and self.activation != "linear":
            raise ShapeError(f"a classifier without a hidden dense has no activation: {self}")

    @property
    def output(self) -> Shape:
        """Shape of the result."""
        return Shape(1, 1, self.classes)

    @property
    def key(self) -> str:
        """The permanent text of this layer; see the module."""
        return f"v1/classifier/{self.input}/c{self.classes}/h{self.hidden}/{self.activation}"

    def lower(self, graph: GraphBuilder, value: int) -> int:
        """Append this layer's operators; returns the number of its output."""
        value = graph.global_average(value)
        if self.hidden:
            value = graph.dense(value, self.hidden, name="hidden", activation=self.activation)
        return graph.dense(value, self.classes, name="classify")


Layer: TypeAlias = Conv | Separable | Bottleneck | Classifier


def lower_layer(layer: Layer) -> Graph:
    """Return the graph of one layer on its own."""
    graph = GraphBuilder(layer.input)
    layer.lower(graph, 0)
    return graph.build()


def can_skip(input_channels: int, channels: int, stride: int) -> bool:
    """Whether a skip acts: stride 1 and equal widths."""
    return stride == 1 and input_channels == channels


def parse_layer(key: str) -> Layer:
    """Return the layer whose ``key`` this is; the inverse of ``layer.key``.

    Raises:
        LayerKeyError: the text is not a key of version 1, or its sizes cannot be.
    """
    match = _SPATIAL_KEY.fullmatch(key) or _CLASSIFIER_KEY.fullmatch(key)
    if match is None:
        raise LayerKeyError(f"not a layer key of version 1: {key!r}")
    group = match.groupdict()
    shape, channels = Shape(*map(int, match["input"].split("x"))), int(match["channels"])
    activation = cast(Activation, match["activation"])
    try:
        if "hidden" in group:
            return Classifier(shape, channels, int(match["hidden"]), activation)
        squeeze = match["squeeze"]
        se = None if squeeze is None else SqueezeExcite(int(squeeze), cast(Gate, match["gate"]))
        kernel, stride, skip = int(match["kernel"]), int(match["stride"]), cast(Skip, match["skip"])
        if match["expanded"] is not None:
            return Bottleneck(
                shape, channels, kernel=kernel, stride=stride, activation=activation, se=se,
                skip=skip, expanded=int(match["expanded"]),
            )  # fmt: skip
        if match["pointwise"] is not None:
            return Separable(
                shape, channels, kernel=kernel, stride=stride, activation=activation, se=se,
                skip=skip, pointwise=cast(Activation, match["pointwise"]),
            )  # fmt: skip
        return Conv(
            shape, channels, kernel=kernel, stride=stride, activation=activation, se=se, skip=skip
        )
    except ShapeError as error:
        raise LayerKeyError(f"{key!r}: {error}") from error


_N = r"[1-9]\d*"
_ACT = "|".join(get_args(Activation))
_ACTIVATION = f"(?P<activation>{_ACT})"
_SPATIAL_KEY = re.compile(
    rf"v1/(?:conv|(?P<is_separable>separable)|(?P<is_bottleneck>bottleneck))"
    rf"/(?P<input>{_N}x{_N}x{_N})/c(?P<channels>{_N})/k(?P<kernel>{_N})/s(?P<stride>{_N})"
    rf"/(?(is_bottleneck)m(?P<expanded>{_N})/){_ACTIVATION}(?(is_separable)-(?P<pointwise>{_ACT}))"
    rf"/se(?:0|(?P<squeeze>{_N})-(?P<gate>{'|'.join(get_args(Gate))}))"
    rf"/(?P<skip>{'|'.join(get_args(Skip))})"
)
_CLASSIFIER_KEY = re.compile(
    rf"v1/classifier/(?P<input>{_N}x{_N}x{_N})/c(?P<channels>{_N})/h(?P<hidden>0|{_N})/{_ACTIVATION}"
)
