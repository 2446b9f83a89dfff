"""Two surrogates of ImageNet accuracy, fitted to different halves of Accel-NASBench, and a latency.

    A         what searchers see: gradient boosting, fitted to half of the architectures
    B         what scores them: the quadratic form of `search.evaluators.imagenet_proxy`, fitted to
              the other half, its settings chosen by cross-validation there
    latency   of the ZCU102 board in milliseconds: exp of such a form, fitted to all that have one

No architecture is in both halves, and no model family, so a searcher that exploits errors of A
gains nothing by B.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import kendalltau
from sklearn.ensemble import HistGradientBoostingRegressor

from benchmarks.fit_imagenet_proxy import COLUMNS, DATA, SE_RATIO, Trainings, choose, fit, load
from networks.spaces.chain import ChainSpace
from networks.spaces.space import Genotypes
from search.evaluators.imagenet_proxy import ProxyModel

Floats = npt.NDArray[np.float64]
LATENCY_PAIRS = 300
NOISE_POINTS = 0.145
"""Standard deviation of a repeated training's top-1 in the data, in percentage points."""


@dataclass(frozen=True, slots=True, eq=False)
class Surrogates:
    """Qualities in [0, 1] and milliseconds of genotypes, shape ``(n,)``.

    ``kendall`` and ``kendall_top`` are rank correlations of B with the trainings that it was not
    fitted to, over all of them and over the tenth of highest accuracy; ``kendall_a`` that of A.
    """

    space: ChainSpace
    boosted: HistGradientBoostingRegressor
    latency: ProxyModel
    proxy: ProxyModel
    kendall: float
    kendall_top: float
    kendall_a: float

    def seen(self, genotypes: Genotypes) -> Floats:
        """Return A's qualities, without noise."""
        return np.asarray(self.boosted.predict(self.space.canonical(genotypes))) / 100

    def scored(self, genotypes: Genotypes) -> Floats:
        """Return B's qualities."""
        return self.proxy.predict(_steps(self.space, self.space.canonical(genotypes))) / 100

    def latency_ms(self, genotypes: Genotypes) -> Floats:
        """Return ZCU102 latencies."""
        return -self.latency.predict(_steps(self.space, self.space.canonical(genotypes)))


def fit_surrogates(space: ChainSpace, *, path: Path = DATA, seed: int = 0) -> Surrogates:
    """Return the surrogates of these data.

    Raises:
        SystemExit: the file is not there.
    """
    data = load(path)
    frame = pd.read_csv(path)
    genotypes = _genotypes(space, frame)
    half = _halves(data, seed)
    ours, theirs = np.flatnonzero(half), np.flatnonzero(~half)
    ceiling, pairs, _ = choose(data, theirs)
    proxy = fit(data, theirs, ceiling=ceiling, pairs=pairs)
    boosted = HistGradientBoostingRegressor(max_iter=400, learning_rate=0.05, random_state=seed)
    boosted.fit(genotypes[ours], data.top1[ours])
    latencies_ms = frame["latency_zcu102"].to_numpy(float)
    # 0 - exp(form), so that its negative is a latency
    latency = fit(
        replace(data, top1=-latencies_ms), np.flatnonzero(np.isfinite(latencies_ms)),
        ceiling=0.0, pairs=LATENCY_PAIRS,
    )  # fmt: skip
    predicted, truth = proxy.predict(data.values[ours]), data.top1[ours]
    top = truth >= np.quantile(truth, 0.9)
    return Surrogates(
        space,
        boosted,
        latency,
        proxy,
        kendall=_tau(predicted, truth),
        kendall_top=_tau(predicted[top], truth[top]),
        kendall_a=_tau(boosted.predict(genotypes[theirs]), data.top1[theirs]),
    )


def _tau(first: Floats, second: Floats) -> float:
    return float(kendalltau(first, second).statistic)


def _halves(data: Trainings, seed: int) -> npt.NDArray[np.bool_]:
    """Return which rows are A's; trainings of one architecture are in one half."""
    _, architecture = np.unique(data.values, axis=0, return_inverse=True)
    order = np.random.default_rng(seed).permutation(architecture.max() + 1)
    return np.isin(architecture, order[: len(order) // 2])


def _genotypes(space: ChainSpace, frame: pd.DataFrame) -> Genotypes:
    """Return the genotype of each row."""
    columns = []
    for decision in space.decisions:
        block, _, name = decision.name.partition(".")
        values = frame[f"{block}_{COLUMNS[name]}"].to_numpy(float)
        values = values * SE_RATIO if name == "se" else values
        options = np.array([float(option) for option in decision.options])
        columns.append((values[:, None] == options).argmax(axis=1))
    return np.stack(columns, axis=1).astype(np.int8)


def _steps(space: ChainSpace, genotypes: Genotypes) -> Floats:
    """Return the proxy's steps, shape ``(n, n_steps)``, in the data's order."""
    columns = [
        genotypes[:, column] >= option
        for column, decision in enumerate(space.decisions)
        for option in range(1, len(decision.options))
    ]
    return np.stack(columns, axis=1).astype(float)
