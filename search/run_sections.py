"""Sections of a run's page: the aim, the best networks, baselines, noise, failures, time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import closing, suppress

import numpy as np

from networks.errors import NetworkError
from networks.names import name_network
from networks.spaces import DecodingSpace
from search.aims import describe_bounds, describe_latency, describe_reward, latency_unit
from search.assembly import space_of
from search.baselines import CHEAP_S, describe_standings, evaluation_s
from search.book import meets
from search.config import RunConfig
from search.honesty import Honesty
from search.monitor import FIRST, Curves
from search.plots import plot_progress
from search.quality_noise import QualityNoise, describe_lead, probability_within
from search.ranking import RankingNoise
from search.report import Code, Facts, Notice, Part, Plot, Section, Table
from search.run import SearchResult
from search.run_directory import RunDirectory
from search.trials import Failed, FailedTrial, Scored, Trial

TOP = 10
POINTS = 50
"""Points of a curve over a run's proposals, at most."""


def no_best(result: SearchResult) -> str:
    """Return the sentence that says that no network met the target."""
    return f"No network that was evaluated meets {describe_bounds(result.config) or 'the limits'}."


def facts(result: SearchResult) -> list[Part]:
    """Return the few numbers of a run that matter, and what must not be missed."""
    config, best = result.config, result.best
    new = [t for t in result.trials if not t.is_repeat]
    failed = sum(isinstance(t, FailedTrial) for t in new)
    inside = sum(isinstance(t, Trial) and meets(config, t) for t in new)
    aim = describe_bounds(config) or "no bounds"
    numbers = [
        ("best quality", "none" if best is None else f"{best.quality:.4f}", f"within {aim}"),
        ("its latency", *(("none", "") if best is None else _latency(best, config))),
        ("networks", f"{result.distinct}", f"of {len(result.trials)} proposals"),
        ("within bounds", f"{inside}", f"{100 * inside / max(1, len(new)):.0f} % of networks"),
        ("failed", f"{failed}", f"{100 * failed / max(1, len(new)):.0f} % of networks"),
    ]
    parts: list[Part] = [Facts(numbers)]
    if len(result.trials) < config.budget:
        parts.append(
            Notice(
                f"{len(result.trials)} of {config.budget} proposals have a result: the run is still"
                f" going on, or was stopped; hilnas search --resume {result.run} goes on with it."
            )
        )
    return parts


def aim_section(result: SearchResult) -> Section:
    """Return what was searched for, where and with what."""
    config = result.config
    limits = " and ".join(f"{name} of at most {limit:g}" for name, limit in config.limits.items())
    settings = ", ".join(f"{name} = {value}" for name, value in config.settings.items())
    preset = f", preset {config.preset}" if config.preset else ""
    return Section(
        "Aim",
        [
            Table([], [
                ["reward", describe_reward(config)],
                ["target", "none" if config.target_ms is None
                           else f"{config.target_ms:g} {latency_unit(config)}"],
                ["limits", limits or "none"],
                ["space", config.space],
                ["quality", config.evaluator],
                ["latency", f"{config.latency}: {describe_latency(config)}"],
                ["searcher", f"{config.searcher}{preset}"],
                ["budget", f"{config.budget} proposals, in batches of {config.batch},"
                           f" {config.lookahead} under way, seed {config.seed}"],
                ["settings", settings or "none"],
            ]),
        ],
    )  # fmt: skip


def best_section(result: SearchResult) -> Section:
    """Return the run's best network with its text, and those after it; or that there is none."""
    best, config = result.best, result.config
    if best is None:
        return Section("Best network", [Notice(no_best(result))])
    latency, interval = _latency(best, config)
    words = [f"Trial {best.number}: quality {best.quality:.4f}, latency {latency}"]
    words += [f" ({interval})"] if interval else []
    words.append(f", reward {best.reward:.4f}")
    text = ""
    with suppress(NetworkError):  # the space's own file may have gone, or changed
        space = space_of(config)
        if isinstance(space, DecodingSpace):
            network = space.decode(best.genotype)
            words.append(
                f", {network.params / 1e6:.2f} M parameters, {network.madds / 1e6:.0f} M"
                " multiply-adds"
            )
            text = name_network(network)
        else:
            pairs = zip(space.decisions, best.genotype, strict=True)
            text = ", ".join(f"{decision.name}={decision.options[i]}" for decision, i in pairs)
    parts: list[Part] = ["".join(words) + ".", Code(text or str(list(best.genotype)))]
    if (probability := probability_within(best, config.target_ms)) is not None:
        parts.append(
            f"A measurement of it meets the target with a probability of {100 * probability:.0f} %,"
            " by the errors of its latency."
        )
    return Section("Best network", [*parts, _top(result)])


def standing_section(honesty: Honesty) -> Section:
    """Return how random and local search stand beside a run."""
    result, standings = honesty.result, honesty.standings
    if not standings:
        seconds = evaluation_s(result)
        cost = "" if seconds is None else f"; here it took {seconds:.2g} s"
        return Section("Baselines", [
            "No random or local search was run beside this one. That is done where all that a"
            f" network needs takes at most {CHEAP_S:g} s{cost}.",
        ])  # fmt: skip
    words = describe_standings(result, standings)
    return Section("Baselines", [Notice(words) if honesty.loses_to_random else words])


def noise_section(honesty: Honesty) -> Section:
    """Return whether the winner's lead is larger than the noise, of quality and of latency."""
    lead, ranking = honesty.lead, honesty.ranking
    words = describe_lead(lead, honesty.noise)
    parts: list[Part] = [Notice(words) if lead is not None and not lead.is_clear else words]
    if honesty.penalty_warning is not None:
        parts.insert(0, Notice(honesty.penalty_warning))
    if ranking is None:
        parts.append("The errors of latencies are not known.")
    else:
        parts.append(_describe_ranking(ranking, honesty.result, honesty.noise))
    return Section("Noise", parts)


def progress_section(result: SearchResult) -> Section:
    """Return how the search went: reward, share within the target, and the front's area."""
    trials = result.trials
    step = max(result.config.batch, -(-len(trials) // POINTS))
    curves, steps = Curves(result.config), []
    points: list[Mapping[str, float]] = []
    results: dict[int, Scored | Failed] = {}
    for start in range(0, len(trials), step):
        told = []
        for trial in trials[start : start + step]:
            if not trial.is_repeat:
                results[trial.number] = _result(trial)
            told.append((trial, results[trial.first]))
        curves.add(told)
        points.append(curves.point(told))
        steps.append(start + len(told))
    names = {
        "mean reward": "reward/mean",
        "share within the target and limits": "target/share",
        "area of the front (quality x ms)": "front/hypervolume",
    }
    panels = {
        title: (np.array(steps), np.array([point.get(name, np.nan) for point in points]))
        for title, name in names.items()
        if any(name in point for point in points)
    }
    if not panels:
        return Section("Progress", ["There is nothing to show yet."])
    return Section(
        "Progress",
        [
            Plot(
                plot_progress(panels, steps="proposals"),
                f"Of each {step} proposals in turn; the area is of all so far, down to the lowest"
                f" quality and up to the highest latency of the first {FIRST} networks.",
            )
        ],
    )


def failures_section(result: SearchResult) -> Section:
    """Return the failures by their reason."""
    counts = Counter(
        t.reason for t in result.trials if isinstance(t, FailedTrial) and not t.is_repeat
    )
    if not counts:
        return Section("Failures", ["None."])
    rows = [[reason, str(count)] for reason, count in counts.most_common(TOP)]
    if len(counts) > TOP:
        rows.append([f"{len(counts) - TOP} other reasons", str(counts.total() - sum(
            count for _, count in counts.most_common(TOP)))])  # fmt: skip
    return Section("Failures", [Table(["reason", "networks"], rows)])


def proposers_section(result: SearchResult) -> Section:
    """Return who proposed what, and what came of it."""
    rows = []
    for name in dict.fromkeys(trial.searcher for trial in result.trials):
        own = [trial for trial in result.trials if trial.searcher == name]
        new = [trial for trial in own if not trial.is_repeat]
        met = [t for t in new if isinstance(t, Trial) and meets(result.config, t)]
        rows.append([
            name, str(len(own)), str(len(new)), str(len(own) - len(new)), str(len(met)),
            f"{max(t.quality for t in met):.4f}" if met else "none",
        ])  # fmt: skip
    header = ["who", "proposals", "new networks", "repeats", "within bounds", "best quality"]
    return Section("Who proposed what", [Table(header, rows)])


def time_section(result: SearchResult) -> Section:
    """Return where the run's time went."""
    with closing(RunDirectory(result.run).trials(writable=False)) as store:
        spent = store.spent()
    seconds = [t.seconds for t in result.trials if isinstance(t, Trial) and not t.is_repeat]
    own = (
        f"Evaluations themselves took {sum(seconds):.3g} s in all,"
        f" {sum(seconds) / max(1, len(seconds)):.2g} s a network; those of several workers run"
        " side by side."
    )
    if not spent or not result.trials:
        return Section("Where time went", [own] if seconds else ["It is not known."])
    rest = spent["wall"] - spent["ask"] - spent["latency"] - spent["tell"]
    shares = [
        ("asking for proposals", spent["ask"]),
        ("latencies and other costs", spent["latency"]),
        ("evaluating and storing", rest),
        ("telling results", spent["tell"]),
        ("in all", spent["wall"]),
    ]
    rows = [
        [name, f"{s:.3f}", f"{100 * s / spent['wall']:.1f}", f"{1e3 * s / len(result.trials):.2f}"]
        for name, s in shares
    ]
    table = Table(["what", "seconds", "%", "ms a proposal"], rows)
    return Section("Where time went", [table, *([own] if seconds else [])])


def _result(trial: Trial | FailedTrial) -> Scored | Failed:
    if isinstance(trial, FailedTrial):
        return Failed(trial.reason)
    return Scored(
        trial.quality, trial.latency_ms, trial.reward, trial.seconds, violation=trial.violation
    )


def _top(result: SearchResult) -> Table:
    met = [
        t for t in result.trials
        if isinstance(t, Trial) and not t.is_repeat and meets(result.config, t)
    ]  # fmt: skip
    met.sort(key=lambda t: (-t.quality, t.latency_ms, t.number))
    names = list(dict.fromkeys(name for trial in met[:TOP] for name in trial.costs))
    rows = []
    for place, t in enumerate(met[:TOP], start=1):
        interval = "" if t.interval_ms is None else "{:.3f} to {:.3f}".format(*t.interval_ms)
        costs = [f"{t.costs[name]:.4g}" if name in t.costs else "" for name in names]
        rows.append([
            str(place), str(t.number), f"{t.quality:.4f}", f"{t.latency_ms:.3f}", interval,
            f"{t.reward:.4f}", *costs, t.hash,
        ])  # fmt: skip
    header = ["", "trial", "quality", "latency", "90 % interval", "reward", *names, "network"]
    return Table(header, rows)


def _latency(trial: Trial, config: RunConfig) -> tuple[str, str]:
    """Return the latency, and its interval in words or nothing."""
    unit = latency_unit(config)
    if trial.interval_ms is None:
        return f"{trial.latency_ms:.3f} {unit}", ""
    low, high = trial.interval_ms
    return f"{trial.latency_ms:.3f} {unit}", f"90 %: {low:.3f} to {high:.3f} {unit}"


def _describe_ranking(
    ranking: RankingNoise, result: SearchResult, noise: QualityNoise | None
) -> str:
    has_latency = any(isinstance(t, Trial) and t.latency_std_ms for t in result.trials)
    errors = ["latencies"] * has_latency + ["qualities"] * (noise is not None)
    words = (
        f"By reward, the errors of {' and '.join(errors)} leave the order of"
        f" {100 * ranking.inside:.0f} % of the pairs of the {ranking.networks} best networks open"
        f" ({100 * ranking.level:g} %)."
    )
    if has_latency:
        words += (
            " Errors of latencies are taken for independent here; what networks share cancels, so"
            " that it is less in truth."
        )
    return words
