"""ImageNetProxy: ImageNet top-1 of the accel-nasbench space from a few hundred coefficients.

    top1 = ceiling - exp(intercept + sum over terms of coefficient x product of its steps)

A step is 1 where a decision has at least some value ("block3.expansion>=4"), else 0; a term is
one step or a pair. The coefficients are in ``imagenet_proxy.json``, with where they come from and
how well they rank networks that the fit never saw; `benchmarks/fit_imagenet_proxy.py` writes it.
The accuracy is that of Accel-NASBench's short schedule, some points under a full training.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
import numpy.typing as npt

from networks.spaces.space import Genotypes, Space
from search.errors import EvaluatorError
from search.evaluators.evaluator import Evaluation

Floats = npt.NDArray[np.float64]
Steps = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ProxyModel:
    """The fitted coefficients; ``terms`` hold one or two step numbers and a coefficient."""

    steps: tuple[str, ...]
    ceiling: float
    intercept: float
    terms: tuple[tuple[tuple[int, ...], float], ...]

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> ProxyModel:
        """Return the model of a parsed ``imagenet_proxy.json``."""
        steps, terms = values["steps"], values["terms"]
        assert isinstance(steps, list)
        assert isinstance(terms, list)
        return cls(
            tuple(map(str, steps)),
            float(str(values["ceiling"])),
            float(str(values["intercept"])),
            tuple((tuple(map(int, term[:-1])), float(term[-1])) for term in terms),
        )

    def predict(self, steps: Steps) -> Floats:
        """Return top-1 in percent, shape ``(n,)``, of steps 0 or 1, shape ``(n, n_steps)``."""
        form = np.zeros((len(self.steps), len(self.steps)))
        for numbers, coefficient in self.terms:  # a step is its own square
            form[numbers[0], numbers[-1]] += coefficient
        gap: Floats = np.einsum("ns,ns->n", steps @ form, steps)
        return self.ceiling - np.exp(self.intercept + gap)


class ImageNetProxy:
    """Evaluator of the accel-nasbench space; quality is predicted top-1 in [0, 1].

    Raises:
        EvaluatorError: the space lacks a decision or an option that the model was fitted to.
    """

    name = "imagenet-proxy"
    deterministic = True

    def __init__(self, space: Space) -> None:
        self.provenance = load_proxy()
        self._model = ProxyModel.from_dict(self.provenance)
        self._n_decisions = len(space.decisions)
        columns = {decision.name: column for column, decision in enumerate(space.decisions)}
        values = {d.name: np.array([float(option) for option in d.options])
                  for d in space.decisions if d.name in _decisions(self._model.steps)}  # fmt: skip
        missing = _decisions(self._model.steps) - set(values)
        if missing:
            raise EvaluatorError(
                f"imagenet-proxy was fitted to the accel-nasbench space; {space.name} has no"
                f" decision {min(missing)}; use another evaluator or that space"
            )
        self._steps = [
            (columns[name], values[name] >= threshold)
            for name, threshold in map(_parse_step, self._model.steps)
        ]

    def qualities(self, genotypes: Genotypes) -> Floats:
        """Return predicted top-1 in [0, 1] of genotypes ``(n, n_decisions)``, shape ``(n,)``."""
        steps = [reached[genotypes[:, column]] for column, reached in self._steps]
        return self._model.predict(np.stack(steps, axis=1).astype(np.float64)) / 100

    def evaluate(self, genotypes: Genotypes, seeds: npt.NDArray[np.int64]) -> Sequence[Evaluation]:
        """Return one evaluation a row; seeds change nothing."""
        started = time.perf_counter()
        qualities = self.qualities(genotypes)
        seconds = (time.perf_counter() - started) / max(1, len(qualities))
        return [Evaluation(quality, seconds) for quality in qualities.tolist()]


def load_proxy() -> dict[str, object]:
    """Return the parsed ``imagenet_proxy.json``: coefficients, provenance, held-out figures."""
    text = resources.files("search.evaluators").joinpath("imagenet_proxy.json").read_text("utf-8")
    values: dict[str, object] = json.loads(text)
    return values


def _parse_step(step: str) -> tuple[str, float]:
    name, _, value = step.partition(">=")
    return name, float(value)


def _decisions(steps: Sequence[str]) -> set[str]:
    return {_parse_step(step)[0] for step in steps}
