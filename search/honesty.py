"""Honesty: what keeps a run's result from being oversold.

noise       of a quality, where it is known; the winner's lead beside it; how much of the
            ranking by reward errors leave open
standings   random and local search at the same budget
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.baselines import (
    Standing,
    compare_baselines,
    describe_standings,
    load_baselines,
    loses_to_random,
)
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


@dataclass(frozen=True, slots=True)
class Honesty:
    """See the module; what is not known is None, ``standings`` are empty without baselines."""

    result: SearchResult
    noise: QualityNoise | None
    lead: Lead | None
    ranking: RankingNoise | None
    standings: tuple[Standing, ...]

    @property
    def loses_to_random(self) -> bool:
        """Whether random search found as good a network at the same budget."""
        return loses_to_random(self.standings)

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON's values: keys ``noise``, ``baselines`` and ``loses_to_random``.

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
        }

    def lines(self) -> list[str]:
        """Return it in words, a line each."""
        words = describe_standings(self.result, self.standings)
        return [*([words] if words else []), describe_lead(self.lead, self.noise)]


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
