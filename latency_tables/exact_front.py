"""Front: for each latency the best sum of scores that any network reaches, and that network.

Of two ways to come to a block in the same state, one that is no faster and no better than the
other can be forgotten, whatever follows (Nemhauser and Ullmann 1969). So the front of a space is
found block by block, from the front of each state:

    front_b+1[s'] = undominated of  front_b[s] + (latency, score) of choice c,  c leads from s to s'

It is exact in the latencies as they are, without a grid, and needs no counting: genotypes that
decode alike have equal sums. Its size is that of the fronts, thousands for scores such as
multiply-adds; a score that is itself nearly proportional to latency can make nearly all networks
undominated, and then latencies have to be rounded to a step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from latency_tables.errors import FrontTooLarge, NothingWithin
from latency_tables.exact_counts import Floats, block_shares
from networks.layers import lower_layer
from networks.network import count_madds, count_params
from networks.spaces.blocks import Ints
from networks.spaces.chain import ChainSpace
from networks.spaces.space import Genotypes

MAX_POINTS = 2**18
"""Of the front of one state."""
_TOGETHER = 2**19  # sums that are looked at together: tens of megabytes
_SLACK = 1e-12  # relative; what sums of floats taken in another order may be off


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """Networks that no other beats in both, fastest first; of equals one is kept.

    ``latency_ms`` and ``score`` rise, shape ``(n,)``; ``genotypes`` are canonical, shape
    ``(n, n_decisions)``.
    """

    latency_ms: Floats
    score: Floats
    genotypes: Genotypes


@dataclass(frozen=True, slots=True, eq=False)
class _Points:
    """Undominated ways to one state: their sums, the point before each, and its choice."""

    latency: Floats
    score: Floats
    before: Ints
    choice: Ints

    @classmethod
    def none(cls) -> _Points:
        return cls(np.empty(0), np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))

    def undominated(self) -> _Points:
        return self.take(_undominated(self.latency, self.score))

    def take(self, places: npt.NDArray[np.integer]) -> _Points:
        return _Points(
            self.latency[places], self.score[places], self.before[places], self.choice[places]
        )


def layer_scores(space: ChainSpace, what: Literal["madds", "params"]) -> Floats:
    """Return the multiply-adds or parameters of each of ``space.layers``, shape ``(n_layers,)``."""
    count = {"madds": count_madds, "params": count_params}[what]
    return np.array([count(lower_layer(layer)) for layer in space.layers], np.float64)


def find_front(
    space: ChainSpace,
    prices_ms: Floats,
    scores: npt.ArrayLike,
    *,
    target_ms: float | None = None,
    step_ms: float | None = None,
) -> Front:
    """Return the front of the highest sum of scores over latency.

    Args:
        prices_ms: latency of each of ``space.layers``, shape ``(n_layers,)``.
        scores: of each of them, higher is better, shape ``(n_layers,)``; sums of whole numbers
            are exact below 2^53.
        target_ms: leave out networks that are slower.
        step_ms: round each block's share of the latency to whole steps first; the front is then
            exact for latencies so rounded.

    Raises:
        NothingWithin: no network meets the target.
        FrontTooLarge: give a (larger) ``step_ms``.
    """
    unit_ms = 1.0 if step_ms is None else step_ms
    shares = [share / unit_ms for share in block_shares(space, prices_ms)]
    if step_ms is not None:
        shares = [np.rint(share) for share in shares]
    limit = math.inf if target_ms is None else target_ms / unit_ms
    least, reach = _least_rest(space, shares), limit * (1 + _SLACK)
    none = np.zeros(1, np.int64)
    levels = [[_Points(np.zeros(1), np.zeros(1), none, none)]]
    for link, share, gain, rest in zip(
        space.links, shares, block_shares(space, scores), least[1:], strict=True
    ):
        levels.append([
            _extend(space, levels[-1], link.state_out == end, share, gain, reach - rest[end])
            for end in range(len(rest))
        ])  # fmt: skip
    front, choices = _trace(levels)
    inside = front.latency <= limit
    if not inside.any():
        raise NothingWithin(space.name, limit * unit_ms, float(least[0][0]) * unit_ms)
    return Front(
        front.latency[inside] * unit_ms,
        front.score[inside],
        space.canonical(space.from_choices(choices[inside])),
    )


def _least_rest(space: ChainSpace, shares: Sequence[Floats]) -> list[Floats]:
    """Return for each block, and past the last, the least latency from there on, by state."""
    least = [np.zeros(int(space.links[-1].state_out.max()) + 1)]
    for link, share in zip(reversed(space.links), reversed(shares), strict=True):
        least.insert(0, (share + least[0][link.state_out]).min(axis=1))
    return least


def _extend(
    space: ChainSpace,
    points: Sequence[_Points],
    leads: npt.NDArray[np.bool_],
    share: Floats,
    gain: Floats,
    limit: float,
) -> _Points:
    """Return the front of one state from those of the states before, within a limit."""
    front, first = _Points.none(), 0
    for state, point in enumerate(points):
        choices = np.flatnonzero(leads)
        choices = choices[_undominated(share[state, choices], gain[state, choices])]
        size = point.score.size
        for some in np.array_split(choices, 1 + choices.size * size // _TOGETHER):
            latency = np.ravel(point.latency + share[state, some, None])
            score = np.ravel(point.score + gain[state, some, None])
            within = np.flatnonzero(latency <= limit)
            kept = within[_undominated(latency[within], score[within])]
            choice, before = np.divmod(kept, max(1, size))
            found = _Points(latency[kept], score[kept], first + before, some[choice])
            front = _join([front, found]).undominated()
            if front.score.size > MAX_POINTS:
                raise FrontTooLarge(space.name, MAX_POINTS)
        first += size
    return front


def _undominated(latency: Floats, score: Floats) -> npt.NDArray[np.intp]:
    """Return the places of those that no other dominates, fastest first."""
    order = np.lexsort((-score, latency))
    ranked = score[order]
    best_before = np.concatenate(([-np.inf], np.maximum.accumulate(ranked)))[:-1]
    front: npt.NDArray[np.intp] = order[ranked > best_before]
    return front


def _join(parts: Sequence[_Points]) -> _Points:
    """Return all of these points, undominated or not."""
    return _Points(
        np.concatenate([p.latency for p in parts]),
        np.concatenate([p.score for p in parts]),
        np.concatenate([p.before for p in parts]),
        np.concatenate([p.choice for p in parts]),
    )


def _trace(levels: Sequence[Sequence[_Points]]) -> tuple[_Points, Ints]:
    """Return the front of the last level's states, and its choices, shape (n, n_blocks)."""
    front = _join(levels[-1]).undominated()
    choices, before = [front.choice], front.before
    for level in reversed(levels[1:-1]):
        points = _join(level).take(before)
        choices.insert(0, points.choice)
        before = points.before
    return front, np.stack(choices, axis=1)
