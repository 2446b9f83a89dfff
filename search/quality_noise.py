"""Quality noise: how far one evaluation of a network may be from another, and what that leaves.

The standard deviation of a quality comes from, the first that there is:

    setting       ``quality_std`` in the run's settings
    repeats       the same networks evaluated in several runs of other seeds: the pooled deviation
    validation    sqrt(q (1 - q) / n) of an accuracy q on n images; what training adds is not in it

Errors of different networks are taken for independent, so that a difference of two qualities has
the variance s_i^2 + s_j^2, and is inside the noise where it is at most z times its root.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from latency_tables.table import LEVEL
from search.book import meets
from search.errors import RunError
from search.run import SearchResult
from search.splits import Splits
from search.trials import Trial

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class QualityNoise:
    """One standard deviation for all networks, or the number of images that accuracies are of.

    Raises:
        RunError: not one of both, or it is below 0 or no number.
    """

    source: str
    std: float | None = None
    images: int | None = None

    def __post_init__(self) -> None:
        if (self.std is None) == (self.images is None):
            raise RunError("expected a standard deviation or a number of images, one of both")
        if not (math.isfinite(number := self.std or 0.0) and number >= 0):
            raise RunError(f"quality_std is a number of at least 0, found {self.std}")
        if self.images is not None and self.images < 1:
            raise RunError(f"expected 1 image or more, found {self.images}")

    def stds(self, quality: Floats) -> Floats:
        """Return the standard deviation of each quality, shape ``(n,)``."""
        if self.images is None:
            return np.full(len(quality), self.std, np.float64)
        share = quality.clip(0.0, 1.0)
        found: Floats = np.sqrt(share * (1 - share) / self.images)
        return found


def quality_noise(result: SearchResult, others: Sequence[SearchResult] = ()) -> QualityNoise | None:
    """Return the noise of a run's qualities, None where nothing tells it.

    Args:
        others: runs with the same evaluator and other seeds.

    Raises:
        RunError: ``quality_std`` is no number of at least 0, or the splits cannot be read.
    """
    settings = result.config.settings
    if (given := settings.get("quality_std")) is not None:
        if isinstance(given, bool) or not isinstance(given, int | float):
            raise RunError(f"quality_std is a number of at least 0, found {given!r}")
        return QualityNoise("given as quality_std", std=float(given))
    if (repeated := noise_of_repeats([result, *others])) is not None:
        return repeated
    splits = result.run / "splits.npz"
    if splits.is_file() and settings.get("metric", "accuracy") == "accuracy":
        images = len(Splits.load(splits).validation)
        return QualityNoise(f"of {images} validation images alone", images=images)
    return None


def noise_of_repeats(results: Sequence[SearchResult]) -> QualityNoise | None:
    """Return the pooled standard deviation of networks that runs of several seeds have in common.

    None: they have none.
    """
    seeds: dict[tuple[int, ...], dict[int, float]] = defaultdict(dict)
    for result in results:
        for trial in result.trials:
            if isinstance(trial, Trial):
                seeds[trial.canonical].setdefault(result.config.seed, trial.quality)
    groups = [list(found.values()) for found in seeds.values() if len(found) > 1]
    if not groups:
        return None
    degrees = sum(len(group) - 1 for group in groups)
    squares = sum(len(group) * float(np.var(group)) for group in groups)
    source = f"{len(groups)} networks evaluated with several seeds"
    return QualityNoise(source, std=math.sqrt(squares / degrees))


@dataclass(frozen=True, slots=True)
class Lead:
    """A run's best network beside the others within the target and all limits, by quality.

    networks        how many there are, the best one among them
    lead            its quality less that of the second
    noise           up to here, a lead of these two would be inside the noise
    rivals          networks that it is ahead of by no more than the noise of their difference
    source          where the noise is from
    level           probability that noise alone stays inside
    """

    networks: int
    lead: float
    noise: float
    rivals: int
    source: str
    level: float

    @property
    def is_clear(self) -> bool:
        """Whether it is ahead of all others by more than the noise."""
        return self.rivals == 0

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON's values."""
        return {
            "networks": self.networks,
            "lead": self.lead,
            "noise": self.noise,
            "rivals": self.rivals,
            "is_clear": self.is_clear,
            "source": self.source,
            "level": self.level,
        }


def lead_of(result: SearchResult, noise: QualityNoise, *, level: float = LEVEL) -> Lead | None:
    """Return how far a run's best network is ahead; None: fewer than two are within the target."""
    trials = _within(result)
    if len(trials) < 2:
        return None
    quality = np.array([trial.quality for trial in trials])
    best, second = np.argsort(-quality, kind="stable")[:2].tolist()
    stds = noise.stds(quality)
    reach = NormalDist().inv_cdf((1 + level) / 2) * np.hypot(stds[best], stds)
    rivals = int((quality[best] - quality <= reach).sum()) - 1
    lead = float(quality[best] - quality[second])
    return Lead(len(trials), lead, float(reach[second]), rivals, noise.source, level)


def _within(result: SearchResult) -> list[Trial]:
    return [
        trial
        for trial in result.trials
        if isinstance(trial, Trial) and not trial.is_repeat and meets(result.config, trial)
    ]


def probability_within(trial: Trial, target_ms: float | None) -> float | None:
    """Return how likely a measurement of the network meets the target; None where unknown."""
    if target_ms is None or not trial.latency_std_ms:
        return None
    return NormalDist(trial.latency_ms, trial.latency_std_ms).cdf(target_ms)


def describe_lead(lead: Lead | None, noise: QualityNoise | None) -> str:
    """Return in words whether the winner is one."""
    if noise is None:
        return (
            "The noise of qualities is not known: give it as the setting quality_std, or search"
            " with several seeds, which tell it where they evaluate the same networks."
        )
    size = f"{noise.std:.4g}" if noise.std is not None else "sqrt(q (1 - q) / n)"
    about = f"One evaluation has a standard deviation of {size} ({noise.source})."
    if lead is None:
        return f"{about} There is no second network within the target to compare the best with."
    if noise.std == 0:
        return f"{about} Evaluations repeat exactly, so that a lead of {lead.lead:.4g} is one."
    said = f"The best network is {lead.lead:.4g} ahead of the second of {lead.networks}"
    percent = f"{100 * lead.level:g} %"
    if lead.is_clear:
        return f"{about} {said}, more than their noise of {lead.noise:.4g} ({percent})."
    return (
        f"{about} {said}, and {lead.rivals} {'rival is' if lead.rivals == 1 else 'rivals are'}"
        f" inside the noise ({lead.noise:.4g} at {percent}): which of these is the best is not"
        " known. Evaluate them again, such as with hilnas finalists."
    )
