from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from latency_tables.block_plot import plot_blocks
from latency_tables.calibration import calibrate
from latency_tables.errors import TableError, Uncalibrated
from latency_tables.figures import write_figure
from latency_tables.plots import plot_drift, plot_networks
from latency_tables.table import Anchor, LatencyTable, MeasuredNetwork
from latency_tables.validation import ValidatedNetwork
from networks.block_strings import format_network
from networks.spaces import make_space
from networks.spaces.chain import ChainSpace
from networks.spaces.space_files import read_space
from tests.latency_tables.conftest import CONDITION, PROVENANCE, make_row

SPACE = make_space("accel-nasbench", resolution=32)
TINY = """
name = "tiny"
image = [32, 32, 3]
stem = ["cn_r1_k3_s2_c16"]
classes = 10
[[block]]
name = "early"
options = ["ir_r1_k3_s2_e3_c24", "cn_r1_k3_s2_c32"]
[[block]]
name = "late"
kind = "ds"
kernel = [3, 5]
stride = 2
channels = [32, 48, 64]
layers = 1
"""


@pytest.fixture(scope="module")
def priced() -> LatencyTable:
    """A table of the whole space, a layer's latency growing with its number, and 3 networks."""
    rows = [make_row(layer.key, 0.01 * (1 + i)) for i, layer in enumerate(SPACE.layers)]
    table = LatencyTable.from_rows("test", CONDITION, rows, provenance=PROVENANCE)
    networks = []
    for number, genotype in enumerate(SPACE.sample(3, np.random.default_rng(1))):
        network = SPACE.decode(genotype)
        keys = tuple(layer.key for layer in network.layers)
        latency_ms = (1.1 + 0.01 * number) * float(table.hot_ms(keys).sum())
        networks.append(
            MeasuredNetwork(
                format_network(network), keys, latency_ms, None, 6, "ok", 1.0, f"{number:064d}"
            )
        )
    return calibrate(replace(table, networks=tuple(networks)))


def drawn(figure: Figure) -> list[str]:
    """Return all text of a figure, after checking that nothing is cut off at its edges."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    box = figure.get_tightbbox(canvas.get_renderer())  # type: ignore[no-untyped-call]
    width, height = figure.get_size_inches()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -0.01
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]


def test_a_heat_map_holds_the_price_of_each_choice(priced: LatencyTable) -> None:
    figure = plot_blocks(priced, SPACE)
    texts = drawn(figure)
    assert "latency of the block (ms, calibrated)" in texts
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_ylabel().split("\n")[0] for axes in panels] == [f"block{i}" for i in range(7)]
    assert priced.calibration is not None
    genotype = SPACE.sample(1, np.random.default_rng(2))[0]
    network = SPACE.decode(genotype)
    body_ms = 0.0
    for block, axes in enumerate(panels):
        expansion, kernel, layers, se = genotype[4 * block : 4 * block + 4].tolist()
        ms = np.asarray(axes.images[0].get_array())
        body_ms += float(ms[layers, (expansion * 2 + kernel) * 2 + se])
    stem_and_head = [network.layers[0], *network.layers[-2:]]
    rest_ms = priced.calibration.scale * priced.hot_ms([layer.key for layer in stem_and_head]).sum()
    whole_ms = (
        priced.calibration.scale * priced.hot_ms([layer.key for layer in network.layers]).sum()
    )
    assert body_ms + rest_ms == pytest.approx(whole_ms)


def test_what_a_table_lacks_is_no_colour(priced: LatencyTable) -> None:
    part = replace(priced, rows=priced.rows.slice(0, len(priced) // 2), calibration=None)
    figure = plot_blocks(part, SPACE)
    assert "latency of the block (ms, not calibrated; grey: a layer has no row)" in drawn(figure)
    cells = [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    assert any(np.isnan(values).any() for values in cells)
    with pytest.raises(TableError, match="expected layers of mnasnet at 64x64x3, found none"):
        plot_blocks(priced, make_space("mnasnet", resolution=64))


def slower(table: LatencyTable, factor: float, kind: str = "") -> LatencyTable:
    rows = [
        replace(
            table.row(key), cold_ms=None,
            hot_ms=table.row(key).hot_ms * (factor if kind in key else 1.0),
        )
        for key in table.rows["layer"].to_pylist()
    ]  # fmt: skip
    return LatencyTable.from_rows("test", CONDITION, rows, provenance=PROVENANCE)


def test_drift_is_drawn_by_kind(priced: LatencyTable) -> None:
    anchored = replace(priced, anchors=(Anchor("network", "n", "f" * 64, 1.0, 0.03),))
    versions = {
        "0001": anchored, "0002": slower(priced, 1.06, "bottleneck"), "0003": slower(priced, 0.9)
    }  # fmt: skip
    figure = plot_drift(versions)
    texts = drawn(figure)
    assert "latency against version 0001 (%)" in texts
    assert "no drift (anchors' band)" in texts
    lines = {str(line.get_label()): np.asarray(line.get_ydata()) for line in figure.axes[0].lines}
    assert lines["bottleneck"] == pytest.approx([0, 6, -10])
    assert lines["separable"] == pytest.approx([0, 0, -10])
    with pytest.raises(TableError, match="two versions of a table or more, found 1"):
        plot_drift({"0001": priced})
    with pytest.raises(TableError, match="version 2 has no layer in common"):
        plot_drift({"1": priced, "2": replace(priced, rows=priced.rows.slice(0, 0))})


def test_networks_are_drawn_beside_what_they_took(priced: LatencyTable) -> None:
    points = [ValidatedNetwork("v", 1.0, 1.01, 1.03, 10), ValidatedNetwork("w", 2.0, 2.0, 2.0, 20)]
    figure = plot_networks(priced, points)
    texts = drawn(figure)
    assert {"measured end to end (ms)", "predicted by the table (ms)"} <= set(texts)
    assert "calibration network (3)" in texts
    assert "validated, never seen before (2)" in texts
    errors = {len(np.asarray(line.get_xdata())): line for line in figure.axes[1].lines[1:]}
    assert np.asarray(errors[2].get_ydata()) == pytest.approx([100 * (1 / 1.02 - 1), 0])
    with pytest.raises(Uncalibrated):
        plot_networks(replace(priced, calibration=None))
    with pytest.raises(TableError, match="no network to show"):
        plot_networks(replace(priced, networks=()))


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_figures_become_files(tmp_path: Path, priced: LatencyTable, suffix: str) -> None:
    write_figure(plot_networks(priced), tmp_path / f"plot{suffix}")
    assert (tmp_path / f"plot{suffix}").stat().st_size > 1000


def test_a_figure_that_cannot_be_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"expected a file of \.png, \.svg, \.pdf, found '\.gif'"):
        write_figure(Figure(), tmp_path / "plot.gif")
    with pytest.raises(TableError, match="expected an existing folder"):
        write_figure(Figure(), tmp_path / "none" / "plot.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(TableError, match="cannot be written: Is a directory"):
        write_figure(Figure(), tmp_path / "folder.png")


def test_a_space_of_a_file_has_a_heat_map(tmp_path: Path) -> None:
    """Blocks of one decision have one column; filters may be called channels."""
    file = tmp_path / "tiny.toml"
    file.write_text(TINY)
    space = read_space(file)
    assert isinstance(space, ChainSpace)
    rows = [make_row(layer.key, 0.01 * (1 + i)) for i, layer in enumerate(space.layers)]
    table = LatencyTable.from_rows("tiny", CONDITION, rows, provenance=PROVENANCE)
    figure = plot_blocks(table, space)
    texts = drawn(figure)
    assert {"early", "late\nchannels", "kernel of the block's layers"} <= set(texts)
    shapes = [np.asarray(axes.images[0].get_array()).shape for axes in figure.axes if axes.images]
    assert shapes == [(2, 1), (3, 2)]
