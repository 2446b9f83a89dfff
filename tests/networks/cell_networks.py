"""Random cells and networks of them."""

from typing import Any

from hypothesis import strategies as st

from networks.cell_operators import CELL_OPERATORS
from networks.cells import Block, Cell, CellNetwork, Edge, unread_states
from networks.graph import Shape


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    """Cells of any operators, of one to five blocks."""
    blocks = []
    for index in range(draw(st.integers(1, 5))):
        edge = st.builds(Edge, st.sampled_from(list(CELL_OPERATORS)), st.integers(0, 1 + index))
        blocks.append(draw(st.builds(Block, edge, edge, st.sampled_from(["add", "concat"]))))
    more = draw(st.sets(st.integers(0, 1 + len(blocks))))
    return Cell(tuple(blocks), tuple(sorted(more.union(unread_states(tuple(blocks))))))


@st.composite
def cell_networks(draw: st.DrawFn, *, largest: int = 19) -> CellNetwork:
    """Small networks on images of any proportion up to ``largest`` pixels a side."""
    side = st.integers(3, largest)
    shared: dict[str, Any] = {
        "image": Shape(draw(side), draw(side), draw(st.integers(1, 3))),
        "normal": draw(cells()),
        "reduction": draw(cells()),
        "stem": draw(st.sampled_from(["imagenet", "cifar"])),
    }
    return CellNetwork(
        stem_channels=draw(st.integers(1, 9)),
        repeats=draw(st.integers(1, 2)),
        filters=draw(st.integers(8, 13)),
        classes=draw(st.integers(1, 9)),
        skip_reduction_input=draw(st.booleans()),
        **shared,
    )
