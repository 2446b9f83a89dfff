"""ExpectedLatency: the predictor in torch, differentiable in the probabilities of choices.

A block's price depends on its own decisions and on the width decision of the block before. If
decisions are independent, a block's expectation is its table of prices contracted with one vector
of probabilities a decision; the latency's is the sum over blocks, exactly. At probabilities 0 and
1 it is what `predictor.Predictor.predict` says.

    E[latency] = sum over blocks of  sum_ijk.. price[i, j, k, ..] p_i q_j r_k ..
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from latency_tables.predictor import Predictor
from networks.errors import GenotypeError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class ExpectedLatency:
    """Latencies of a predictor's space on tensors, in milliseconds.

    Args:
        predictor: whose prices.
        dtype: of the prices and results; default float64.
        device: where the tables are kept and tensors are expected.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        import torch

        self.space = predictor.space
        self._sizes = [len(decision.options) for decision in self.space.decisions]
        matrix = self.space.code_matrix()
        self._tables = [
            torch.as_tensor(table, dtype=dtype or torch.float64, device=device)
            for table in self.space.block_prices(predictor.prices_ms)
        ]
        # Codes are mixed radix in the order of decisions, the width of the block before first
        self._decisions = [np.flatnonzero(column).tolist() for column in matrix.T]
        # An exact product of integers below 2^53, in the type that every device multiplies
        self._matrix = torch.as_tensor(matrix, dtype=torch.float64, device=device)
        self._last = torch.as_tensor([size - 1 for size in self._sizes], device=device)

    def expected(self, probabilities: Sequence[Tensor]) -> Tensor:
        """Return the expected latency under independent decisions, shape ``()`` or ``(batch,)``.

        Args:
            probabilities: one tensor a decision, all of shape ``(options,)`` or all ``(batch,
                options)``. They are taken as they are: whether they sum to 1 is the caller's care.

        Raises:
            GenotypeError: not one tensor a decision, or of another shape than its options.
        """
        choices = [choice.T for choice in self._in_batches(probabilities)]  # (options, batch)
        total = choices[0].new_zeros(())
        for table, decisions in zip(self._tables, self._decisions, strict=True):
            price = table[:, None]  # (choices that are left, batch)
            for decision in reversed(decisions):
                by_option = price.reshape(-1, self._sizes[decision], price.shape[-1])
                price = (by_option * choices[decision]).sum(dim=1)
            total = total + price[0]
        return total if probabilities[0].ndim == 2 else total.squeeze(0)

    def predict(self, genotypes: Tensor) -> Tensor:
        """Return the latency of each genotype, shape ``(n,)``.

        Args:
            genotypes: integers, shape ``(n, n_decisions)``, canonical or not.

        Raises:
            GenotypeError: another shape, or an option that does not exist.
        """
        sizes = self._sizes
        if (
            genotypes.ndim != 2
            or genotypes.shape[1] != len(sizes)
            or genotypes.dtype.is_floating_point
        ):
            raise GenotypeError(
                f"genotypes of {self.space.name} are integers of shape (n, {len(sizes)}),"
                f" found {genotypes.dtype} of shape {tuple(genotypes.shape)}"
            )
        outside = ((genotypes < 0) | (genotypes > self._last)).nonzero()
        if len(outside):
            row, column = outside[0].tolist()
            decision = self.space.decisions[column]
            raise GenotypeError(
                f"{decision.name} has options 0 to {sizes[column] - 1},"
                f" found {int(genotypes[row, column])} in genotype {row}"
            )
        codes = (genotypes.to(self._matrix.dtype) @ self._matrix).long()
        latency_ms = self._tables[0][codes[:, 0]]
        for block, table in enumerate(self._tables[1:], start=1):
            latency_ms = latency_ms + table[codes[:, block]]
        return latency_ms

    def _in_batches(self, probabilities: Sequence[Tensor]) -> list[Tensor]:
        """Return the probabilities as ``(batch, options)`` each, once their shapes make sense."""
        batch = tuple(probabilities[0].shape[:-1]) if probabilities else ()
        expected = [(*batch, size) for size in self._sizes]
        found = [tuple(choice.shape) for choice in probabilities]
        if found != expected or len(batch) > 1:
            raise GenotypeError(
                f"probabilities of {self.space.name} are {len(expected)} tensors of shape"
                f" (options,) or (batch, options) with {self._sizes} options, found shapes {found}"
            )
        return [choice.reshape(-1, choice.shape[-1]) for choice in probabilities]
