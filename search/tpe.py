"""TPE: the tree-structured Parzen estimator, Optuna's, as a baseline from outside.

Bergstra et al. 2011. Each decision is a categorical parameter. Proposals that are not told yet
count as bad ones (Optuna's constant liar), so that a batch is not one network many times.
"""

from __future__ import annotations

import logging
from collections import deque

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import Trial, TrialState, create_trial

from networks.spaces.space import Genotypes, Space
from search.searcher import ReplayingSearcher, Rewards, Values

STARTUP_TRIALS = 10
"""Random proposals before the estimator has its say: Optuna's own default."""


class TPESearch(ReplayingSearcher):
    """Optuna's `TPESampler` with its default settings, each decision by itself."""

    name = "tpe"

    def __init__(self, space: Space, *, seed: int) -> None:
        super().__init__(space)
        self._choices: dict[str, BaseDistribution] = {
            decision.name: CategoricalDistribution(range(len(decision.options)))
            for decision in space.decisions
        }
        optuna.logging.set_verbosity(logging.WARNING)
        sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=STARTUP_TRIALS, constant_liar=True
        )
        self._study = optuna.create_study(sampler=sampler, direction="maximize")
        self._open = deque[Trial]()

    def propose(self, n: int) -> Genotypes:
        """Return what the sampler draws."""
        trials = [self._study.ask(self._choices) for _ in range(n)]
        self._open.extend(trials)
        names = list(self._choices)
        return np.array([[trial.params[name] for name in names] for trial in trials], np.int8)

    def learn(self, genotypes: Genotypes, rewards: Rewards) -> None:
        """Tell the study, failures as such."""
        for reward in rewards:
            trial = self._open.popleft()
            if reward is None:
                self._study.tell(trial, state=TrialState.FAIL)
            else:
                self._study.tell(trial, reward)

    def hear(self, genotypes: Genotypes, rewards: Rewards, values: Values | None = None) -> None:
        """Add networks that others proposed to the study."""
        for genotype, reward in zip(genotypes.tolist(), rewards, strict=True):
            if reward is not None:
                params = dict(zip(self._choices, genotype, strict=True))
                self._study.add_trial(
                    create_trial(params=params, distributions=self._choices, value=reward)
                )
