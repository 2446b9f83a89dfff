"""GaussianProcess: from a few evaluated genotypes to the qualities of others, with their spread.

    k(a, b) = v (1 - m) s(a, b) + v m exp(-(1 - s(a, b)) / l),    s = share of decisions alike

The first part is linear in the options (each has a worth, worths add up), the second lets
decisions depend on each other within a distance. Values are standardised; v, m, l and the noise
are those of a small grid with the largest marginal likelihood (Rasmussen & Williams 2006,
algorithm 2.1 and equation 5.8), so that equal data give equal models, in one pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from networks.spaces.space import Genotypes

Floats = npt.NDArray[np.float64]

_MIXES = (0.1, 0.5)
_LENGTHS = (0.1, 0.3)
_NOISES = (0.003, 0.03, 0.3)


@dataclass(frozen=True, slots=True)
class Kernel:
    """See the module: m, l, and the variance of the noise, of values of variance 1."""

    mix: float
    length: float
    noise: float

    def __call__(self, alike: Floats) -> Floats:
        """Return covariances, before the factor v, of pairs with these shares alike."""
        near: Floats = np.exp((alike - 1) / self.length)
        return (1 - self.mix) * alike + self.mix * near


@dataclass(frozen=True, slots=True)
class GaussianProcess:
    """A fitted model; made by `fit`."""

    kernel: Kernel
    variance: float
    mean: float
    scale: float
    known: Floats
    factor: Floats
    weights: Floats

    @classmethod
    def fit(
        cls,
        options: OneHot,
        genotypes: Genotypes,
        values: Floats,
        *,
        kernel: Kernel | None = None,
    ) -> GaussianProcess:
        """Return the model of these values.

        Args:
            options: of the space.
            genotypes: at least 1, shape ``(n, n_decisions)``.
            values: finite, shape ``(n,)``.
            kernel: of an earlier model of fewer of them, which spares the search of the grid.
        """
        known = options(genotypes)
        mean, scale = float(values.mean()), float(values.std()) or 1.0
        standard = (values - mean) / scale
        alike = known @ known.T / options.n_decisions
        kernels = _GRID if kernel is None else (kernel,)
        best = max(_models(alike, standard, kernels), key=lambda model: model[0])
        _, kernel, variance, factor, weights = best
        return cls(kernel, variance, mean, scale, known / options.n_decisions, factor, weights)

    def posterior(self, genotypes: Floats) -> Posterior:
        """Return what is known of these networks.

        Args:
            genotypes: one-hot, shape ``(n, n_options)``.
        """
        return Posterior(self, genotypes)


class Posterior:
    """Means and standard deviations of noiseless values, shape ``(n,)`` each."""

    def __init__(self, model: GaussianProcess, genotypes: Floats) -> None:
        self._model, self._genotypes = model, genotypes
        covariance = model.kernel(genotypes @ model.known.T)
        self.mean: Floats = model.mean + model.scale * (covariance @ model.weights)
        self._explained = solve_triangular(
            model.factor, covariance.T, lower=True, check_finite=False
        )
        self._left: Floats = 1.0 - np.einsum("ij,ij->j", self._explained, self._explained)

    @property
    def std(self) -> Floats:
        """In the unit of the values."""
        found: Floats = np.sqrt(self._model.variance * np.maximum(self._left, 1e-12))
        return self._model.scale * found

    def believe(self, index: int) -> None:
        """Take the mean of one network as its value: means stay, spreads shrink around it."""
        model = self._model
        own = self._genotypes[index] / np.count_nonzero(self._genotypes[index])
        covariance = model.kernel(self._genotypes @ own)
        covariance -= self._explained.T @ self._explained[:, index]
        pivot = np.sqrt(max(float(self._left[index]), 1e-12) + model.kernel.noise)
        row = covariance / pivot
        self._explained = np.vstack([self._explained, row])
        self._left = self._left - row**2


@dataclass(frozen=True, slots=True)
class OneHot:
    """Genotypes as rows of zeros and ones, one column an option."""

    sizes: tuple[int, ...]

    @property
    def n_decisions(self) -> int:
        """Number of ones in a row."""
        return len(self.sizes)

    def __call__(self, genotypes: Genotypes) -> Floats:
        """Return shape ``(n, sum of sizes)``."""
        columns = genotypes.astype(np.intp) + (np.cumsum(self.sizes, dtype=np.intp) - self.sizes)
        rows = np.zeros((len(genotypes), sum(self.sizes)))
        np.put_along_axis(rows, columns, 1.0, axis=1)
        return rows


_GRID = tuple(Kernel(*numbers) for numbers in product(_MIXES, _LENGTHS, _NOISES))


def _models(
    alike: Floats, values: Floats, kernels: Sequence[Kernel]
) -> Iterator[tuple[float, Kernel, float, Floats, Floats]]:
    """Yield log marginal likelihood, kernel, v, Cholesky factor and weights of each kernel.

    For each, v is the one of largest likelihood: values' K^-1 values / n.
    """
    n = len(values)
    for kernel in kernels:
        covariance = kernel(alike)
        covariance[np.diag_indices(n)] += kernel.noise
        factor, _ = cho_factor(covariance, lower=True, check_finite=False)
        weights = cho_solve((factor, True), values, check_finite=False)
        variance = max(float(values @ weights) / n, 1e-12)
        likelihood = -0.5 * n * np.log(variance) - float(np.log(np.diag(factor)).sum())
        yield likelihood, kernel, variance, factor, weights
