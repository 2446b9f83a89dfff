"""Everything that can go wrong in a search, split by what the caller can do.

* SearchError
  x DatasetError        no images, or not the images that were asked for (folder and remedy)
  x TrainingError       settings or shapes that cannot be trained
  x EvaluatorError      an evaluator that cannot be built (what was expected, where)
"""

from __future__ import annotations


class SearchError(ValueError):
    """Base of all errors raised by ``search``."""


class DatasetError(SearchError):
    """There are no images, or not the images that were asked for."""


class TrainingError(SearchError):
    """Settings or shapes that cannot be trained."""


class EvaluatorError(SearchError):
    """An evaluator that cannot be built."""
