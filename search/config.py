"""RunConfig: everything that is needed to repeat a search, and its TOML form (``run.toml``).

[search]    space, latency, evaluator, searcher, preset, budget, batch, seed
[reward]    kind, target_ms, alpha, beta
[settings]  whatever the parts need to be built again: resolution, data, workers, ...
[parts]     written by the run: the full names of its parts, checked when it is resumed
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from search.errors import NotARun, RunError
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
        seed: decides the proposals and, with each network, the seed of its evaluation.

    Raises:
        RunError: a value is of another type, or out of range.
    """

    space: str
    latency: str
    evaluator: str
    searcher: str
    reward: Reward
    budget: int
    batch: int = 10
    seed: int = 0
    preset: str | None = None
    settings: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value, least in (
            ("budget", self.budget, 1),
            ("batch", self.batch, 1),
            ("seed", self.seed, 0),
        ):
            if not isinstance(value, int) or value < least:
                raise RunError(f"{name} is a whole number of at least {least}, found {value!r}")
        for name in ("space", "latency", "evaluator", "searcher", "preset"):
            if not isinstance(value := getattr(self, name), str | None):
                raise RunError(f"{name} is text, found {value!r}")


def format_config(config: RunConfig, parts: Mapping[str, str]) -> str:
    """Return the TOML text of a run; the inverse of `parse_config`."""
    search = {f.name: getattr(config, f.name) for f in fields(config)}
    reward, settings = search.pop("reward"), search.pop("settings")
    sections: dict[str, Mapping[str, Scalar | None]] = {
        "search": search,
        "reward": {f.name: getattr(reward, f.name) for f in fields(reward)},
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
    search, reward, settings, parts = (
        document.pop(name, {}) for name in ("search", "reward", "settings", "parts")
    )
    known = {f.name for f in fields(RunConfig)} - {"reward", "settings"}
    unknown = sorted({*document, *(set(search) - known)})
    unknown += sorted(set(reward) - {f.name for f in fields(Reward)})
    if unknown:
        raise NotARun(f"a configuration has no key {unknown[0]!r}; [search] has {sorted(known)}")
    missing = sorted({"space", "latency", "evaluator", "searcher", "budget"} - set(search))
    missing += sorted({"kind", "target_ms"} - set(reward))
    if missing:
        raise NotARun(f"a configuration needs {missing[0]!r}, which is missing")
    for name, value in reward.items():
        if name != "kind" and not isinstance(value, int | float):
            raise NotARun(f"{name} is a number, found {value!r}")
    made = make_reward(reward.pop("kind"), **reward)
    return RunConfig(**search, reward=made, settings=settings), parts


def _toml(value: Scalar) -> str:
    """Return a scalar as TOML writes it: JSON's form, with one more character escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
