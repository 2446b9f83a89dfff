"""Cell strings: networks of cells as one line of text, strict both ways.

    224x224x3:imagenet_c32:normal_r4_c44_sep5@0+sep3@1_..._cat1.2.3.4.5.6:reduction_...:fc_c1000

Five parts joined by colons: the image, then

    imagenet | cifar   stem, and its c channels
    normal             r repeats, c filters of the first normal cells, and the cell
    reduction          [skip] where the cell after a reduction skips its input, and the cell
    fc                 c classes

A cell is its blocks in order and ``cat``, the states that it concatenates, joined by dots. A
block is two edges, added by ``+`` or concatenated by ``++``; an edge is an operator (see
`networks.cell_operators`) at the number of a state: ``sep5@0+sep3@1``.
"""

from __future__ import annotations

from typing import cast

from networks.cell_operators import CELL_OPERATORS
from networks.cells import Block, Cell, CellNetwork, Edge, Stem
from networks.errors import CellError, CellStringError, ShapeError, suggest
from networks.scanner import NUMBER, Scanner

_STATE = f"(?:0|{NUMBER})"


def format_cell_network(network: CellNetwork) -> str:
    """Return the cell string of a network; `parse_cell_network` is its inverse."""
    skip = "_skip" if network.skip_reduction_input else ""
    return ":".join(
        (
            str(network.image),
            f"{network.stem}_c{network.stem_channels}",
            f"normal_r{network.repeats}_c{network.filters}{_format_cell(network.normal)}",
            f"reduction{skip}{_format_cell(network.reduction)}",
            f"fc_c{network.classes}",
        )
    )


def parse_cell_network(text: str) -> CellNetwork:
    """Return the network of cells that a cell string spells.

    Raises:
        CellStringError: with the position of the first character that does not fit.
    """
    scan = Scanner(text, CellStringError)
    image = scan.image()
    stem = scan.take(":(imagenet|cifar)", "':' and a stem: imagenet or cifar")[1]
    stem_channels = scan.number("c")
    scan.take(":normal", "':' and the normal cell")
    repeats, filters = scan.number("r"), scan.number("c")
    normal = _parse_cell(scan)
    scan.take(":reduction", "':' and the reduction cell")
    skip = scan.maybe("_skip") is not None
    reduction = _parse_cell(scan)
    scan.take(":fc", "':' and fc")
    classes = scan.number("c")
    if not scan.ended:
        raise scan.fail("the end")
    try:
        return CellNetwork(
            image=image,
            stem=cast(Stem, stem),
            stem_channels=stem_channels,
            repeats=repeats,
            filters=filters,
            normal=normal,
            reduction=reduction,
            classes=classes,
            skip_reduction_input=skip,
        )
    except ShapeError as error:
        raise scan.fail(f"a network that can be ({error})", 0) from error


def _format_cell(cell: Cell) -> str:
    blocks = "".join(
        f"_{_format_edge(block.left)}{'+' if block.combination == 'add' else '++'}"
        f"{_format_edge(block.right)}"
        for block in cell.blocks
    )
    return f"{blocks}_cat{'.'.join(map(str, cell.concatenated))}"


def _format_edge(edge: Edge) -> str:
    return f"{edge.operator}@{edge.state}"


def _parse_cell(scan: Scanner) -> Cell:
    start, blocks = scan.position, []
    while not (joined := scan.maybe(rf"_cat({_STATE}(?:\.{_STATE})*)")):
        _, left = _parse_edge(scan, "_", "_ and an edge such as sep5@0, or _cat and states")
        sign, right = _parse_edge(scan, r"\+\+|\+", "+ or ++ and an edge such as sep5@0")
        blocks.append(Block(left, right, "add" if sign == "+" else "concat"))
    scan.end_block()
    try:
        return Cell(tuple(blocks), tuple(map(int, joined[1].split("."))))
    except CellError as error:
        raise scan.fail(f"a cell that can be ({error})", start) from error


def _parse_edge(scan: Scanner, sign: str, expected: str) -> tuple[str, Edge]:
    match = scan.take(rf"({sign})([a-z0-9]+)@({_STATE})", expected)
    operator = match[2]
    if operator not in CELL_OPERATORS:
        hint = suggest(operator, CELL_OPERATORS)
        raise scan.fail(f"an operator of cells ({hint})", match.start(2))
    return match[1], Edge(operator, int(match[3]))
