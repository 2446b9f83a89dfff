"""Reward: one number for a quality and a latency, whole batches at a time.

    absolute   q + beta |r - 1|                     TuNAS (Bender et al. 2020), equation 5
    hard       q min(r, 1)^0     max(r, 1)^-1       MnasNet (Tan et al. 2019), equation 2
    soft       q min(r, 1)^-0.07 max(r, 1)^-0.07    the same equation; its default

with q the quality and r = latency / target. Equation 2 is written q r^w, where w is alpha if
r <= 1 and beta otherwise: the product above, since one of its two powers is always 1.
Each formula is written once, on operators that NumPy arrays and torch tensors share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, overload

import numpy as np
import numpy.typing as npt

from search.errors import RewardError, UnknownSearcher

if TYPE_CHECKING:
    import torch

    Array = TypeVar("Array", npt.NDArray[np.floating[Any]], torch.Tensor)

Kind = Literal["absolute", "hard", "soft"]
CHUNK = 16_384

DEFAULT_WEIGHTS: Mapping[Kind, tuple[float, float]] = {
    "absolute": (-0.07, -0.07),
    "hard": (0.0, -1.0),
    "soft": (-0.07, -0.07),
}
"""Alpha (the target is met) and beta (it is missed) of each kind, from the papers above."""


@dataclass(frozen=True, slots=True)
class Reward:
    """A reward with its numbers; call it with qualities and latencies.

    Args:
        kind: which formula.
        target_ms: the latency that costs and earns nothing.
        alpha: weight where the target is met; ``absolute`` has one weight for both sides.
        beta: weight where it is missed.

    Raises:
        RewardError: the target is not positive and finite, or a weight is not finite and <= 0.
    """

    kind: Kind
    target_ms: float
    alpha: float
    beta: float

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UnknownSearcher("reward", self.kind, get_args(Kind))
        if not (math.isfinite(self.target_ms) and self.target_ms > 0):
            raise RewardError(f"target_ms is a positive number, found {self.target_ms}")
        for name, weight in (("alpha", self.alpha), ("beta", self.beta)):
            if not (math.isfinite(weight) and weight <= 0):
                raise RewardError(f"{name} is a finite number of at most 0, found {weight}")
        if self.kind == "absolute" and self.alpha != self.beta:
            raise RewardError(
                f"the absolute reward has one weight, found alpha {self.alpha}, beta {self.beta}"
            )

    @property
    def note(self) -> str | None:
        """What a user should know of this reward before searching with it, if anything."""
        if self.kind != "absolute" and self.alpha == self.beta:
            return (
                f"with alpha = beta = {self.alpha:g} the target only scales the reward: every "
                "target has the same best network; 'absolute' or 'hard' aims at the target"
            )
        return None

    @overload
    def __call__(self, quality: float, latency_ms: float) -> float: ...

    @overload
    def __call__(self, quality: Array, latency_ms: Array) -> Array: ...

    def __call__(self, quality: Any, latency_ms: Any) -> Any:
        """Return the reward of each network, in the type and precision of the arguments.

        Args:
            quality: such as accuracy in [0, 1]; two numbers, arrays or tensors of one shape.
            latency_ms: greater than 0 and finite.

        Raises:
            RewardError: shapes differ, a latency is not positive and finite, or a quality is
                not finite.
        """
        if isinstance(latency_ms, (int, float)):
            return float(self(np.asarray(quality, float), np.asarray(latency_ms, float)))
        if quality.shape != latency_ms.shape:
            raise RewardError(
                f"as many qualities as latencies, found shapes {tuple(quality.shape)} "
                f"and {tuple(latency_ms.shape)}"
            )
        if 0 in latency_ms.shape:
            return quality * latency_ms
        if isinstance(latency_ms, np.ndarray) and latency_ms.ndim == 1 and len(latency_ms) > CHUNK:
            return self._in_chunks(quality, latency_ms)
        if not (latency_ms.min() > 0 and latency_ms.max() < math.inf):
            raise RewardError("every latency_ms is positive and finite, found one that is not")
        ratio = latency_ms * (1.0 / self.target_ms)
        reward = (
            self._absolute(quality, ratio)
            if self.kind == "absolute"
            else self._power(quality, ratio)
        )
        if not -math.inf < reward.min() <= reward.max() < math.inf:
            raise RewardError("every quality is finite, found one that is not")
        return reward

    def _in_chunks(self, quality: Any, latency_ms: Any) -> Any:
        """Return what the whole arrays give, through arrays that stay in the cache."""
        rewards = np.empty(len(latency_ms), np.result_type(quality, latency_ms))
        for start in range(0, len(rewards), CHUNK):
            part = slice(start, start + CHUNK)
            rewards[part] = self(quality[part], latency_ms[part])
        return rewards

    def _absolute(self, quality: Any, ratio: Any) -> Any:
        return quality + self.beta * abs(ratio - 1.0)

    def _power(self, quality: Any, ratio: Any) -> Any:
        if self.alpha == self.beta:
            return quality * ratio**self.alpha
        missed = quality * ratio.clip(min=1.0) ** self.beta
        return missed * ratio.clip(max=1.0) ** self.alpha if self.alpha else missed


def make_reward(
    kind: str, *, target_ms: float, alpha: float | None = None, beta: float | None = None
) -> Reward:
    """Return the reward of this name; weights that are not given are the papers'.

    Raises:
        UnknownSearcher: no reward has this name (with suggestions).
        RewardError: a number is out of range.
    """
    for known, (default_alpha, default_beta) in DEFAULT_WEIGHTS.items():
        if known == kind:
            beta = default_beta if beta is None else beta
            if alpha is None:
                alpha = beta if kind == "absolute" else default_alpha
            return Reward(known, float(target_ms), float(alpha), float(beta))
    raise UnknownSearcher("reward", kind, DEFAULT_WEIGHTS)
