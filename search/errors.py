"""Everything that can go wrong in a search.

* SearchError
  x RewardError        a target, weight, quality or latency that has no reward (value shown)
  x UnknownSearcher    no searcher or preset of that name (with the nearest names)
  x OrderError         tells that do not follow the asks (expected and found)
  x ReplayError        the searcher does not ask what the run recorded
  x DatasetError       no images, or not those asked for (folder and remedy)
  x TrainingError      settings or shapes that cannot be trained
    x TrainingDiverged   the loss was no longer finite; lower the learning rate
  x StudyError         a CSV of evaluated networks that cannot be used (file, line, column)
  x EvaluatorError     an evaluator cannot be built, or breaks its contract
  x RunError           the run directory: fix the path or the arguments
    x RunExists        there is already something there
    x NotARun          there is no run there, or one of another version or of other parts
    x RunInUse         another process is writing to it
    x StoreError       its trials cannot be read or written (disk full, file damaged)
    x TooManyFailures  too large a share of evaluations failed (the last reason is shown)
  x MissingExtra       an optional dependency is not installed (the extra is named)
"""

from __future__ import annotations

from collections.abc import Iterable

from networks.errors import suggest


class SearchError(Exception):
    """Base of the errors raised by ``search``."""


class RewardError(SearchError, ValueError):
    """A target, weight, quality or latency that has no reward."""


class UnknownSearcher(SearchError, ValueError):
    """No searcher, preset or reward of that name; the message lists the nearest names."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"no {what} is named {name!r}; {suggest(name, known)}")


class OrderError(SearchError):
    """Results are told in the order in which they were asked; these were not."""


class ReplayError(SearchError):
    """A searcher replayed over a run's record does not ask what was asked then."""


class DatasetError(SearchError):
    """There are no images, or not the images that were asked for."""


class TrainingError(SearchError):
    """Settings or shapes that cannot be trained."""


class TrainingDiverged(TrainingError):
    """The loss was no longer finite."""


class StudyError(SearchError):
    """A CSV of evaluated networks cannot be used; names the file, the line and what was found."""


class EvaluatorError(SearchError):
    """An evaluator cannot be built, or does not keep its contract."""


class RunError(SearchError):
    """Base of what can be wrong with a run directory."""


class RunExists(RunError):
    """The directory of a new run already holds something."""


class NotARun(RunError):
    """The directory holds no run, or one that these parts cannot continue."""


class RunInUse(RunError):
    """Another process is writing to this run."""


class StoreError(RunError):
    """The trials of a run cannot be read or written."""


class TooManyFailures(RunError):
    """Too large a share of a run's evaluations failed; those that did not are kept."""


class MissingExtra(SearchError, ImportError):
    """An optional dependency is not installed; the message names the extra."""

    def __init__(self, what: str, module: str) -> None:
        super().__init__(f"{what} needs {module}: pip install 'hilnas[search]'")
