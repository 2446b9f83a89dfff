from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.drift import (
    PACE_BAND,
    PATIENCE_S,
    AnchorSession,
    Noise,
    judge,
    learn_noise,
    look_at_anchors,
)
from latency_tables.drift_report import DriftReport
from latency_tables.table import Anchor

QUIET = Noise({}, 0.001)
KINDS = ("network", *("bottleneck", "conv", "separable") * 3)
ANCHORS = [
    Anchor(kind, f"{kind}-{number}", f"{number:064x}", 0.1 * (1 + number), 0.03)
    for number, kind in enumerate(KINDS)
]
PACE_NS = 10_000


def readings(factor: float = 1.0, kind: str | None = None) -> dict[str, float]:
    return {
        anchor.label: anchor.latency_ms * (factor if kind in (None, anchor.kind) else 1.0)
        for anchor in ANCHORS
    }


def session(
    number: int, read: Mapping[str, float] | None = None, pace: float = 1.0
) -> AnchorSession:
    paces = (round(PACE_NS * pace),) * 100
    return AnchorSession(read or readings(), paces, 10.0 * number, 10.0 * number + 9)


def look(*sessions: AnchorSession) -> tuple[DriftReport, int]:
    """Return the report, and how many of the sessions were taken."""
    coming = iter(sessions)
    report = look_at_anchors(
        ANCHORS, QUIET, lambda: next(coming, None), sessions=3, pace_ns=PACE_NS
    )
    assert report is not None
    return report, len(sessions) - len(list(coming))


@given(st.floats(0.5, 2.0))
def test_one_factor_moves_all_and_no_kind(factor: float) -> None:
    report = judge(ANCHORS, [readings(factor)], QUIET)
    assert report.uniform is not None
    assert report.uniform.value == pytest.approx(factor - 1, abs=1e-9)
    assert all(abs(kind.value) < 1e-9 for kind in report.kinds.values())
    assert report.cause == ("none" if report.uniform.is_within else "uniform")


@pytest.mark.parametrize("kind", ["bottleneck", "conv", "separable"])
@pytest.mark.parametrize("factor", [0.94, 1.06])
def test_one_kind_of_operators_is_named(kind: str, factor: float) -> None:
    report = judge(ANCHORS, [readings(factor, kind)], QUIET)
    assert report.cause == "kind"
    assert report.text.startswith(f"operators of {kind}: {100 * (factor - 1):+.1f} %")


def test_a_network_follows_its_layers() -> None:
    both = readings(1.06, "conv") | {"network-0": ANCHORS[0].latency_ms * 1.06}
    assert judge(ANCHORS, [both], QUIET).text.startswith("operators of conv: +6.0 %")
    alone = judge(ANCHORS, [readings(1.06, "network")], QUIET)
    assert alone.text.startswith("whole networks: +6.0 %")


def test_a_single_model_beyond_its_band_is_a_row_to_measure_again() -> None:
    noisy = [replace(a, band=0.3 if a.label == "conv-2" else 0.03) for a in ANCHORS]
    report = judge(noisy, [readings() | {"conv-2": 1.4 * ANCHORS[2].latency_ms}], QUIET)
    assert not report.is_drifted
    assert report.beyond == {"conv-2": pytest.approx(0.4)}
    assert "by itself conv-2: +40.0 % (band 30.0 %)" in report.text


def test_one_slow_process_of_three_is_no_drift() -> None:
    report = judge(ANCHORS, [readings(), readings(1.3), readings()], QUIET)
    assert report.cause == "none"


def test_the_report_is_json_with_percent() -> None:
    report = judge(ANCHORS, [readings(1.06)], QUIET, pace=0.001)
    assert report.uniform is not None
    values = report.to_dict()
    assert json.loads(json.dumps(values)) == values
    assert (values["drifted"], values["cause"], values["sessions"]) == (True, "uniform", 1)
    assert values["uniform"] == {"pct": pytest.approx(6), "band_pct": 100 * report.uniform.band}
    assert values["pace"] == {"pct": pytest.approx(0.1), "band_pct": 100 * PACE_BAND}


def test_a_second_look_is_taken_only_behind_an_alarm() -> None:
    calm, loud = readings(), readings(1.06)
    assert look(*(session(i, calm) for i in range(9)))[1] == 3
    report, taken = look(*(session(i, loud) for i in range(9)))
    assert (report.cause, taken) == ("uniform", 6)
    passing = [session(i, loud if i < 2 else calm) for i in range(9)]
    report, taken = look(*passing)
    assert (report.cause, taken) == ("none", 6)


def test_a_slow_core_is_waited_for() -> None:
    slow = [session(i, pace=1.05) for i in range(8)]
    report, taken = look(*slow, session(8), session(9))
    assert (report.cause, taken) == ("none", 9)


def test_a_core_that_stays_slow_has_drifted() -> None:
    endless: Iterator[AnchorSession] = (session(i, pace=1.06) for i in itertools.count())
    report = look_at_anchors(ANCHORS, QUIET, lambda: next(endless), sessions=3, pace_ns=PACE_NS)
    assert report is not None
    assert report.cause == "pace"
    assert report.sessions == pytest.approx(PATIENCE_S / 10, abs=1)
    assert "+6.0 %" in report.text


def test_without_time_for_a_session_nothing_is_said() -> None:
    assert look_at_anchors(ANCHORS, QUIET, lambda: None, sessions=3, pace_ns=None) is None


def test_noise_is_learned_from_sessions() -> None:
    rng = np.random.default_rng(1)

    def sessions(n: int, std: float, common: float) -> list[dict[str, float]]:
        return [
            {a.label: a.latency_ms * float(np.exp(rng.normal(shared, std))) for a in ANCHORS}
            for shared in rng.normal(0, common, n)
        ]

    many = learn_noise(sessions(2000, 0.03, 0.01))
    assert np.median(list(many.anchors.values())) == pytest.approx(0.03, rel=0.1)
    assert many.uniform == pytest.approx(0.01, rel=0.3)
    quiet, loud = (learn_noise(sessions(10, std, 0.002)) for std in (0.001, 0.05))
    assert quiet.band("conv-2", 3) < learn_noise([]).band("conv-2", 3) < loud.band("conv-2", 3)


def test_a_reference_of_several_sessions_has_a_narrower_band() -> None:
    bands = [QUIET.band("conv-2", 3, references) for references in (1, 7)]
    assert bands[0] / bands[1] == pytest.approx(
        math.sqrt((1 + math.pi / 6) / (math.pi / 14 + math.pi / 6))
    )


def test_other_work_is_named_where_it_may_be_the_reason() -> None:
    busy = [replace(session(i, readings(1.06)), load=5.0) for i in range(6)]
    report, _ = look(*busy)
    assert report.text.endswith("other work ran meanwhile (load 5.0): look again when it does not")
    calm = [replace(session(i), load=5.0) for i in range(6)]
    assert "other work" not in look(*calm)[0].text


def test_networks_that_are_slower_beside_other_work_are_no_drift() -> None:
    slow = [readings(1.2, "network")]
    alone, beside = (judge(ANCHORS, slow, QUIET, load=load) for load in (0.1, 5.0))
    assert (alone.cause, beside.cause) == ("kind", "none")
    assert not beside.are_networks_within
    layers = judge(ANCHORS, [readings(1.06, "conv")], QUIET, load=5.0)
    assert layers.text.startswith("operators of conv")
