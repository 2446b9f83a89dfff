"""Book: what a run knows, in memory: its proposals, and the results of its distinct networks."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from networks.spaces.space import Genotypes, Space
from search.config import RunConfig
from search.errors import NotARun, TooManyFailures
from search.trials import Failed, Proposal, Recorder, Scored, Trial, TrialStore

LEAST_JUDGED = 20
"""Networks that are evaluated before a share of failures says anything."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands: proposals with results, of how many, and what they gave."""

    told: int
    budget: int
    distinct: int
    failed: int
    best_quality: float | None


class Book:
    """See the module; what it takes in goes to the store."""

    def __init__(
        self, config: RunConfig, space: Space, searcher: str, store: TrialStore, record: Recorder
    ) -> None:
        self.config, self.space = config, space
        self._recorded = store.proposals()
        self.proposed = len(self._recorded)
        self._next_batch = self._recorded[-1].batch + 1 if self._recorded else 0
        self._latest = deque(self._recorded, maxlen=config.batch * config.lookahead)
        self.results: dict[int, Scored | Failed] = {}
        self._searcher, self._store, self._record = searcher, store, record
        self._objective = config.objective
        self._failed, self._best_quality = 0, -math.inf
        self._new = self._new_failed = 0
        for number, result in store.results().items():
            self._add(number, result)
        self._first = {_key(p.canonical): p.first for p in self._recorded}

    def require_same_rewards(self) -> None:
        """Check that what was stored is judged as it was then.

        Raises:
            NotARun: the run's reward or limits were changed since.
        """
        scored = {n: r for n, r in self.results.items() if isinstance(r, Scored)}
        if not scored:
            return
        quality = np.array([result.quality for result in scored.values()])
        costs = [{"latency_ms": r.latency_ms, **r.costs} for r in scored.values()]
        needed = self._objective.costs
        if all(name in cost for cost in costs for name in needed):
            known: dict[str, npt.NDArray[np.float64]] = {
                name: np.array([cost[name] for cost in costs]) for name in needed
            }
            found = self._objective(quality, known).rewards
            stored = np.array([result.reward for result in scored.values()])
            if np.allclose(found, stored, rtol=1e-9, atol=1e-12):
                return
        raise NotARun(
            f"{self._store.path.parent}: expected the reward and limits that its {len(scored)}"
            " networks were judged by, found others in run.toml; undo that change, or start a new"
            " run with --config"
        )

    def told(self) -> list[tuple[Proposal, Scored | Failed]]:
        """Return what a run that goes on had told before, with results."""
        before = self._next_batch - self.config.lookahead
        return [(p, self.results[p.first]) for p in self._recorded if p.batch < before]

    def hand_over(self) -> list[Proposal]:
        """Return what was proposed before, and keep it no longer."""
        recorded, self._recorded = self._recorded, []
        return recorded

    def propose(self, genotypes: Genotypes) -> list[Proposal]:
        """Number, recognise and commit new proposals, after the results that led to them."""
        networks = self.space.canonical(genotypes)
        asked_unix_s = time.time()
        added = []
        for number, (genotype, network) in enumerate(
            zip(genotypes, networks, strict=True), start=self.proposed
        ):
            options, canonical = tuple(genotype.tolist()), tuple(network.tolist())
            added.append(
                Proposal(
                    number=number,
                    batch=self._next_batch,
                    first=self._first.setdefault(_key(canonical), number),
                    genotype=options,
                    canonical=canonical,
                    hash=sha256(f"{self.space.name}:{canonical}".encode()).hexdigest()[:16],
                    seed=evaluation_seed(self.config.seed, network),
                    searcher=self._searcher,
                    asked_unix_s=asked_unix_s,
                )
            )
        self._record.commit()
        self._store.propose(added)
        self.proposed += len(added)
        self._next_batch += 1
        self._latest.extend(added)
        return added

    def take_in(self, number: int, result: Scored | Failed) -> None:
        """Store the result of a proposal's number.

        Raises:
            TooManyFailures: the share of failures among what this process evaluated.
        """
        self._record(number, result)
        self._add(number, result)
        self._new += 1
        if isinstance(result, Scored):
            return
        self._new_failed += 1
        share = self._new_failed / self._new
        if self._new >= LEAST_JUDGED and share > self.config.max_failures:
            raise TooManyFailures(
                f"expected at most {100 * self.config.max_failures:g} % of evaluations to fail,"
                f" found {self._new_failed} of {self._new}, the last one: {result.reason}; mend"
                " that and resume the run: what was evaluated is kept"
            )

    def missing(self, batch: Sequence[Proposal]) -> list[Proposal]:
        """Return those of a batch that must be evaluated: new, and without a result."""
        return [p for p in batch if not p.is_repeat and p.number not in self.results]

    def judged(self, proposal: Proposal) -> tuple[float, tuple[float, ...]] | None:
        """Return reward and values of a proposal's network; None if its evaluation failed."""
        result = self.results[proposal.first]
        if not isinstance(result, Scored):
            return None
        costs: Mapping[str, float] = {"latency_ms": result.latency_ms, **result.costs}
        front = (-costs[name] for name in self._objective.front)
        return result.reward, (result.quality, *front, result.violation)

    def progress(self) -> Progress:
        """Return where the run stands."""
        return Progress(
            told=self.proposed - sum(p.first not in self.results for p in self._latest),
            budget=self.config.budget,
            distinct=len(self._first),
            failed=self._failed,
            best_quality=self._best_quality if math.isfinite(self._best_quality) else None,
        )

    def _add(self, number: int, result: Scored | Failed) -> None:
        self.results[number] = result
        if isinstance(result, Failed):
            self._failed += 1
        elif meets(self.config, result):
            self._best_quality = max(self._best_quality, result.quality)


def meets(config: RunConfig, result: Scored | Trial) -> bool:
    """Return whether a network is within the target and all limits."""
    target_ms = config.target_ms
    return result.violation == 0 and (target_ms is None or result.latency_ms <= target_ms)


def _key(canonical: tuple[int, ...]) -> bytes:
    """Return what tells networks apart, in little memory: a run may have very many."""
    return np.array(canonical, np.int8).tobytes()


def evaluation_seed(run_seed: int, canonical: Genotypes) -> int:
    """Return the seed of a network's evaluation: a hash of both, below 2^48."""
    digest = sha256(f"{run_seed}:".encode() + canonical.astype(np.int8).tobytes()).digest()
    return int.from_bytes(digest[:6])
