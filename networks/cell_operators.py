"""Cell operators: the thirteen that NASNet's cells choose from, and how each is lowered.

    id                 nothing; a strided 1 x 1 convolution where size or width must change
    1x3   1x7          a 1 x k convolution, then k x 1
    dil3               3 x 3 convolution whose taps are two pixels apart
    avg3               3 x 3 average pooling
    max3  max5  max7   k x k max pooling
    conv1 conv3        k x k convolution
    sep3  sep5  sep7   depthwise k x k and 1 x 1, twice

Every convolution is ReLU, convolution, batch norm; between depthwise and 1 x 1 is nothing. A
pooling that must change the width is followed by a 1 x 1 convolution without a ReLU.

Sources: Zoph et al. 2018 (arXiv 1707.07012) for the choice, tensorflow/models' slim for `id`,
pooling and `sep`. Where the two leave it open: at stride 2, ``1x3`` and ``1x7`` stride in their
second convolution, so that the first one's every row is read, and ``dil3`` reduces as ``id`` does
and runs on the result, because TensorFlow has no strided dilated convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from networks.graph import GraphBuilder

# graph, value, filters, stride -> value
Lowering = Callable[[GraphBuilder, int, int, int], int]


def rectified_convolution(
    graph: GraphBuilder,
    value: int,
    filters: int,
    *,
    name: str,
    kernel: int | tuple[int, int] = 1,
    stride: int = 1,
    dilation: int = 1,
) -> int:
    """Append ReLU, convolution and batch norm; the ReLU of one value is computed once."""
    return graph.convolution(
        graph.activate(value, "relu"),
        filters,
        name=name,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
    )


def _identity(graph: GraphBuilder, value: int, filters: int, stride: int) -> int:
    if stride == 1 and graph.shape(value).channels == filters:
        return value
    return rectified_convolution(graph, value, filters, name="match", stride=stride)


def _convolution(graph: GraphBuilder, value: int, filters: int, stride: int, *, kernel: int) -> int:
    return rectified_convolution(graph, value, filters, name="conv", kernel=kernel, stride=stride)


def _crossed(graph: GraphBuilder, value: int, filters: int, stride: int, *, kernel: int) -> int:
    flat = rectified_convolution(graph, value, filters, name="flat", kernel=(1, kernel))
    return rectified_convolution(
        graph, flat, filters, name="tall", kernel=(kernel, 1), stride=stride
    )


def _dilated(graph: GraphBuilder, value: int, filters: int, stride: int, *, kernel: int) -> int:
    if stride > 1:
        value = _identity(graph, value, filters, stride)
    return rectified_convolution(graph, value, filters, name="conv", kernel=kernel, dilation=2)


def _separable(graph: GraphBuilder, value: int, filters: int, stride: int, *, kernel: int) -> int:
    value = graph.activate(value, "relu")
    for part in ("first", "second"):
        value = graph.convolution(
            value,
            graph.shape(value).channels,
            name=f"{part}_depthwise",
            kernel=kernel,
            stride=stride if part == "first" else 1,
            depthwise=True,
            affine="none",
        )
        value = graph.convolution(
            value,
            filters,
            name=f"{part}_pointwise",
            activation="relu" if part == "first" else "linear",
        )
    return value


def _pool(
    graph: GraphBuilder,
    value: int,
    filters: int,
    stride: int,
    *,
    pool: Callable[..., int],
    kernel: int,
) -> int:
    pooled = pool(graph, value, kernel=kernel, stride=stride)
    if graph.shape(pooled).channels == filters:
        return pooled
    return graph.convolution(pooled, filters, name="match")


CELL_OPERATORS: Mapping[str, Lowering] = {
    "id": _identity,
    "1x3": partial(_crossed, kernel=3),
    "1x7": partial(_crossed, kernel=7),
    "dil3": partial(_dilated, kernel=3),
    "avg3": partial(_pool, pool=GraphBuilder.average_pool, kernel=3),
    "max3": partial(_pool, pool=GraphBuilder.max_pool, kernel=3),
    "max5": partial(_pool, pool=GraphBuilder.max_pool, kernel=5),
    "max7": partial(_pool, pool=GraphBuilder.max_pool, kernel=7),
    "conv1": partial(_convolution, kernel=1),
    "conv3": partial(_convolution, kernel=3),
    "sep3": partial(_separable, kernel=3),
    "sep5": partial(_separable, kernel=5),
    "sep7": partial(_separable, kernel=7),
}
