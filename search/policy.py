"""Policy search: what policy-gradient searchers share around the controller.

    sample architectures -> reward -> advantage over a moving average -> update

Every decision of an architecture has the architecture's advantage. Everything is computed on one
thread, so that proposals do not depend on how many the process has.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from networks.spaces.space import Genotypes, Space
from search.controller import Controller, sample
from search.searcher import ReplayingSearcher, Rewards
from search.single_thread import single_thread


class PolicySettings(Protocol):
    """The numbers that every policy gradient has.

    learning_rate   of Adam
    batch           architectures an update
    baseline_decay  of the moving average that is subtracted from rewards
    normalise       whether advantages are divided by their standard deviation in the batch, and
                    centred
    """

    @property
    def learning_rate(self) -> float: ...
    @property
    def batch(self) -> int: ...
    @property
    def baseline_decay(self) -> float: ...
    @property
    def normalise(self) -> bool: ...


Settings = TypeVar("Settings", bound=PolicySettings)


class PolicySearch(ReplayingSearcher, Generic[Settings]):
    """Proposes what the controller samples; updates it after every ``batch`` rewards.

    Failed evaluations are left out of the updates. ``figures`` has, of the last update: ``reward``,
    the mean of its architectures; ``baseline``, the moving average of such means before it;
    ``advantage``, the mean of |reward - baseline| before it is normalised; and what `update` adds.
    """

    def __init__(
        self, space: Space, settings: Settings, *, seed: int, name: str | None = None
    ) -> None:
        super().__init__(space)
        self.name, self.settings = name or type(self).name, settings
        self.generator = torch.Generator().manual_seed(seed)
        self.controller = Controller(
            [len(decision.options) for decision in space.decisions], generator=self.generator
        )
        self.optimizer = torch.optim.Adam(
            self.controller.parameters(), lr=settings.learning_rate, foreach=True
        )
        self._log_probs: list[Tensor] = []
        self._ready: list[tuple[Tensor, Tensor, float]] = []
        self._baseline: float | None = None
        self._figures: dict[str, float] = {}

    @abstractmethod
    def update(
        self, choices: Tensor, old_log_probs: Tensor, advantages: Tensor
    ) -> Mapping[str, float]:
        """Make these architectures more or less likely; return figures of the update.

        Args:
            choices: options, int64, shape ``(n, n_decisions)``.
            old_log_probs: of the choices when they were proposed, same shape.
            advantages: of the architectures, shape ``(n,)``.
        """

    @property
    def figures(self) -> Mapping[str, float]:
        """Those of the last update."""
        return self._figures

    def propose(self, n: int) -> Genotypes:
        """Sample ``n`` architectures."""
        with single_thread():
            choices, log_probs = sample(self.controller, n, self.generator)
        self._log_probs += log_probs
        return choices.numpy().astype(np.int8)

    def learn(self, genotypes: Genotypes, rewards: Rewards) -> None:
        """Keep rewards until there is a batch of them, and update with each batch."""
        choices = torch.from_numpy(genotypes.astype(np.int64))
        told = len(rewards)
        log_probs, self._log_probs = self._log_probs[:told], self._log_probs[told:]
        self._ready += [
            (choice, log_prob, reward)
            for choice, log_prob, reward in zip(choices, log_probs, rewards, strict=True)
            if reward is not None
        ]
        size = self.settings.batch
        while len(self._ready) >= size:
            batch, self._ready = self._ready[:size], self._ready[size:]
            with single_thread():
                self._update(
                    torch.stack([choice for choice, _, _ in batch]),
                    torch.stack([log_prob for _, log_prob, _ in batch]),
                    torch.tensor([reward for _, _, reward in batch]),
                )

    def step(self, loss: Tensor) -> None:
        """Take one step of the optimizer down this loss."""
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def _update(self, choices: Tensor, old_log_probs: Tensor, rewards: Tensor) -> None:
        mean = float(rewards.mean())
        baseline = mean if self._baseline is None else self._baseline
        decay = self.settings.baseline_decay
        self._baseline = decay * baseline + (1 - decay) * mean
        raw = rewards - baseline
        advantages = normalised(raw) if self.settings.normalise else raw
        figures = self.update(choices, old_log_probs, advantages)
        advantage = float(raw.abs().mean())
        self._figures = {"reward": mean, "baseline": baseline, "advantage": advantage, **figures}


def normalised(advantages: Tensor) -> Tensor:
    """Return advantages with mean 0 and standard deviation 1; zeros where all are equal."""
    centred = advantages - advantages.mean()
    return centred / (centred.square().mean().sqrt() + 1e-8)
