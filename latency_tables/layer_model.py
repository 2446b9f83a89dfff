"""Layer model: the latency of layers that were not measured, from those that were.

    log latency(layer) = work(layer) + sum over operators of share x deviation + rest(layer)

    work       what multiply-adds, channels rounded up to tiles, and values moved cost by kind of
               operator, fitted to the measured layers
    share      of the operator in the layer's latency, by that cost
    deviation  of a kind of operator, of its sizes, and of its tiles: a Gaussian process
    rest       of the layer as a whole, and two terms for each table of another condition (a prior):
               how it differs from this device by kind of operator, and what work does not explain

An operator that two layers share deviates alike in both, so that a hundred layers say much of a
thousand. How far each part deviates is set by its marginal likelihood (Rasmussen and Williams 2006,
equation 5.8), so that a prior which is unlike this device counts for nothing. Chosen by error on
layers held out: ``benchmarks/new_device.py`` prints it beside ridge regression, boosted trees and a
process that sees layers only as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latency_tables.features import Features
from latency_tables.single_thread import single_thread

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# The processor of a phone, roughly: 2 us a call, 4 billion values moved and 10 billion
# multiply-adds a second. Only their proportions count, and only until something is measured.
_MS_OF_CALL, _MS_OF_VALUE, _MS_OF_MADD = 2e-3, 2.5e-7, 1e-7
_COST_PRIOR = 0.1  # weight of these proportions, as a relative error of 1 / 0.1 of one layer
# How far parts deviate before anything is known: kinds, sizes, tiles, the rest, priors; noise.
_DEVIATIONS = (0.5, 0.3, 0.5, 0.1, 0.5, 0.03)
_LENGTHS = (0.5, 1.0, 2.0)  # of the process over sizes, in logarithms of them
_USUAL = (1.0, np.square(_DEVIATIONS))
_MOST_TUNED = 400  # layers by which deviations are set
_FOLDS = 8
_JITTER = 1e-6


@dataclass(frozen=True)
class LayerModel:
    """What is known of layers once some are measured; ``n`` layers, of which ``m`` were.

    rows         numbers of the measured layers, shape ``(m,)``
    mean         of each layer's log latency in milliseconds, shape ``(n,)``
    covariance   of another session's log latencies but for their noise, shape ``(n, n)``
    noise        variance of one measured log latency around the model
    held_out     log latency of each measured layer less what the others say, shape ``(m,)``
    held_out_std what standard deviation the others say that has, shape ``(m,)``
    """

    rows: Ints
    mean: Floats
    covariance: Floats
    noise: float
    held_out: Floats
    held_out_std: Floats

    @property
    def std(self) -> Floats:
        """Standard deviation of each layer's log latency if it were measured, shape ``(n,)``."""
        variance: Floats = np.maximum(np.diag(self.covariance), 0.0) + self.noise
        std: Floats = np.sqrt(variance)
        return std


@single_thread()
def fit_layers(
    features: Features,
    rows: Ints,
    latency_ms: Floats,
    priors: Sequence[Floats] = (),
    *,
    tuned: bool = True,
) -> LayerModel:
    """Return the model of these layers.

    Args:
        features: of all ``n`` layers.
        rows: numbers of the layers that were measured, shape ``(m,)``; may be none.
        latency_ms: of these, shape ``(m,)``.
        priors: latencies of all ``n`` layers under other conditions, shape ``(n,)`` each.
        tuned: whether parts deviate as far as the measured layers say, or as far as is usual. To
            choose layers the usual serves better: what few layers do not show is not excluded.
    """
    everything = np.arange(len(features.counts))
    costs = operator_costs(features, rows, latency_ms)
    middle = np.log(features.counts @ costs)
    of_priors = np.zeros((len(everything), 1))
    if priors:
        of_priors = np.hstack([_columns_of(features, prior, costs) for prior in priors])
    kernel = _Kernel.build(features, costs, of_priors)
    rest = np.log(latency_ms) - middle[rows]
    level = float(np.median(rest)) if len(rows) else 0.0
    rest -= level
    length, variances = _USUAL
    if tuned and len(rows):
        length, variances = _tune(kernel, rows, rest, _LENGTHS)
    mean, covariance = _conditioned(kernel, length, variances, rows, rest, everything)
    error, std = np.zeros(len(rows)), np.ones(len(rows))
    if tuned:
        error, std = _held_out(kernel, length, rows, rest)
    noise = float(variances[-1]) + _JITTER
    return LayerModel(rows, middle + level + mean, covariance, noise, error, std)


def _columns_of(features: Features, prior: Floats, costs: Floats) -> Floats:
    """Return in what a prior differs from work alone, shape ``(n, 2)``: by operator, and else."""
    theirs = operator_costs(features, np.arange(len(prior)), prior)
    shares = _shares(features, costs)
    by_operator = shares @ np.log(theirs / costs)
    unexplained = np.log(prior) - np.log(features.counts @ theirs)
    return np.stack([by_operator - np.median(by_operator), unexplained], axis=1)


def _shares(features: Features, costs: Floats) -> Floats:
    """Return the share of each operator in each layer, shape ``(n, n_operators)``."""
    spent = features.counts * costs
    shares: Floats = spent / spent.sum(axis=1, keepdims=True)
    return shares


def operator_costs(features: Features, rows: Ints, latency_ms: Floats) -> Floats:
    """Return what each operator takes in milliseconds by its kind and its work alone.

    Non-negative least squares on relative errors, pulled towards usual proportions, which is all
    there is without any row. Shape ``(n_operators,)``.
    """
    from scipy.optimize import nnls

    work = features.work
    tiles = work.shape[1] - 2  # multiply-adds count in as many ways
    usual = np.array([_MS_OF_CALL, _MS_OF_VALUE, *[_MS_OF_MADD / tiles] * tiles])
    if len(rows):
        usual = usual * np.median(latency_ms / (features.counts[rows] @ (work @ usual)))
    of_kind = np.eye(features.kinds.max() + 1)[features.kinds]
    unit = (of_kind[:, :, None] * (work * usual)[:, None, :]).reshape(len(work), -1)
    relative = (features.counts[rows] @ unit) / latency_ms[:, None]
    pull = _COST_PRIOR * np.eye(unit.shape[1])
    wanted = np.append(np.ones(len(rows)), np.full(unit.shape[1], _COST_PRIOR))
    factors, _ = nnls(np.vstack([relative, pull]), wanted, maxiter=50 * unit.shape[1])
    costs: Floats = unit @ factors + _JITTER * (work @ usual)
    return costs


@dataclass(frozen=True)
class _Kernel:
    """Covariances of layers: one matrix a part, each to be scaled by its part's variance.

    ``columns`` are parts that are linear in something: kinds, kinks, priors.
    """

    shares: Floats
    operator_distances: Floats  # squared; infinite between kinds
    layer_sizes: Floats
    columns: tuple[Floats, Floats, Floats]

    @classmethod
    def build(cls, features: Features, costs: Floats, of_priors: Floats) -> _Kernel:
        shares, kinds = _shares(features, costs), features.kinds
        of_kind = np.eye(kinds.max() + 1)[kinds]
        distances = _squared_distances(features.operator_sizes, features.operator_sizes)
        distances[kinds[:, None] != kinds[None, :]] = np.inf
        kinks = (of_kind[:, :, None] * features.kinks[:, None, :]).reshape(len(kinds), -1)
        columns = (shares @ of_kind, shares @ kinks, of_priors)
        return cls(shares, distances, features.sizes, columns)

    def parts(self, ours: Ints, theirs: Ints, length: float) -> list[Floats]:
        """Return the parts' covariances, in the order of `_DEVIATIONS`, shape ``(ours, theirs)``"""
        alike = np.exp(-self.operator_distances / (2 * length**2))
        sizes = self.shares[ours] @ alike @ self.shares[theirs].T
        whole = np.exp(-_squared_distances(self.layer_sizes[ours], self.layer_sizes[theirs]) / 2)
        kinds, kinks, priors = (column[ours] @ column[theirs].T for column in self.columns)
        return [kinds, sizes, kinks, whole, priors]

    def covariance(self, ours: Ints, theirs: Ints, length: float, variances: Floats) -> Floats:
        """Return the sum of the parts, and 1 for the level that all layers share."""
        total = np.ones((len(ours), len(theirs)))
        for part, variance in zip(self.parts(ours, theirs, length), variances, strict=False):
            total += variance * part
        return total


def _tune(
    kernel: _Kernel, rows: Ints, rest: Floats, lengths: Sequence[float]
) -> tuple[float, Floats]:
    """Return the length and the variances, noise last, of the largest marginal likelihood."""
    from scipy.linalg import cho_solve, cholesky
    from scipy.optimize import minimize

    usual = np.log(_DEVIATIONS)
    step = -(-len(rows) // _MOST_TUNED)
    rows, rest = rows[::step], rest[::step]
    identity = np.eye(len(rows))

    def loss(logs: Floats, parts: Sequence[Floats]) -> tuple[float, Floats]:
        variances = np.exp(2 * logs)
        total = 1.0 + sum(v * part for v, part in zip(variances, parts, strict=True))
        lower = cholesky(total + _JITTER * identity, lower=True)
        inverse = cho_solve((lower, True), identity)
        weights = inverse @ rest
        far = logs - usual
        value = rest @ weights / 2 + np.log(np.diag(lower)).sum() + far @ far / 2
        slope = inverse - np.outer(weights, weights)
        gradient = [v * np.vdot(slope, part) for v, part in zip(variances, parts, strict=True)]
        return float(value), np.array(gradient) + far

    found = []
    for length in lengths:
        parts = [*kernel.parts(rows, rows, length), identity]
        best = minimize(
            loss, usual, args=(parts,), jac=True, method="L-BFGS-B", options={"maxiter": 40},
            bounds=[(value - 4, value + 3) for value in usual],
        )  # fmt: skip
        found.append((float(best.fun), length, np.exp(2 * best.x)))
    _, length, variances = min(found, key=lambda entry: entry[0])
    return length, variances


def _held_out(kernel: _Kernel, length: float, rows: Ints, rest: Floats) -> tuple[Floats, Floats]:
    """Return error and standard deviation of each layer as a model without its fold says it.

    Layers that share the operator which takes longest are in one fold: all but one of them would
    tell of the last, and nothing of a layer whose like was not measured.
    """
    likes = np.unique(kernel.shares[rows].argmax(axis=1), return_inverse=True)[1]
    folds = np.random.default_rng(0).permutation(likes.max(initial=0) + 1)[likes] % _FOLDS
    error, std = np.zeros(len(rows)), np.ones(len(rows))
    for fold in np.unique(folds):
        out, kept = folds == fold, folds != fold
        if not kept.any():
            continue
        _, variances = _tune(kernel, rows[kept], rest[kept], (length,))
        mean, covariance = _conditioned(
            kernel, length, variances, rows[kept], rest[kept], rows[out]
        )
        error[out] = rest[out] - mean
        std[out] = np.sqrt(np.maximum(np.diag(covariance), 0.0) + variances[-1] + _JITTER)
    return error, std


def _conditioned(
    kernel: _Kernel, length: float, variances: Floats, rows: Ints, rest: Floats, wanted: Ints
) -> tuple[Floats, Floats]:
    """Return mean and covariance of the wanted layers given those measured (ibid., 2.23, 2.24)."""
    across = kernel.covariance(wanted, rows, length, variances)
    own = kernel.covariance(rows, rows, length, variances)
    solved = np.linalg.solve(own + (variances[-1] + _JITTER) * np.eye(len(rows)), across.T).T
    return solved @ rest, kernel.covariance(wanted, wanted, length, variances) - solved @ across.T


def _squared_distances(ours: Floats, theirs: Floats) -> Floats:
    lengths = (ours**2).sum(axis=1)[:, None] + (theirs**2).sum(axis=1)
    squared: Floats = np.maximum(lengths - 2 * ours @ theirs.T, 0.0)
    return squared
