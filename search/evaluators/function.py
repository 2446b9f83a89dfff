"""FunctionEvaluator: a function of the user's own, named ``module:function``.

The function takes a batch of genotypes, an int8 array ``(n, n_decisions)``, and returns ``n``
qualities; or it takes one genotype ``(n_decisions,)`` and returns one number. Which of the two
is written in its first parameter's name: ``genotypes`` for a batch, anything else for one.

    # my_module.py
    def quality(genotype): ...           hilnas search --evaluator my_module:quality
"""

from __future__ import annotations

import importlib
import inspect
import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from networks.spaces.space import Genotypes
from search.errors import EvaluatorError
from search.evaluators.evaluator import Evaluation, FailedEvaluation


class FunctionEvaluator:
    """Evaluator that calls a function; a call that raises is a failed evaluation.

    Args:
        function: see the module.
        name: how the run records it.
        deterministic: whether equal genotypes get equal qualities; taken on trust.
    """

    def __init__(
        self, function: Callable[..., object], name: str, *, deterministic: bool = True
    ) -> None:
        self.name, self.deterministic = name, deterministic
        self._function = function
        parameters = list(inspect.signature(function).parameters)
        if not parameters:
            raise EvaluatorError(f"{name} takes no argument; expected genotype or genotypes")
        self._batched = parameters[0] == "genotypes"

    def evaluate(
        self, genotypes: Genotypes, seeds: npt.NDArray[np.int64]
    ) -> Sequence[Evaluation | FailedEvaluation]:
        """Return one result a row; seeds are not passed on."""
        if not self._batched:
            return [self._evaluate_one(genotype) for genotype in genotypes]
        started = time.perf_counter()
        try:
            values = np.asarray(self._function(genotypes), dtype=np.float64)
        except Exception as error:  # the user's code may raise anything
            return [_failed(self.name, error)] * len(genotypes)
        if values.shape != (len(genotypes),):
            raise EvaluatorError(
                f"{self.name} got {len(genotypes)} genotypes and returned shape {values.shape};"
                f" expected ({len(genotypes)},)"
            )
        seconds = (time.perf_counter() - started) / max(1, len(genotypes))
        return [self._result(value, seconds) for value in values.tolist()]

    def _evaluate_one(self, genotype: Genotypes) -> Evaluation | FailedEvaluation:
        started = time.perf_counter()
        try:
            value = float(np.asarray(self._function(genotype), dtype=np.float64))
        except Exception as error:  # the user's code may raise anything
            return _failed(self.name, error)
        return self._result(value, time.perf_counter() - started)

    def _result(self, value: float, seconds: float) -> Evaluation | FailedEvaluation:
        if not math.isfinite(value):
            return FailedEvaluation(f"{self.name} returned {value}")
        return Evaluation(value, seconds)


def load_function(reference: str) -> FunctionEvaluator:
    """Return the evaluator named ``module:function``.

    Raises:
        EvaluatorError: the reference, the module or the function is not right.
    """
    module_name, colon, function_name = reference.partition(":")
    if not (module_name and colon and function_name.isidentifier()):
        raise EvaluatorError(f"an evaluator is module:function, found {reference!r}")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # importing runs the user's code
        raise EvaluatorError(
            f"cannot import {module_name!r} for the evaluator {reference!r}:"
            f" {type(error).__name__}: {error}"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        known = [n for n, value in vars(module).items() if inspect.isfunction(value)]
        raise EvaluatorError(
            f"{module_name!r} has no function {function_name!r};"
            f" it has {', '.join(sorted(known)) or 'none'}"
        )
    return FunctionEvaluator(function, reference)


def _failed(name: str, error: Exception) -> FailedEvaluation:
    return FailedEvaluation(f"{name} raised {type(error).__name__}: {error}")
