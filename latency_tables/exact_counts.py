"""Distribution: how many networks of a space have which latency, exactly, on a grid of latencies.

A latency is a sum along the chain of blocks, so the numbers of ways to go on from a block, by
incoming state s and by cost k in steps of the grid, follow from those of the blocks after it:

    ways_b[s, k] = sum over choices c of block b:  ways_b+1[state_out(c), k - cost_b(s, c)]

That counts chains of choices. Networks are the canonical chains without a merged pair of
neighbours (`networks.spaces.blocks.Link`), which no state tells; they are counted by inclusion and
exclusion. The product over neighbours of (1 - merged) is a sum over all sets of borders, and the
borders of a set join blocks to runs in which every pair is merged, so

    ways_b[s, k] = sum over runs r from b:  (-1)^(l - 1) ways_b+l[state_out(r), k - cost(r)]

where l is a run's length, 1 for a single choice. Merged pairs are few, so longer runs cost little.

All of it is whole numbers: 64-bit where the number of genotypes, which no intermediate sum
exceeds, is below 2^63, else Python's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from latency_tables.errors import GridTooFine
from networks.spaces.blocks import Ints, Link
from networks.spaces.chain import ChainSpace

Floats = npt.NDArray[np.float64]
Over = Literal["networks", "canonical chains", "genotypes"]
Progress = Callable[[int, int, str], None]
"""Called with blocks done, of how many, and what is counted."""

MAX_STEPS = 2**22
"""Of the slowest network; arrays of as many numbers are kept for each block and state."""
_SLACK = 1e-6  # of a step: what float sums of milliseconds may be off, a thousand times over


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The cost of every choice in whole steps: one array a block, shape (n_states, n_choices).

    Each block's share of the latency is rounded to the nearest step. A network's latency L then
    lies, in steps, between its cost - ``below`` and its cost + ``above``, which are the sums over
    blocks of the largest amounts by which a choice was rounded up and down.
    """

    step_ms: float
    costs: tuple[Ints, ...]
    below: float
    above: float

    @classmethod
    def of(cls, space: ChainSpace, prices_ms: Floats, step_ms: float) -> Grid:
        """Return the grid of these prices of ``space.layers``, shape ``(n_layers,)``.

        Raises:
            GridTooFine: the slowest network has more than ``MAX_STEPS`` steps.
        """
        shares = block_shares(space, prices_ms)
        slowest_ms = sum(float(share.max()) for share in shares)
        if slowest_ms / step_ms > MAX_STEPS:
            raise GridTooFine(step_ms, slowest_ms, MAX_STEPS)
        costs = tuple(np.rint(share / step_ms).astype(np.int64) for share in shares)
        errors = [share / step_ms - cost for share, cost in zip(shares, costs, strict=True)]
        below = sum(max(0.0, float(-error.min())) for error in errors)
        above = sum(max(0.0, float(error.max())) for error in errors)
        return cls(step_ms, costs, below, above)

    def steps(self, latency_ms: float, *, error: float = 0.0) -> int:
        """Return the largest cost whose latency, ``error`` steps more, is within this one."""
        return max(-1, math.floor(latency_ms / self.step_ms - error + _SLACK))


def block_shares(space: ChainSpace, prices: npt.ArrayLike) -> list[Floats]:
    """Return what each choice adds to a network's sum: one (n_states, n_choices) a block."""
    shapes = [link.canonical.shape for link in space.links]
    return [t.reshape(s) for t, s in zip(space.block_prices(prices), shapes, strict=True)]


def count_ways(
    links: Sequence[Link],
    costs: Sequence[Ints],
    over: Over,
    dtype: type = np.int64,
    *,
    progress: Progress | None = None,
) -> list[Ints]:
    """Return for each block, and past the last, the numbers of ways to go on to the end.

    Element b has the shape (n_states, 1 + the largest cost from b on); see the module.

    Args:
        costs: of each choice by state, (n_states, n_choices) a block.
        dtype: ``count_type`` of the space.
    """
    n_ends = int(links[-1].state_out.max()) + 1
    ways: list[Ints] = [np.ones((n_ends, 1), dtype=dtype)]
    for block in reversed(range(len(links))):
        n_states = len(links[block].canonical)
        longest = ways[0].shape[1] + int(costs[block].max())
        here: Ints = np.zeros((n_states, longest), dtype=dtype)
        for length, runs in enumerate(_runs(links, costs, block, over), start=1):
            rest = ways[length - 1]
            distinct, times = np.unique(runs, axis=0, return_counts=True)
            signs = times if length % 2 else -times
            for (state, end, cost), sign in zip(distinct.tolist(), signs.tolist(), strict=True):
                target = here[state, cost : cost + rest.shape[1]]
                if sign == 1:
                    target += rest[end]
                else:
                    target += sign * rest[end]
        ways.insert(0, here)
        if progress is not None:
            progress(len(links) - block, len(links), f"counting {over}")
    return ways


def count_type(space: ChainSpace) -> type:
    """Return the type that holds every count: int64, or object for Python's own integers."""
    return np.int64 if space.n_genotypes < 2**63 else object


def _runs(links: Sequence[Link], costs: Sequence[Ints], block: int, over: Over) -> Iterator[Ints]:
    """Yield the runs from a block of length 1, 2, ... as rows of (state, state after, cost)."""
    if over == "genotypes":
        state, choice = (np.ravel(i) for i in np.indices(links[block].canonical.shape))
    else:
        state, choice = np.nonzero(links[block].canonical)
    cost = costs[block][state, choice]
    while state.size:
        link = links[block]
        end = link.state_out[choice]
        yield np.stack([state, end, cost], axis=1)
        block += 1
        if over != "networks" or block == len(links):
            return
        run, after = np.nonzero(link.merged[choice] & links[block].canonical[end])
        cost = cost[run] + costs[block][end[run], after]
        state, choice = state[run], after


@dataclass(frozen=True, eq=False)
class Distribution:
    """How many networks (or genotypes) have which latency.

    ``counts[k]`` have a cost of k steps, exactly; a latency differs from its cost by rounding,
    so what is said of latencies comes with bounds. Proof: let x be a network's latency in steps
    and n its cost. Summed over blocks, n - below <= x <= n + above (`Grid`). So n + above <= t
    implies x <= t, which implies n - below <= t. The number of networks with x <= t therefore lies
    between the numbers of those with n <= t - above and with n <= t + below. Where every share is a
    whole number of steps, both bounds are the count itself. (Latencies within a millionth of a
    step of the target may fall on either side: sums of floats are no surer than that.)
    """

    grid: Grid
    counts: Ints

    @cached_property
    def cumulative(self) -> Ints:
        """Number of those that cost at most so many steps, shape ``(n_steps,)``."""
        total: Ints = np.cumsum(self.counts, dtype=self.counts.dtype)
        return total

    @property
    def total(self) -> int:
        """Number of all."""
        return int(self.cumulative[-1])

    @property
    def latencies_ms(self) -> Floats:
        """Latency of each element of ``counts``."""
        latencies: Floats = np.arange(len(self.counts), dtype=np.float64) * self.grid.step_ms
        return latencies

    def within(self, target_ms: float) -> int:
        """Return how many meet the target; the true number lies in `within_bounds`."""
        return self._at_most(self.grid.steps(target_ms))

    def within_bounds(self, target_ms: float) -> tuple[int, int]:
        """Return the least and the greatest number that can meet the target, by rounding."""
        grid = self.grid
        low, high = (grid.steps(target_ms, error=e) for e in (grid.above, -grid.below))
        return self._at_most(low), self._at_most(high)

    def quantile_ms(self, share: float) -> float:
        """Return the least latency that at least this share meets; off by the grid's rounding."""
        wanted = max(1, math.ceil(Fraction(repr(float(share))) * self.total))
        return float(self.latencies_ms[np.searchsorted(self.cumulative, wanted)])

    def _at_most(self, steps: int) -> int:
        return 0 if steps < 0 else int(self.cumulative[min(steps, len(self.cumulative) - 1)])


def count_latencies(
    space: ChainSpace,
    grid: Grid,
    over: Literal["networks", "genotypes"],
    *,
    progress: Progress | None = None,
) -> Distribution:
    """Return the distribution over networks, each counted once, or over all genotypes."""
    ways = count_ways(space.links, grid.costs, over, count_type(space), progress=progress)
    return Distribution(grid, ways[0][0])
