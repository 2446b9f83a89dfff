"""Honesty: what keeps a run's result from being oversold.

noise       of a quality, where it is known; the winner's lead beside it; how much of the
            ranking by reward errors leave open
standings   random and local search at the same budget
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.baselines import (
    Standing,
    compare_baselines,
    describe_standings,
    load_baselines,
    loses_to_random,
)
from search.objective import Penalty
from search.quality_noise import (
    Lead,
    QualityNoise,
    describe_lead,
    lead_of,
    probability_within,
    quality_noise,
)
from search.ranking import RankingNoise, run_ranking_noise
from search.run import SearchResult
from search.trials import Trial


@dataclass(frozen=True, slots=True)
class Honesty:
    """See the module; what is not known is None, ``standings`` are empty without baselines."""

    result: SearchResult
    noise: QualityNoise | None
    lead: Lead | None
    ranking: RankingNoise | None
    standings: tuple[Standing, ...]

    @property
    def penalty_warning(self) -> str | None:
        """Said where a penalty varies more over the run's networks than their quality."""
        penalty = self.result.config.reward
        trials = [t for t in self.result.trials if isinstance(t, Trial) and not t.is_repeat]
        if not isinstance(penalty, Penalty) or len(trials) < 2:
            return None
        costs = [{"latency_ms": t.latency_ms, **t.costs}[penalty.cost] for t in trials]
        return penalty.swamps(np.array([t.quality for t in trials]), np.array(costs))

    @property
    def loses_to_random(self) -> bool:
        """Whether random search found as good a network at the same budget."""
        return loses_to_random(self.standings)

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON's values: ``noise``, ``baselines``, ``loses_to_random``, ``warning``.

        ``loses_to_random`` is None where random search was not run.
        """
        best, noise = self.result.best, self.noise
        target_ms = self.result.config.target_ms
        return {
            "noise": {
                "quality": noise
                and {"std": noise.std, "images": noise.images, "source": noise.source},
                "lead": self.lead and self.lead.to_dict(),
                "ranking": self.ranking and self.ranking.to_dict(),
                "probability_within_target": best and probability_within(best, target_ms),
            },
            "baselines": [standing.to_dict() for standing in self.standings],
            "loses_to_random": self.loses_to_random
            if any(standing.name == "random" for standing in self.standings)
            else None,
            "warning": self.penalty_warning,
        }

    def lines(self) -> list[str]:
        """Return it in words, a line each."""
        words = (self.penalty_warning, describe_standings(self.result, self.standings))
        return [*filter(None, words), describe_lead(self.lead, self.noise)]


def honesty_of(
    result: SearchResult,
    *,
    baselines: Mapping[str, SearchResult] | None = None,
    others: Sequence[SearchResult] = (),
) -> Honesty:
    """Return what is known of a run.

    Args:
        baselines: by name; None: those that lie in the run's directory.
        others: runs with the same evaluator and other seeds, which tell the noise of qualities.

    Raises:
        RunError: ``quality_std`` is no number of at least 0, or a file of the run is damaged.
    """
    noise = quality_noise(result, others)
    lead = None if noise is None else lead_of(result, noise)
    found = load_baselines(result.run) if baselines is None else baselines
    standings = compare_baselines(result, found, noise=None if lead is None else lead.noise)
    return Honesty(result, noise, lead, run_ranking_noise(result, noise=noise), tuple(standings))
