"""Assembly and reports: a run from names alone, and the pages that come of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device_agents.measurement import Condition
from latency_tables.errors import MissingLayers, TableError
from latency_tables.predictor import Predictor
from latency_tables.table import Calibration, LatencyTable, Provenance, Row
from networks.errors import UnknownName
from networks.spaces import make_space
from search.assembly import Parts, assemble, find_trial, go_on, start, summarize_run
from search.config import RunConfig
from search.demo import choose_finalists
from search.errors import EvaluatorError, RunError
from search.latency import TableLatency
from search.ranking import run_ranking_noise
from search.report import Code, Section, Table, format_report, write_report
from search.rewards import make_reward
from search.run import SearchResult
from search.run_report import best_curve, report_run
from search.trials import Trial

CONDITION = Condition(
    device="d", soc="s", os_build="o", runtime="r", delegate="xnnpack", precision="float32",
    threads=1, cores="cpu0", power_mode="unknown", batch=1, method="resident",
    statistic="thread-cpu-time", summary="floor",
)  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of accel-nasbench at 32 pixels; a layer costs by its place in the space."""
    space = make_space("accel-nasbench", resolution=32)
    rows = [
        Row(layer.key, 0.1 + 0.001 * i, 0.2, 6, "ok", 0.01, 1.0, f"{i:064x}")
        for i, layer in enumerate(space.layers)
    ]
    made = LatencyTable.from_rows(
        "t", CONDITION, rows, provenance=Provenance("local", "0", "journal.sqlite", (1,)),
        calibration=Calibration(1.0, 0.02, 5),
    )  # fmt: skip
    file = tmp_path_factory.mktemp("table") / "t.parquet"
    file.write_bytes(made.to_bytes())
    return file


@pytest.fixture
def config(table: Path) -> RunConfig:
    return RunConfig(
        space="accel-nasbench",
        latency=f"table:{table}",
        evaluator="imagenet-proxy",
        searcher="local",
        reward=make_reward("absolute", target_ms=3.0),
        budget=40,
        settings={"resolution": 32},
    )


def predictor_of(parts: Parts) -> Predictor:
    assert isinstance(parts.source.latency, TableLatency)
    return parts.source.latency.predictor


def lacking(file: Path, share: int, folder: Path) -> Path:
    """Write the table without every so many of its layers."""
    whole = LatencyTable.load(file)
    kept = [i for i in range(len(whole)) if i % share]
    part = folder / "versions" / "0001.parquet"
    part.parent.mkdir(parents=True)
    part.write_bytes(replace(whole, rows=whole.rows.take(kept).combine_chunks()).to_bytes())
    return part


def test_layers_that_the_table_lacks_follow_the_policy(
    config: RunConfig, table: Path, tmp_path: Path
) -> None:
    part = lacking(table, 5, tmp_path)
    config = replace(config, latency=f"table:{part}")
    with pytest.raises(MissingLayers), assemble(config):
        pass
    policy = replace(config, settings={**config.settings, "missing": "interpolate"})
    with assemble(policy) as parts:
        genotypes = parts.space.sample(20, np.random.default_rng(1))
        found = predictor_of(parts).predict(genotypes)
    with assemble(replace(config, latency=f"table:{table}")) as whole:
        np.testing.assert_allclose(found, predictor_of(whole).predict(genotypes), rtol=0.3)
    for wrong, why in (("guess", "miss policy is one of"), ("measure", "expected a journal")):
        policy = replace(config, settings={**config.settings, "missing": wrong})
        with pytest.raises((TableError, RunError), match=why), assemble(policy):
            pass


def test_a_run_starts_goes_on_and_is_reported(config: RunConfig, tmp_path: Path) -> None:
    found = start(config, tmp_path / "run")
    again = go_on(tmp_path / "run")
    assert again.trials == found.trials
    summary = summarize_run(found)
    assert found.best is not None
    assert found.best.latency_ms <= 3.0
    best = summary["best"]
    assert isinstance(best, dict)
    assert set(best) == {
        "genotype", "network", "quality", "latency_ms", "interval_ms", "reward"
    }  # fmt: skip
    page = report_run(found)
    assert page.count("<svg") == 3
    assert best["network"] in page
    curve = best_curve(found)
    assert len(curve) == found.distinct
    assert curve[-1] == found.best.quality
    known = curve[np.isfinite(curve)]
    assert np.all(np.diff(known) >= 0)


def test_a_trial_is_found_by_its_run_with_its_origin(config: RunConfig, tmp_path: Path) -> None:
    found = start(config, tmp_path / "run")
    assert found.best is not None
    space = make_space("accel-nasbench", resolution=32)
    network, origin = find_trial(tmp_path / "run")
    assert network == space.decode(found.best.genotype)
    assert origin["trial"] == f"run:{found.best.number}"
    network, origin = find_trial(tmp_path / "run", 3)
    assert network == space.decode(found.trials[3].genotype)
    assert origin["genotype"] == ",".join(map(str, found.trials[3].genotype))
    with pytest.raises(RunError, match="expected a trial of 0 to 39, found 40"):
        find_trial(tmp_path / "run", 40)


def test_a_run_may_go_by_a_quantile_of_each_latency(config: RunConfig, tmp_path: Path) -> None:
    careful = replace(config, settings={**config.settings, "latency_quantile": 0.95})
    found = start(careful, tmp_path / "run")
    assert go_on(tmp_path / "run").trials == found.trials
    with assemble(config) as parts:
        genotypes = np.array([trial.canonical for trial in found.trials])
        expected = predictor_of(parts).quantile_ms(genotypes, 0.95)
        assert np.all(expected > predictor_of(parts).predict(genotypes))
    latency_ms = [trial.latency_ms for trial in found.trials if isinstance(trial, Trial)]
    np.testing.assert_allclose(latency_ms, expected)


@pytest.mark.parametrize("quantile", [0.4, 1.0, -1.0, "0.9", float("nan"), True])
def test_a_quantile_that_cannot_be_is_refused(config: RunConfig, quantile: float) -> None:
    wrong = replace(config, settings={**config.settings, "latency_quantile": quantile})
    with pytest.raises(RunError, match="latency_quantile is a number"), assemble(wrong):
        pass


def test_how_much_of_a_run_s_ranking_is_noise(config: RunConfig, tmp_path: Path) -> None:
    found = start(config, tmp_path / "run")
    with assemble(config) as parts:
        noise = run_ranking_noise(found, predictor_of(parts))
        best_two = run_ranking_noise(found, predictor_of(parts), most=2)
        one = run_ranking_noise(replace(found, trials=found.trials[:1]), predictor_of(parts))
    assert noise is not None
    assert noise.networks == found.distinct
    assert 0 < noise.inside < 1
    assert best_two is not None
    assert best_two.lead == noise.lead
    assert one is None


def test_none_that_meets_the_target_is_said_plainly(config: RunConfig, tmp_path: Path) -> None:
    with assemble(config) as parts:
        fastest_ms = predictor_of(parts).fastest_ms
    tight = replace(config, reward=make_reward("hard", target_ms=fastest_ms * 1.0001), budget=5)
    found = start(tight, tmp_path / "run")
    assert found.best is None
    assert summarize_run(found)["best"] is None
    assert "No network that was evaluated meets the target" in report_run(found)
    with pytest.raises(RunError, match="expected three networks that meet the target, found 0"):
        choose_finalists({"local": found})


def test_a_target_below_the_fastest_network(config: RunConfig, tmp_path: Path) -> None:
    impossible = replace(config, reward=make_reward("absolute", target_ms=0.5))
    with pytest.raises(RunError, match=r"below the fastest network .* predicted at"):
        start(impossible, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_names_that_are_none(config: RunConfig) -> None:
    with (
        pytest.raises(EvaluatorError, match="there are imagenet-proxy, training"),
        assemble(replace(config, evaluator="imagenet")),
    ):
        pass
    with pytest.raises(UnknownName, match="did you mean"), assemble(replace(config, space="accel")):
        pass
    with (
        pytest.raises(RunError, match="table:NAME, device:ADDRESS, csv or madds"),
        assemble(replace(config, latency="guess")),
    ):
        pass


def test_finalists_are_the_bests_and_all_different(config: RunConfig, tmp_path: Path) -> None:
    runs: dict[str, SearchResult] = {}
    for name in ("local", "random"):
        runs[name] = start(replace(config, searcher=name), tmp_path / name)
    best, rivals = choose_finalists(runs)
    assert len({best.canonical, *(rival.canonical for rival in rivals)}) == 3
    assert best.quality == max(r.best.quality for r in runs.values() if r.best)
    assert all(isinstance(rival, Trial) and rival.latency_ms <= 3.0 for rival in rivals)


def test_a_page_escapes_what_it_shows(tmp_path: Path) -> None:
    section = Section("<b>", [Table(["a<"], [["&"]]), Code("<code>"), "plain <p>"])
    page = format_report("t", "lead", [section])
    assert "<h2>&lt;b&gt;</h2>" in page
    assert "<td>&amp;</td>" in page
    assert "<code>&lt;code&gt;</code>" in page
    write_report(tmp_path / "page.html", page)
    assert (tmp_path / "page.html").read_text() == page
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
