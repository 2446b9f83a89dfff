"""The searchers by name: ours, and those that other packages register.

A package adds one under the entry point group ``hilnas.searchers``: a callable that takes
``(space, *, preset, seed)`` and returns a `search.searcher.Searcher`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import TypeVar

from networks.spaces.space import Space
from search import evolution
from search.errors import MissingExtra, UnknownSearcher
from search.guided import Aim, GuidedSearch
from search.local_search import LocalSearch
from search.random_search import RandomSearch
from search.searcher import Searcher

ENTRY_POINTS = "hilnas.searchers"
Settings = TypeVar("Settings")


def make_searcher(
    name: str,
    space: Space,
    *,
    preset: str | None = None,
    seed: int = 0,
    aim: Aim | None = None,
) -> Searcher:
    """Return a new searcher.

    Args:
        name: one of `searcher_names`.
        preset: a named set of settings; None takes the searcher's own default, ``small-budget``
            where there is such a one.
        seed: decides every proposal, with the results told.
        aim: what is known of costs beforehand, which only ``guided`` uses.

    Raises:
        UnknownSearcher: no searcher or preset of that name (with suggestions).
        MissingExtra: it needs a package that is not installed.
    """
    if name == "guided":
        _refuse_preset(name, preset)
        return GuidedSearch(space, aim, seed=seed)
    makers = {**_OURS, **_registered()}
    if name not in makers:
        raise UnknownSearcher("searcher", name, searcher_names())
    return makers[name](space, preset=preset, seed=seed)


def searcher_names() -> list[str]:
    """Return the names that `make_searcher` knows."""
    return sorted({"guided", *_OURS, *_registered()})


def _random(space: Space, *, preset: str | None, seed: int) -> Searcher:
    _refuse_preset("random", preset)
    return RandomSearch(space, seed=seed)


def _local(space: Space, *, preset: str | None, seed: int) -> Searcher:
    _refuse_preset("local", preset)
    return LocalSearch(space, seed=seed)


def _tpe(space: Space, *, preset: str | None, seed: int) -> Searcher:
    _refuse_preset("tpe", preset)
    with _extra("the tpe searcher", "optuna"):
        from search.tpe import TPESearch
    return TPESearch(space, seed=seed)


def _evolution(space: Space, *, preset: str | None, seed: int) -> Searcher:
    chosen, settings = _preset("evolution", preset, evolution.PRESETS)
    return evolution.RegularizedEvolution(space, settings, seed=seed, name=chosen)


def _nsga2(space: Space, *, preset: str | None, seed: int) -> Searcher:
    with _extra("the nsga2 searcher", "pymoo"):
        from search import nsga2
    chosen, settings = _preset("nsga2", preset, nsga2.PRESETS)
    return nsga2.NSGA2Search(space, settings, seed=seed, name=chosen)


def _ppo(space: Space, *, preset: str | None, seed: int) -> Searcher:
    with _extra("the ppo searcher", "torch"):
        from search import ppo
    chosen, settings = _preset("ppo", preset, ppo.PRESETS)
    return ppo.PPOSearch(space, settings, seed=seed, name=chosen)


def _reinforce(space: Space, *, preset: str | None, seed: int) -> Searcher:
    with _extra("the reinforce searcher", "torch"):
        from search import reinforce
    chosen, settings = _preset("reinforce", preset, reinforce.PRESETS)
    return reinforce.ReinforceSearch(space, settings, seed=seed, name=chosen)


def _preset(name: str, preset: str | None, presets: Mapping[str, Settings]) -> tuple[str, Settings]:
    """Return the searcher's name with its preset, and the settings."""
    preset = preset or "small-budget"
    if preset not in presets:
        raise UnknownSearcher(f"preset of {name}", preset, presets)
    return f"{name}:{preset}", presets[preset]


def _refuse_preset(name: str, preset: str | None) -> None:
    if preset is not None:
        raise UnknownSearcher(f"preset of {name}", preset, ["(none: it has no settings)"])


@contextmanager
def _extra(what: str, module: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise MissingExtra(what, module) from error


_OURS: dict[str, Callable[..., Searcher]] = {
    "evolution": _evolution,
    "local": _local,
    "nsga2": _nsga2,
    "ppo": _ppo,
    "random": _random,
    "reinforce": _reinforce,
    "tpe": _tpe,
}


def _registered() -> dict[str, Callable[..., Searcher]]:
    return {
        entry.name: lambda *args, _entry=entry, **kwargs: _entry.load()(*args, **kwargs)
        for entry in entry_points(group=ENTRY_POINTS)
    }
