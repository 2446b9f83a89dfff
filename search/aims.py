"""Aims in words: what a run was told to look for, as its pages and lines say it."""

from __future__ import annotations

from search.config import RunConfig
from search.objective import Penalty
from search.rewards import Reward


def describe_aim(config: RunConfig) -> str:
    """Return the reward and the bounds of a run in a few words."""
    reward = config.reward
    if isinstance(reward, Penalty):
        words = f"penalty of {reward.weight:g} a {_unit(reward)}"
    else:
        words = f"{reward.kind} reward"
    bounds = describe_bounds(config)
    return f"{words}, {bounds}" if bounds else words


def describe_bounds(config: RunConfig) -> str:
    """Return the target and the limits of a run in words, empty if there are none."""
    bounds = []
    if isinstance(config.reward, Reward):
        bounds.append(f"the target of {config.reward.target_ms:g} {latency_unit(config)}")
    bounds += [f"{name} of at most {limit:g}" for name, limit in config.limits.items()]
    return " and ".join(bounds)


def describe_reward(config: RunConfig) -> str:
    """Return what the reward of a run is, and what it is worth to be faster, in words."""
    reward = config.reward
    if isinstance(reward, Penalty):
        return (
            f"quality - {reward.weight:g} x {_unit(reward)}: a {_unit(reward)} less is worth"
            f" {reward.weight:g} of quality"
        )
    target = f"{reward.target_ms:g} {latency_unit(config)}"
    alpha, beta = reward.alpha, reward.beta
    if reward.kind == "absolute":
        return (
            f"quality - {-beta:g} x |latency / {target} - 1|: each 10 % that a network is off the"
            f" target, to either side, costs {-beta / 10:.2g} of quality"
        )
    if alpha == beta:
        return (
            f"quality x (latency / {target})^{beta:g}: half the latency is worth"
            f" {100 * (2**-beta - 1):.2g} % of quality, at any target"
        )
    met = "quality" if alpha == 0 else f"quality x (latency / {target})^{alpha:g}"
    return (
        f"{met} where the target of {target} is met, quality x (latency / {target})^{beta:g}"
        f" where it is missed: 10 % too slow costs {100 * (1 - 1.1**beta):.2g} % of quality"
    )


def latency_unit(config: RunConfig) -> str:
    """Return the unit of a run's latencies: multiply-adds may stand in for them."""
    return "million multiply-adds" if config.latency == "madds" else "ms"


def describe_latency(config: RunConfig) -> str:
    """Return what latencies of a run are, for an axis: predicted, measured, or stood in for."""
    kind = config.latency.partition(":")[0]
    if config.latency == "madds":
        return "multiply-adds (millions), in place of latency"
    words = {"table": "predicted latency (ms)", "device": "measured latency (ms)"}
    return words.get(kind, "latency (ms)")


def _unit(penalty: Penalty) -> str:
    return "ms" if penalty.cost == "latency_ms" else f"million {penalty.cost}"
