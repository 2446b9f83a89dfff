"""WithinSampler: networks that meet a latency, each as likely as any other.

The cumulative numbers of ways to go on from each block (`latency_tables.exact_counts`) number the
canonical chains that cost at most so many steps. A uniform whole number below their count is turned
into its chain block by block: a choice is taken where the number falls among the ways to go on
after each choice within what the earlier ones left. Chains with a merged pair (in MnasNet's space
1 of 1,000), and those that only rounding put within, are then dropped: what stays is uniform over
the networks whose unrounded latency meets the target.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from latency_tables.errors import GridTooCoarse
from latency_tables.exact_counts import Floats, Grid, block_shares, count_type, count_ways
from networks.spaces.blocks import Ints
from networks.spaces.chain import ChainSpace
from networks.spaces.space import Genotypes

_CHUNK = 2048  # chains drawn at a time: their ways by choice stay within some megabytes
_ROUNDS = 256  # in a row without one network
_NEVER = 2**62  # a cost in steps that nothing affords


class WithinSampler:
    """Draws networks of ``space`` whose ``prices_ms``, shape ``(n_layers,)``, meet a target."""

    def __init__(self, space: ChainSpace, prices_ms: Floats, grid: Grid) -> None:
        self.space, self.grid = space, grid
        self._shares = block_shares(space, prices_ms)
        self._costs = [
            np.where(link.canonical, cost, _NEVER)
            for link, cost in zip(space.links, grid.costs, strict=True)
        ]
        ways = count_ways(space.links, grid.costs, "canonical chains", count_type(space))
        # [s, k + 1]: ways that cost at most k; nothing costs less than 0
        self._within = [np.cumsum(np.insert(w, 0, 0, axis=1), axis=1, dtype=w.dtype) for w in ways]

    def draw(self, n: int, rng: np.random.Generator, target_ms: float) -> Genotypes:
        """Return ``n`` canonical genotypes with replacement, shape ``(n, n_decisions)``.

        The target is one that some network meets.

        Raises:
            GridTooCoarse: too few of those that rounding puts within meet it.
        """
        budget = self.grid.steps(target_ms, error=-self.grid.below)
        chains = int(self._within[0][0, min(budget + 1, self._within[0].shape[1] - 1)])
        kept: list[Ints] = [np.empty((0, len(self._shares)), np.int64)]
        missing, fruitless = n, 0
        while missing > 0:
            if fruitless == _ROUNDS:
                raise GridTooCoarse(self.space.name, target_ms, self.grid.step_ms)
            size = min(_CHUNK, (missing + missing // 64 + 8) << min(fruitless, 8))
            choices = self._chains(_below(rng, chains, size), budget)
            found = choices[self._counts(choices, target_ms)]
            kept.append(found)
            missing, fruitless = missing - len(found), 0 if len(found) else fruitless + 1
        return self.space.from_choices(np.concatenate(kept)[:n])

    def _chains(self, number: Ints, budget: int) -> Ints:
        """Return the chains of these numbers among those within a budget, one choice a block."""
        choices = np.empty((len(number), len(self._costs)), np.int64)
        state = np.zeros(len(number), np.int64)
        left = np.full(len(number), budget)
        rows = np.arange(len(number))
        for block, (costs, link) in enumerate(zip(self._costs, self.space.links, strict=True)):
            within = self._within[block + 1]
            after = left[:, None] - costs[state]
            place = np.clip(after + 1, 0, within.shape[1] - 1)
            place += link.state_out * within.shape[1]
            upto = np.cumsum(within.ravel().take(place), axis=1, dtype=within.dtype)
            choice = (upto <= number[:, None]).sum(axis=1)
            number = number - np.where(choice, upto[rows, choice - 1], 0)
            choices[:, block], left, state = choice, after[rows, choice], link.state_out[choice]
        return choices

    def _counts(self, choices: Ints, target_ms: float) -> npt.NDArray[np.bool_]:
        """Return which chains are networks that meet the target, unrounded."""
        keep = np.ones(len(choices), bool)
        latency_ms = np.zeros(len(choices))
        state = np.zeros(len(choices), np.int64)
        for block, (share, link) in enumerate(zip(self._shares, self.space.links, strict=True)):
            latency_ms += share[state, choices[:, block]]
            state = link.state_out[choices[:, block]]
            if block + 1 < choices.shape[1]:
                keep &= ~link.merged[choices[:, block], choices[:, block + 1]]
        kept: npt.NDArray[np.bool_] = keep & (latency_ms <= target_ms)
        return kept


def _below(rng: np.random.Generator, limit: int, n: int) -> Ints:
    """Return uniform whole numbers below a limit of any size, shape ``(n,)``."""
    if limit < 2**63:
        return rng.integers(0, limit, n)
    numbers: list[int] = []
    size = (limit.bit_length() + 7) // 8
    while len(numbers) < n:
        number = int.from_bytes(rng.bytes(size)) >> (8 * size - limit.bit_length())
        if number < limit:
            numbers.append(number)
    return np.array(numbers, dtype=object)
