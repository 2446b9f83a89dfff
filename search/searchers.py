"""The searchers by name: ours, and those that other packages register.

A package adds one under the entry point group ``hilnas.searchers``: a callable that takes
``(space, *, preset, seed)`` and returns a `search.searcher.Searcher`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from networks.spaces.space import Space
from search.errors import MissingExtra, UnknownSearcher
from search.local_search import LocalSearch
from search.random_search import RandomSearch
from search.searcher import Searcher

ENTRY_POINTS = "hilnas.searchers"


def make_searcher(name: str, space: Space, *, preset: str | None = None, seed: int = 0) -> Searcher:
    """Return a new searcher.

    Args:
        name: ``ppo``, ``random``, ``local``, or one that another package registers.
        preset: a named set of settings; None takes the searcher's own default. Random and
            local search have nothing to set.
        seed: decides every proposal, with the results told.

    Raises:
        UnknownSearcher: no searcher or preset of that name (with suggestions).
        MissingExtra: it needs a package that is not installed.
    """
    makers = {**_OURS, **_registered()}
    if name not in makers:
        raise UnknownSearcher("searcher", name, makers)
    return makers[name](space, preset=preset, seed=seed)


def searcher_names() -> list[str]:
    """Return the names that `make_searcher` knows."""
    return sorted({**_OURS, **_registered()})


def _random(space: Space, *, preset: str | None, seed: int) -> Searcher:
    _refuse_preset("random", preset)
    return RandomSearch(space, seed=seed)


def _local(space: Space, *, preset: str | None, seed: int) -> Searcher:
    _refuse_preset("local", preset)
    return LocalSearch(space, seed=seed)


def _ppo(space: Space, *, preset: str | None, seed: int) -> Searcher:
    try:
        from search.ppo import PRESETS, PPOSearch
    except ImportError as error:
        raise MissingExtra("the ppo searcher", "torch") from error
    preset = preset or "small-budget"
    if preset not in PRESETS:
        raise UnknownSearcher("preset of ppo", preset, PRESETS)
    return PPOSearch(space, PRESETS[preset], seed=seed, name=f"ppo:{preset}")


def _refuse_preset(name: str, preset: str | None) -> None:
    if preset is not None:
        raise UnknownSearcher(f"preset of {name}", preset, ["(none: it has no settings)"])


_OURS: dict[str, Callable[..., Searcher]] = {"local": _local, "ppo": _ppo, "random": _random}


def _registered() -> dict[str, Callable[..., Searcher]]:
    return {
        entry.name: lambda *args, _entry=entry, **kwargs: _entry.load()(*args, **kwargs)
        for entry in entry_points(group=ENTRY_POINTS)
    }
