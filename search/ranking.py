"""Ranking noise: how much of the order of a run's networks may be errors of what was measured.

The rewards of two networks differ by d; the errors of their latencies make it differ by

    sigma^2 = a_i^2 V_ii + a_j^2 V_jj - 2 a_i a_j V_ij          a = slope of the reward

with V the covariances of the predicted latencies. d is inside the noise where |d| <= z sigma.
Errors that networks share, of rows that both use and of the scale, cancel in a difference: without
them, as if all errors were independent, more of a ranking seems to be noise than is. The noise of
qualities, where it is known, adds (b_i s_i)^2 + (b_j s_j)^2, with b the slope of the reward by
quality and s the standard deviation of a quality: see `search.quality_noise`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from latency_tables.predictor import Predictor
from latency_tables.table import LEVEL
from search.errors import RewardError
from search.objective import Penalty
from search.quality_noise import QualityNoise
from search.rewards import Reward
from search.run import SearchResult
from search.trials import Trial

Floats = npt.NDArray[np.float64]

MOST_NETWORKS = 1000
_ROWS = 256  # of the pairs that are compared at once


@dataclass(frozen=True, slots=True)
class RankingNoise:
    """What errors leave of a ranking by reward.

    networks, pairs     how many were compared
    inside              share of pairs whose difference is inside its noise
    lead                reward of the best network less that of the second
    lead_noise          up to here, a lead of these two would be inside its noise
    rivals              networks that the best is ahead of by no more than the noise
    level               probability that noise alone stays inside its noise
    """

    networks: int
    pairs: int
    inside: float
    lead: float
    lead_noise: float
    rivals: int
    level: float

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON's values."""
        return {**asdict(self), "has_clear_winner": self.has_clear_winner}

    @property
    def has_clear_winner(self) -> bool:
        """Whether the best network is ahead of all others by more than the noise."""
        return self.rivals == 0


def ranking_noise(
    reward: Reward | Penalty,
    quality: Floats,
    latency_ms: Floats,
    errors_ms: Floats,
    *,
    quality_std: Floats | float = 0.0,
    level: float = LEVEL,
) -> RankingNoise:
    """Return how much of the ranking of different networks is inside the noise.

    Args:
        quality, latency_ms: of each network, shape ``(n,)``, 2 or more.
        errors_ms: covariances of the latencies, shape ``(n, n)``, such as
            `Predictor.covariance_ms2`; or standard deviations, shape ``(n,)``, of errors that are
            taken for independent.
        quality_std: standard deviations of the qualities, shape ``(n,)``, or one of all.

    Raises:
        RewardError: shapes differ, there are fewer than 2, or a network has no reward.
    """
    n = len(latency_ms)
    if n < 2 or errors_ms.shape not in ((n,), (n, n)):
        raise RewardError(
            f"expected 2 networks or more, and errors of shape ({n},) or ({n}, {n}), found"
            f" {n} networks and errors of shape {errors_ms.shape}"
        )
    covariance = np.diag(errors_ms**2) if errors_ms.ndim == 1 else errors_ms
    std_ms = np.sqrt(np.diag(covariance))
    value, slope = reward(quality, latency_ms), _slopes(reward, quality, latency_ms, std_ms)
    by_quality = reward(quality + 1.0, latency_ms) - value  # every reward is linear in quality
    variance = (slope * std_ms) ** 2 + (by_quality * quality_std) ** 2
    z = NormalDist().inv_cdf((1 + level) / 2)

    def noise_of(rows: slice) -> Floats:
        shared = slope[rows, None] * covariance[rows] * slope
        total = variance[rows, None] + variance - 2 * shared
        noise: Floats = z * np.sqrt(total.clip(min=0.0))
        return noise

    inside = 0
    for start in range(0, n, _ROWS):
        rows = slice(start, start + _ROWS)
        is_inside = np.abs(value[rows, None] - value) <= noise_of(rows)
        inside += int(np.triu(is_inside, start + 1).sum())
    best, second = np.argsort(-value, kind="stable")[:2].tolist()
    noise = noise_of(slice(best, best + 1))[0]
    rivals = int((value[best] - value <= noise).sum()) - 1
    pairs = n * (n - 1) // 2
    lead = float(value[best] - value[second])
    return RankingNoise(n, pairs, inside / pairs, lead, float(noise[second]), rivals, level)


def run_ranking_noise(
    result: SearchResult,
    predictor: Predictor | None = None,
    *,
    noise: QualityNoise | None = None,
    most: int = MOST_NETWORKS,
) -> RankingNoise | None:
    """Return that of a run's best networks by reward, or None where there is nothing to tell.

    That is where fewer than 2 were evaluated, where the reward is of another cost than latency, or
    where neither the errors of latencies nor those of qualities are known.

    Args:
        predictor: knows which errors networks share; without one, the standard deviations that
            the trials have are taken for independent, which makes more of the ranking seem noise.
        noise: of the qualities.
        most: so many networks are compared, the best ones.

    Raises:
        UncertaintyUnknown: the predictor's table cannot tell.
    """
    trials = [t for t in result.trials if isinstance(t, Trial) and not t.is_repeat]
    trials = sorted(trials, key=lambda trial: -trial.reward)[:most]
    reward = result.config.reward
    if len(trials) < 2 or (isinstance(reward, Penalty) and reward.cost != "latency_ms"):
        return None
    quality, latency_ms, std_ms = (
        np.array([getattr(trial, name) or 0.0 for trial in trials], np.float64)
        for name in ("quality", "latency_ms", "latency_std_ms")
    )
    errors_ms = std_ms
    if predictor is not None:
        errors_ms = predictor.covariance_ms2(np.array([t.canonical for t in trials], np.int8))
    if noise is None and not errors_ms.any():
        return None
    quality_std = 0.0 if noise is None else noise.stds(quality)
    return ranking_noise(reward, quality, latency_ms, errors_ms, quality_std=quality_std)


def _slopes(
    reward: Reward | Penalty, quality: Floats, latency_ms: Floats, std_ms: Floats
) -> Floats:
    """Return how a reward moves with latency, one standard deviation to the side it moves more."""
    step = np.clip(std_ms, 1e-6 * latency_ms, latency_ms / 2)
    value = reward(quality, latency_ms)
    above = (reward(quality, latency_ms + step) - value) / step
    below = (value - reward(quality, latency_ms - step)) / step
    slopes: Floats = np.where(np.abs(above) >= np.abs(below), above, below)
    return slopes
