"""Tabular study: a CSV of evaluated genotypes, one row a network.

    block0.kernel,block0.width,accuracy,latency_ms
    3,16,0.71,4.2
    5,16,0.73,5.0

One column a decision holds the text of its option (3 and 3.0 are the same number); the others hold
numbers. A surrogate fits such a column, and tells of networks that the file does not have: ridge
regression on options or gradient boosting, whichever ranks held-out rows better in five-fold
cross-validation.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import kendalltau

from networks.errors import suggest
from networks.spaces.space import Decision, Genotypes, Space
from search.errors import MissingExtra, StudyError
from search.gaussian_process import OneHot

Floats = npt.NDArray[np.float64]
FOLDS = 5
LEAST_ROWS = 20


@dataclass(frozen=True, slots=True, eq=False)
class TabularStudy:
    """Canonical genotypes ``(n, n_decisions)``, none twice, and columns of numbers ``(n,)``."""

    path: Path
    sha256: str
    space: Space
    genotypes: Genotypes
    columns: Mapping[str, Floats]

    def column(self, name: str) -> Floats:
        """Return a column.

        Raises:
            StudyError: there is none of that name; the nearest are listed.
        """
        if name not in self.columns:
            others = suggest(name, self.columns) if self.columns else "it has no numbers"
            raise StudyError(f"{self.path}: expected a column {name!r}; {others}")
        return self.columns[name]

    def look_up(self, name: str, genotypes: Genotypes) -> list[float | None]:
        """Return the column's number of each genotype, None where the file has no row."""
        values = self.column(name).tolist()
        rows = {row.tobytes(): number for number, row in enumerate(self.genotypes)}
        places = [rows.get(row.tobytes()) for row in self.space.canonical(genotypes)]
        return [None if place is None else values[place] for place in places]


def read_study(path: Path, space: Space) -> TabularStudy:
    """Return the study in a file.

    Raises:
        StudyError: the file cannot be read, lacks a decision, or has an unknown option, a genotype
            twice or a number that is none; names file, line and column.
    """
    try:
        data = path.read_bytes()
        rows = list(csv.reader(data.decode("utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StudyError(f"{path}: cannot be read: {error}") from error
    if len(rows) < 2:
        raise StudyError(f"{path}: expected a header and rows, found {len(rows)} lines")
    header, body = rows[0], rows[1:]
    names = [decision.name for decision in space.decisions]
    if missing := [name for name in names if name not in header]:
        raise StudyError(
            f"{path}: expected a column for each decision of {space.name}, found none for"
            f" {missing[0]!r}; {suggest(missing[0], header)}"
        )
    for line, row in enumerate(body, start=2):
        if len(row) != len(header):
            raise StudyError(f"{path}, line {line}: expected {len(header)} cells, found {len(row)}")
    genotypes = np.stack(
        [_options(path, body, header.index(d.name), d) for d in space.decisions], axis=1
    )
    canonical = space.canonical(genotypes)
    _refuse_repeats(path, canonical)
    columns = {
        name: _numbers(path, body, place, name)
        for place, name in enumerate(header)
        if name not in names and _is_number(body[0][place])
    }
    return TabularStudy(path, hashlib.sha256(data).hexdigest(), space, canonical, columns)


@dataclass(frozen=True, slots=True, eq=False)
class Surrogate:
    """A model of a column; ``kendall`` is its cross-validated rank correlation with the rows."""

    kind: str
    kendall: float
    predict: Callable[[Genotypes], Floats]


def fit_surrogate(study: TabularStudy, name: str, *, seed: int = 0) -> Surrogate:
    """Return the better of two models of a column.

    Raises:
        StudyError: too few rows to tell.
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
        from sklearn.linear_model import RidgeCV
    except ImportError as error:
        raise MissingExtra("a surrogate", "scikit-learn") from error
    values = study.column(name)
    if len(values) < LEAST_ROWS or values.std() == 0:
        raise StudyError(
            f"{study.path}: a surrogate of {name!r} needs {LEAST_ROWS} rows of different values,"
            f" found {len(np.unique(values))} in {len(values)} rows"
        )
    encode = OneHot(tuple(len(d.options) for d in study.space.decisions))
    makers: dict[str, tuple[Callable[[], Any], Callable[[Genotypes], Any]]] = {
        "ridge": (lambda: RidgeCV(np.logspace(-3, 3, 13)), encode),
        "boosting": (lambda: HistGradientBoostingRegressor(random_state=seed), np.asarray),
    }
    folds = np.random.default_rng(seed).permutation(len(values)) % FOLDS
    taus = {
        kind: _held_out_tau(make, form(study.genotypes), values, folds)
        for kind, (make, form) in makers.items()
    }
    kind = max(taus, key=lambda name: taus[name])
    make, form = makers[kind]
    model = make().fit(form(study.genotypes), values)

    def predict(genotypes: Genotypes) -> Floats:
        found: Floats = np.asarray(model.predict(form(study.space.canonical(genotypes))))
        return found

    return Surrogate(kind, taus[kind], predict)


def _held_out_tau(
    make: Callable[[], Any], inputs: Any, values: Floats, folds: npt.NDArray[np.int64]
) -> float:
    predicted = np.empty(len(values))
    for fold in range(FOLDS):
        held = folds == fold
        predicted[held] = make().fit(inputs[~held], values[~held]).predict(inputs[held])
    return float(kendalltau(predicted, values).statistic)


def _options(
    path: Path, body: Sequence[Sequence[str]], place: int, decision: Decision
) -> Genotypes:
    known: dict[str | float, int] = {}
    for number, name in enumerate(decision.options):
        known.setdefault(name, number)
        if _is_number(name):
            known.setdefault(float(name), number)
    found = []
    for line, row in enumerate(body, start=2):
        text = row[place].strip()
        option = known.get(text, known.get(float(text)) if _is_number(text) else None)
        if option is None:
            raise StudyError(
                f"{path}, line {line}: {decision.name} is one of {', '.join(decision.options)},"
                f" found {text!r}"
            )
        found.append(option)
    return np.array(found, np.int8)


def _refuse_repeats(path: Path, genotypes: Genotypes) -> None:
    first: dict[bytes, int] = {}
    for line, row in enumerate(genotypes, start=2):
        before = first.setdefault(row.tobytes(), line)
        if before != line:
            raise StudyError(
                f"{path}: lines {before} and {line} are the same network; keep one of them, such"
                " as their mean"
            )


def _numbers(path: Path, body: Sequence[Sequence[str]], place: int, name: str) -> Floats:
    for line, row in enumerate(body, start=2):
        if not _is_number(row[place]) or not math.isfinite(float(row[place])):
            raise StudyError(
                f"{path}, line {line}: {name} is a finite number, found {row[place]!r}"
            )
    return np.array([float(row[place]) for row in body])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
