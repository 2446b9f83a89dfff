"""Fits the coefficients of search/evaluators/imagenet_proxy.json to Accel-NASBench's trainings.

    python -m benchmarks.fit_imagenet_proxy [--data accel_nasbench.csv] [--out imagenet_proxy.json]

A fifth of the architectures is held out first and is used once, for the figures. In the rest,
five-fold cross-validation picks the ceiling, then the fewest pairs whose rank correlation lies
within one standard error of the best. Pairs enter in the order of their t values in the
least-squares fit of all of them.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import kendalltau, spearmanr

from search.evaluators.imagenet_proxy import ProxyModel

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "accel-nasbench" / "accel_nasbench.csv"
OUT = ROOT / "search" / "evaluators" / "imagenet_proxy.json"
SEED = 0
HELD_OUT = 0.2
FOLDS = 5
RIDGE = 0.3
CEILINGS = (68.0, 69.0, 70.0, 72.0, 75.0)
PAIRS = (25, 50, 75, 100, 150, 200, 250, 300)
COLUMNS = {"expansion": "e", "kernel": "k", "layers": "l", "se": "se"}
SE_RATIO = 0.25

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Trainings:
    """The data: steps ``(n, n_steps)``, top-1 in percent ``(n,)``, and which rows are held out."""

    steps: tuple[str, ...]
    values: Floats
    top1: Floats
    madds: Floats
    held_out: npt.NDArray[np.bool_]
    sha256: str


def load(path: Path = DATA, *, seed: int = SEED) -> Trainings:
    """Read the data and hold a fifth of the architectures out.

    Raises:
        SystemExit: the file is not there.
    """
    if not path.is_file():
        raise SystemExit(
            f"no data: expected {path}, the table of Accel-NASBench's trainings; give --data FILE"
        )
    frame = pd.read_csv(path)
    steps, columns = [], []
    for block, (name, short) in itertools.product(range(7), COLUMNS.items()):
        values = frame[f"block{block}_{short}"].to_numpy(float)
        values = values * SE_RATIO if name == "se" else values
        for value in np.unique(values)[1:]:
            steps.append(f"block{block}.{name}>={value:g}")
            columns.append(values >= value)
    matrix = np.stack(columns, axis=1).astype(float)
    _, architecture = np.unique(matrix, axis=0, return_inverse=True)
    order = np.random.default_rng(seed).permutation(architecture.max() + 1)
    chosen = order[: round(HELD_OUT * len(order))]
    return Trainings(
        tuple(steps),
        matrix,
        frame["val_top1"].to_numpy(float),
        frame["macs"].to_numpy(float),
        np.isin(architecture, chosen),
        hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def fit(data: Trainings, rows: Rows, *, ceiling: float, pairs: int) -> ProxyModel:
    """Return the model with all single steps and the ``pairs`` most significant pairs."""
    terms: list[tuple[int, ...]] = [(step,) for step in range(len(data.steps))]
    terms += _pairs(data.steps)
    target = np.log(ceiling - data.top1[rows])
    design = _design(data.values[rows], terms)
    inverse = np.linalg.inv(design.T @ design + RIDGE * np.eye(design.shape[1]))
    t_values = np.abs(inverse @ (design.T @ target)) / np.sqrt(np.diag(inverse))
    n_single = len(data.steps)
    best = np.argsort(-t_values[1 + n_single :], kind="stable")[:pairs]
    terms = terms[:n_single] + [terms[n_single + i] for i in sorted(best.tolist())]
    design = _design(data.values[rows], terms)
    penalty = RIDGE * np.eye(design.shape[1])
    penalty[0, 0] = 0
    weights = np.linalg.solve(design.T @ design + penalty, design.T @ target)
    return ProxyModel(
        data.steps,
        ceiling,
        round(float(weights[0]), 5),
        tuple((t, round(float(w), 5)) for t, w in zip(terms, weights[1:], strict=True)),
    )


def choose(data: Trainings, rows: Rows) -> tuple[float, int, float]:
    """Return ceiling, number of pairs and cross-validated Kendall tau, from ``rows`` alone."""
    folds = np.array_split(np.random.default_rng(SEED).permutation(rows), FOLDS)

    def taus(ceiling: float, pairs: int) -> Floats:
        found = []
        for fold in folds:
            model = fit(data, np.setdiff1d(rows, fold), ceiling=ceiling, pairs=pairs)
            found.append(kendalltau(model.predict(data.values[fold]), data.top1[fold]).statistic)
        return np.array(found)

    allowed = [ceiling for ceiling in CEILINGS if ceiling > data.top1[rows].max()]
    ceiling = max(allowed, key=lambda value: taus(value, max(PAIRS)).mean())
    table = {pairs: taus(ceiling, pairs) for pairs in PAIRS}
    best = max(table.values(), key=lambda values: float(values.mean()))
    enough = best.mean() - best.std(ddof=1) / np.sqrt(FOLDS)
    pairs = min(pairs for pairs, values in table.items() if values.mean() >= enough)
    return ceiling, pairs, float(table[pairs].mean())


def figures(model: ProxyModel, data: Trainings, rows: Rows) -> dict[str, float]:
    """Return rank correlations and errors of the model, and MAdds' correlations, on ``rows``."""
    predicted, truth = model.predict(data.values[rows]), data.top1[rows]
    error = predicted - truth
    return {
        "kendall": round(float(kendalltau(predicted, truth).statistic), 4),
        "spearman": round(float(spearmanr(predicted, truth).statistic), 4),
        "mae_points": round(float(np.abs(error).mean()), 4),
        "r2": round(float(1 - (error**2).mean() / truth.var()), 4),
        "kendall_of_madds": round(float(kendalltau(data.madds[rows], truth).statistic), 4),
        "spearman_of_madds": round(float(spearmanr(data.madds[rows], truth).statistic), 4),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Fit, write the JSON file, print the held-out figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(argv)
    data = load(options.data)
    rows, held_out = np.flatnonzero(~data.held_out), np.flatnonzero(data.held_out)
    ceiling, pairs, tau = choose(data, rows)
    model = fit(data, rows, ceiling=ceiling, pairs=pairs)
    found = figures(model, data, held_out)
    content = {
        "quantity": "ImageNet top-1, percent, by the short training schedule of Accel-NASBench",
        "model": "ceiling - exp(intercept + sum of coefficient x product of its steps)",
        "source": "github.com/afzalxo/Accel-NASBench, anb_dataset: 5,138 trained networks",
        "source_licence": "Apache-2.0",
        "source_sha256": data.sha256,
        "fitted_by": "benchmarks/fit_imagenet_proxy.py",
        "rows": {"fitted": len(rows), "held_out": len(held_out)},
        "fitted_range_percent": [float(data.top1[rows].min()), float(data.top1[rows].max())],
        "cross_validated_kendall": round(tau, 4),
        "held_out": found,
        "ceiling": model.ceiling,
        "intercept": model.intercept,
        "steps": list(model.steps),
        "terms": [[*numbers, weight] for numbers, weight in model.terms],
    }
    options.out.write_text(_layout(content), encoding="utf-8")
    print(f"{len(model.terms)} terms, ceiling {ceiling:g} -> {options.out.name}")
    print(json.dumps(found))


def _pairs(steps: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of steps of different decisions."""
    names = [step.partition(">=")[0] for step in steps]
    return [(i, j) for i, j in itertools.combinations(range(len(steps)), 2) if names[i] != names[j]]


def _design(values: Floats, terms: Sequence[tuple[int, ...]]) -> Floats:
    """Columns: 1, then each term's product of steps."""
    columns = [values[:, list(term)].prod(axis=1) for term in terms]
    return np.stack([np.ones(len(values)), *columns], axis=1)


def _layout(content: dict[str, object]) -> str:
    """JSON with one key a line, so that a difference can be read."""
    lines = (f" {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    main()
