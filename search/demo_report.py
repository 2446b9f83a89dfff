"""Demo report: the demo's steps as one page, and as lines for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from networks.block_strings import format_network
from search.demo_result import REFERENCE, SPACE, DemoResult
from search.plots import (
    MeasuredNetwork,
    plot_intervals,
    plot_latencies,
    plot_layers,
    plot_predictions,
)
from search.report import Code, Part, Plot, Section, Table, format_report
from search.run_report import search_section


def report_demo(demo: DemoResult) -> str:
    """Return the page."""
    condition = demo.condition
    lead = (
        f"Measured on {condition.device} ({condition.cores}, {condition.runtime},"
        f" {condition.delegate}, {condition.precision}, {condition.threads} thread), statistic:"
        f" {condition.statistic} of the {condition.method} method. The whole demo took"
        f" {demo.wall_s / 60:.1f} minutes."
    )
    sections = [
        _table_section(demo),
        _space_section(demo),
        search_section({n: [r] for n, r in demo.runs.items()}, quality="top-1 (proxy)"),
        _finalists_section(demo),
        _deployed_section(demo),
    ]
    return format_report("hilnas demo", lead, sections)


def _table_section(demo: DemoResult) -> Section:
    validation = demo.profiled.validation
    rows = [
        [p.network, f"{p.madds / 1e6:.0f}", f"{p.predicted_ms:.3f}", f"{p.measured_ms:.3f}",
         f"{p.error_pct:+.1f}"]
        for p in validation.points
    ]  # fmt: skip
    points = [
        MeasuredNetwork(p.network.replace(",width=", " x"), p.madds, p.predicted_ms, p.measured_ms)
        for p in validation.points
    ]
    return Section(
        "Latency table against measurement",
        [
            f"Published networks that calibration never saw, at {demo.space.image.height} pixels,"
            f" each measured end to end twice. The table errs by {validation.mape_pct:.1f} %"
            f" on average (rank correlation {validation.spearman:.3f}), multiply-adds with the"
            f" best factor by {validation.madds_mape_pct:.1f} % ({validation.madds_spearman:.3f});"
            f" two measurements of one network differ by {validation.repeatability_pct:.1f} %.",
            Plot(plot_predictions(points), "Left: the table. Right: multiply-adds."),
            Table(["network", "M madds", "predicted ms", "measured ms", "error %"], rows),
        ],
    )


def _space_section(demo: DemoResult) -> Section:
    target_ms, networks = demo.profiled.target_ms, demo.priced.networks
    within = demo.priced.within(target_ms)
    return Section(
        "How many networks are fast enough",
        [
            f"The target is what {REFERENCE} takes on this device: {target_ms:.3f} ms. Of the"
            f" {networks.total:,} networks of {SPACE}, {within.networks:,} meet it by the table,"
            f" {within.networks / networks.total:.2%}: a count of all of them, not a sample, with"
            f" latencies rounded to {1e3 * networks.grid.step_ms:g} us, which leaves {within.low:,}"
            f" to {within.high:,}.",
            Plot(
                plot_latencies(networks.latencies_ms, networks.counts, target_ms=target_ms),
                "Latencies of all networks by the table.",
            ),
        ],
    )


def _finalists_section(demo: DemoResult) -> Section:
    found = demo.finalists
    seen = max(
        len(f.exported.losses) * f.exported.settings.batch for f in found.finalists if f.exported
    )
    rows, intervals = [], []
    for finalist in found.finalists:
        mean = finalist.accuracy
        if mean is not None:
            values = list(finalist.accuracies.values())
            intervals.append((finalist.name, values, mean.mean, mean.low, mean.high))
        rows.append([
            finalist.name,
            f"{demo.finalists_ms[finalist.name]:.3f}",
            f"{finalist.network.params / 1e6:.2f}",
            f"{finalist.network.madds / 1e6:.1f}",
            "failed" if mean is None else f"{mean.mean:.2%}",
            "" if mean is None else f"{mean.low:.2%} to {mean.high:.2%}",
            finalist.verdict,
        ])  # fmt: skip
    parts: list[Part] = [
        f"{found.source}: {len(found.seeds)} short trainings of each network, of {seen:,} images,"
        f" and {found.test_images:,} test images. The baseline is {REFERENCE} at the width whose"
        " measured latency is nearest to the best's. Verdicts are by Welch's t test over seeds"
        " against the highest mean; where it cannot tell, it says no difference.",
        Table(
            ["network", "measured ms", "M params", "M madds", "test accuracy", "90 % interval",
             "verdict"],
            rows,
        ),
    ]  # fmt: skip
    if intervals:
        parts.append(Plot(plot_intervals(intervals), "Grey: seeds. Blue: mean and interval."))
    return Section("Trained on real images", parts)


def _deployed_section(demo: DemoResult) -> Section:
    deployed = demo.deployed
    low, high = deployed.measured.interval_ms
    full, measured = demo.at_full_size
    full_low, full_high = measured.interval_ms
    network = demo.space.decode(demo.best.genotype)
    return Section(
        "The best network, exported",
        [
            f"With trained weights, {deployed.model.size_bytes / 2**20:.2f} MiB in"
            f" {len(deployed.model.operators)} operators. Test accuracy in torch"
            f" {deployed.accuracy_torch:.2%}, exported {deployed.accuracy_tflite:.2%};"
            f" {deployed.agreement:.2%} of images are classified alike.",
            f"At the images' size: predicted {deployed.prediction.latency_ms:.3f} ms, measured"
            f" {deployed.measured.latency_ms:.3f} ms (another session: {low:.3f} to {high:.3f})."
            f" At {demo.space.image.height} pixels, as searched: predicted {full.latency_ms:.3f}"
            f" ms, measured {measured.latency_ms:.3f} ms ({full_low:.3f} to {full_high:.3f}).",
            Code(format_network(network)),
            Plot(
                plot_layers(short_names(full.layers)),
                f"Where its time goes at {demo.space.image.height} pixels, from input to output.",
            ),
        ],
    )


def short_names(layers: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Return layer keys without version, activation and skip, which all layers share."""
    return [(" ".join(key.split("/")[1:6]), time_ms) for key, time_ms in layers]
