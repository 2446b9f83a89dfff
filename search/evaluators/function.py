"""FunctionEvaluator: a function of the user's own, named ``module:function``.

What the function takes is written in its first parameter's name:

    genotypes       a batch, an int8 array ``(n, n_decisions)``; returns ``n`` qualities
    network         the decoded network; returns one quality
    anything else   one genotype ``(n_decisions,)``; returns one quality

    # my_module.py
    def quality(network): ...           hilnas search --evaluator my_module:quality
"""

from __future__ import annotations

import importlib
import inspect
import math
import time
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from networks.spaces.space import Genotypes, Space
from search.errors import EvaluatorError
from search.evaluators.evaluator import Evaluation, FailedEvaluation


class FunctionEvaluator:
    """Evaluator that calls a function; a call that raises is a failed evaluation.

    Args:
        function: see the module.
        name: how the run records it.
        space: decodes networks, for a function of these.
        deterministic: whether equal genotypes get equal qualities; taken on trust.

    Raises:
        EvaluatorError: it takes no argument, or networks of a space that has none.
    """

    def __init__(
        self,
        function: Callable[..., object],
        name: str,
        *,
        space: Space | None = None,
        deterministic: bool = True,
    ) -> None:
        self.name, self.deterministic = name, deterministic
        self._function = function
        self._argument = argument_of(function, name, space)

    def evaluate(
        self, genotypes: Genotypes, seeds: npt.NDArray[np.int64]
    ) -> Iterable[Evaluation | FailedEvaluation]:
        """Return one result a row; seeds are not passed on."""
        if self._argument is not None:
            return map(self._evaluate_one, map(self._argument, genotypes))
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

    def _evaluate_one(self, argument: object) -> Evaluation | FailedEvaluation:
        started = time.perf_counter()
        try:
            value = float(np.asarray(self._function(argument), dtype=np.float64))
        except Exception as error:  # the user's code may raise anything
            return _failed(self.name, error)
        return self._result(value, time.perf_counter() - started)

    def _result(self, value: float, seconds: float) -> Evaluation | FailedEvaluation:
        if not math.isfinite(value):
            return FailedEvaluation(f"{self.name} returned {value}")
        return Evaluation(value, seconds)


def argument_of(
    function: Callable[..., object], name: str, space: Space | None
) -> Callable[[Genotypes], object] | None:
    """Return what makes the argument of a function from one genotype; None: it takes batches.

    Raises:
        EvaluatorError: see `FunctionEvaluator`.
    """
    try:
        parameters = list(inspect.signature(function).parameters)
    except ValueError:  # some of those that are built in have none
        parameters = ["genotype"]
    if not parameters:
        raise EvaluatorError(f"{name} takes no argument; expected genotype, genotypes or network")
    if parameters[0] == "genotypes":
        return None
    if parameters[0] != "network":
        return lambda genotype: genotype
    decode: Callable[[Genotypes], object] | None = getattr(space, "decode", None)
    if decode is None:
        what = "no space was given" if space is None else f"{space.name} has decisions alone"
        raise EvaluatorError(f"{name} takes a network, but {what}; take a genotype instead")
    return decode


def load_function(reference: str, space: Space | None = None) -> FunctionEvaluator:
    """Return the evaluator named ``module:function``; ``space`` decodes networks for it.

    Raises:
        EvaluatorError: the reference, the module or the function is not right.
    """
    module_name, colon, function_name = reference.partition(":")
    if not (module_name and colon and function_name.isidentifier()):
        raise EvaluatorError(f"an evaluator is module:function, found {reference!r}")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # importing runs the user's code
        absent = isinstance(error, ModuleNotFoundError) and error.name == module_name
        remedy = f"; expected {module_name}.py in this folder, or installed" if absent else ""
        raise EvaluatorError(
            f"cannot import {module_name!r} for the evaluator {reference!r}:"
            f" {type(error).__name__}: {error}{remedy}"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        known = [n for n, value in vars(module).items() if inspect.isfunction(value)]
        raise EvaluatorError(
            f"{module_name!r} ({module.__file__}) has no function {function_name!r};"
            f" it has {', '.join(sorted(known)) or 'none'}"
        )
    return FunctionEvaluator(function, reference, space=space)


def _failed(name: str, error: Exception) -> FailedEvaluation:
    return FailedEvaluation(f"{name} raised {type(error).__name__}: {error}")
