"""RunConfig: everything that is needed to repeat a search, and its TOML form (``run.toml``).

[search]    space, latency, evaluator, searcher, preset, budget, batch, lookahead, seed, front,
            max_failures
[reward]    kind, target_ms, alpha, beta; of the penalty: kind, weight, cost
[limits]    the most that a network may cost: latency_ms, madds, params, size_bytes, memory_bytes
[settings]  whatever the parts need to be built again: resolution, data, workers, ...
[parts]     written by the run: the full names of its parts, checked when it is resumed
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from search.errors import NotARun, RewardError, RunError
from search.objective import COSTS, Cost, Objective, Penalty
from search.rewards import Reward, make_reward

Scalar = str | int | float | bool
FORMAT = 1


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What to search, with what, how long.

    ``space``, ``latency``, ``evaluator`` and ``searcher`` are names that the caller can build
    the parts from again; ``settings`` holds what else that takes.

    Args:
        budget: number of proposals, repeats and failures included.
        batch: proposals asked for, evaluated and told together.
        lookahead: batches under way: one is asked for when the one ``lookahead`` before it is
            told. With 1, workers wait at the end of a batch for its slowest evaluation.
        seed: decides the proposals and, with each network, the seed of its evaluation.
        front: costs that searchers for whole fronts minimize, joined by commas.
        limits: the most that a network may cost, by name.
        max_failures: share of networks whose evaluation may fail, of 20 or more, until the run
            gives up.

    Raises:
        RunError: a value is of another type, or out of range.
    """

    space: str
    latency: str
    evaluator: str
    searcher: str
    reward: Reward | Penalty
    budget: int
    batch: int = 10
    lookahead: int = 1
    seed: int = 0
    preset: str | None = None
    front: str = "latency_ms"
    max_failures: float = 0.5
    limits: Mapping[Cost, float] = field(default_factory=dict)
    settings: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value, least in (
            ("budget", self.budget, 1),
            ("batch", self.batch, 1),
            ("lookahead", self.lookahead, 1),
            ("seed", self.seed, 0),
        ):
            if not isinstance(value, int) or value < least:
                raise RunError(f"{name} is a whole number of at least {least}, found {value!r}")
        for name in ("space", "latency", "evaluator", "searcher", "preset", "front"):
            if not isinstance(value := getattr(self, name), str | None):
                raise RunError(f"{name} is text, found {value!r}")
        if not (isinstance(self.max_failures, int | float) and 0 <= self.max_failures <= 1):
            raise RunError(f"max_failures is a share from 0 to 1, found {self.max_failures!r}")
        if bad := [
            name for name, limit in self.limits.items() if not isinstance(limit, int | float)
        ]:
            raise RunError(f"the limit of {bad[0]} is a number, found {self.limits[bad[0]]!r}")
        try:
            _ = self.objective
        except RewardError as error:
            raise RunError(str(error)) from error

    @property
    def objective(self) -> Objective:
        """What the search is after."""
        names: dict[str, Cost] = {name: name for name in COSTS}
        front = [name.strip() for name in self.front.split(",")]
        if bad := [name for name in front if name not in names]:
            raise RewardError(f"front names costs: {', '.join(COSTS)}, found {bad[0]!r}")
        return Objective(self.reward, self.limits, tuple(names[name] for name in front))

    @property
    def target_ms(self) -> float | None:
        """The latency that networks should meet: the reward's target, or a limit; None: neither."""
        if isinstance(self.reward, Reward):
            return self.reward.target_ms
        return self.limits.get("latency_ms")


def format_config(config: RunConfig, parts: Mapping[str, str]) -> str:
    """Return the TOML text of a run; the inverse of `parse_config`."""
    search = {f.name: getattr(config, f.name) for f in fields(config)}
    reward, limits, settings = (search.pop(name) for name in ("reward", "limits", "settings"))
    kind = {"kind": "penalty"} if isinstance(reward, Penalty) else {}
    sections: dict[str, Mapping[str, Scalar | None]] = {
        "search": search,
        "reward": {**kind, **{f.name: getattr(reward, f.name) for f in fields(reward)}},
        "limits": limits,
        "settings": settings,
        "parts": parts,
    }
    lines = [f"format = {FORMAT}"]
    for section, values in sections.items():
        lines += ["", f"[{section}]"]
        lines += [
            f"{_toml(key)} = {_toml(value)}" for key, value in values.items() if value is not None
        ]
    return "\n".join(lines) + "\n"


def parse_config(text: str) -> tuple[RunConfig, Mapping[str, str]]:
    """Return the configuration and the recorded names of the parts (empty if none).

    Raises:
        NotARun: not TOML, another format, or a key is unknown or missing (it is named).
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NotARun(f"a configuration is TOML: {error}") from error
    found = document.pop("format", FORMAT)
    if found != FORMAT:
        raise NotARun(f"a configuration of format {FORMAT} expected, found {found!r}")
    search, reward, limits, settings, parts = (
        document.pop(name, {}) for name in ("search", "reward", "limits", "settings", "parts")
    )
    known = {f.name for f in fields(RunConfig)} - {"reward", "limits", "settings"}
    unknown = sorted({*document, *(set(search) - known)})
    is_penalty = reward.get("kind") == "penalty"
    numbers = {f.name for f in fields(Penalty if is_penalty else Reward)} | {"kind"}
    unknown += sorted(set(reward) - numbers)
    if unknown:
        raise NotARun(f"a configuration has no key {unknown[0]!r}; [search] has {sorted(known)}")
    missing = sorted({"space", "latency", "evaluator", "searcher", "budget"} - set(search))
    missing += sorted({"kind", "weight" if is_penalty else "target_ms"} - set(reward))
    if missing:
        raise NotARun(f"a configuration needs {missing[0]!r}, which is missing")
    for name, value in reward.items():
        if name not in ("kind", "cost") and not isinstance(value, int | float):
            raise NotARun(f"{name} is a number, found {value!r}")
    made = _make_reward(**reward)
    return RunConfig(**search, reward=made, limits=limits, settings=settings), parts


def _make_reward(*, kind: str, **values: Any) -> Reward | Penalty:
    return Penalty(**values) if kind == "penalty" else make_reward(kind, **values)


def _toml(value: Scalar) -> str:
    """Return a scalar as TOML writes it: JSON's form, with one more character escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
