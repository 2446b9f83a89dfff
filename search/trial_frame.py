"""Trial frame: the trials of a run as a data frame. pandas is imported when one is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from networks.spaces.space import Space
from search.trials import FailedTrial, Trial

if TYPE_CHECKING:
    import pandas as pd

_BEFORE = ("number", "batch", "first")
_FIGURES = ("quality", "latency_ms", "low_ms", "high_ms", "reward", "violation")
_AFTER = ("seconds", "searcher", "asked", "seed", "hash", "reason")


def frame_trials(trials: Sequence[Trial | FailedTrial], space: Space) -> pd.DataFrame:
    """Return a row a proposal, in order.

    =============================  ==============================================================
    ``number``, ``batch``          of the proposal
    ``first``                      the number of the first proposal of this network: of a repeat,
                                   another than its own
    each decision                  its option, of the network's canonical genotype; named
                                   ``decision.NAME`` where another column has the name
    ``quality``, ``latency_ms``
    ``low_ms``, ``high_ms``        where another measurement of the latency would lie, 90 %
    ``reward``, ``violation``      violation of limits, 0 where all are met
    other costs                    those that the search needed, such as ``params``
    ``seconds``                    what the evaluation took
    ``searcher``                   who proposed it
    ``asked``                      when, UTC
    ``seed``, ``hash``             of the evaluation, of the network
    ``reason``                     why it failed
    =============================  ==============================================================

    What is unknown is missing, and so is every figure of what failed.
    """
    import pandas as pd

    scored = [trial if isinstance(trial, Trial) else None for trial in trials]
    costs = sorted({name for trial in scored if trial for name in trial.costs})
    own = {*_BEFORE, *_FIGURES, *costs, *_AFTER}
    options = np.array([t.canonical for t in trials], np.int8).reshape(-1, len(space.decisions))
    columns: dict[str, Any] = {name: [getattr(t, name) for t in trials] for name in _BEFORE}
    for place, decision in enumerate(space.decisions):
        name = f"decision.{decision.name}" if decision.name in own else decision.name
        columns[name] = np.array(decision.options, object)[options[:, place]]
    figures = [_figures(trial) for trial in scored]
    for name in (*_FIGURES, *costs, "seconds"):
        columns[name] = np.array([figure.get(name) for figure in figures], np.float64)
    columns["searcher"] = [t.searcher for t in trials]
    asked = np.array([t.asked_unix_s for t in trials], np.float64)
    columns["asked"] = pd.to_datetime(asked, unit="s", utc=True)
    columns |= {name: [getattr(t, name) for t in trials] for name in ("seed", "hash")}
    columns["reason"] = [t.reason if isinstance(t, FailedTrial) else None for t in trials]
    return pd.DataFrame(columns)


def _figures(trial: Trial | None) -> dict[str, float]:
    if trial is None:
        return {}
    low_high = zip(("low_ms", "high_ms"), trial.interval_ms or (), strict=False)
    own = ("quality", "latency_ms", "reward", "violation", "seconds")
    return {**trial.costs, **dict(low_high), **{name: getattr(trial, name) for name in own}}
