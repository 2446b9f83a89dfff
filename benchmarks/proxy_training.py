"""How many candidates an hour does proxy training judge, and does it rank as long training does?

    python -m benchmarks.proxy_training --work FOLDER [--networks 24] [--json]

Random networks of mobile-cnn at half width on Fashion-MNIST at 32 pixels, each trained

    proxy   1 epoch of 10,000 images, from two seeds; judged by the 6,000 validation images
    long    ten times as many steps, on all 54,000 images; judged by the 10,000 test images

Figures: Kendall's and Spearman's correlation with the long training's accuracy, of the proxy and of
MAdds alone, with the 5 and 95 % quantiles of a bootstrap over networks; of the two proxies with
each other; and candidates an hour on two cores, by the CPU seconds of training and validation.
Every training is kept in FOLDER as it ends; started again, the benchmark goes on from there. 24
networks take about 20 minutes on 2 quiet cores.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from benchmarks.claim import print_claim
from networks.network import Network
from networks.spaces import make_space
from search.datasets import Dataset, Split, load_dataset
from search.single_thread import single_thread
from search.training import TrainingSettings, accuracy, classify_torch
from search.training_pool import FailedTraining, FinishedTraining, TrainingJob, TrainingPool
from search.training_store import TrainingStore

CLAIM = (
    "proxy training ranks at least 20 networks as ten times longer training does, and better than"
    " MAdds alone"
)
LEAST_NETWORKS = 20
RESOLUTION, WIDTH = 32, 0.5
LONGER = 10
CORES = 2
TIMED_IMAGES = 500
RESAMPLES = 1000
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Setup:
    """How many networks, and how their proxy is trained."""

    networks: int = 24
    images: int = 10_000
    epochs: float = 1.0
    seed: int = 0
    data: str = "fashion-mnist"

    def proxy(self) -> TrainingSettings:
        """Return the short training."""
        return TrainingSettings(epochs=self.epochs, train_images=self.images)

    def long(self, n_images: int) -> TrainingSettings:
        """Return the training of ten times as many steps on all images."""
        return TrainingSettings(epochs=LONGER * self.epochs * min(self.images, n_images) / n_images)


DEFAULT = Setup()


def measure(setup: Setup, work: Path, *, workers: int) -> tuple[dict[str, float], bool]:
    """Return the figures, and whether the claim holds."""
    data = load_dataset(setup.data, resolution=RESOLUTION)
    networks = sample(setup, data)
    proxy, long = setup.proxy(), setup.long(len(data.train))
    jobs = [
        TrainingJob(network, seed, settings)
        for settings, seeds in ((proxy, (1, 2)), (long, (3,)))
        for seed in seeds
        for network in networks
    ]
    results = train_all(jobs, data, work, workers=workers)
    first, second, truth = (
        {place: results[part + place] for place in range(len(networks)) if part + place in results}
        for part in (0, len(networks), 2 * len(networks))
    )
    common = sorted(first.keys() & second.keys() & truth.keys())
    n_validation = len(data.validation)

    def validated(runs: Mapping[int, FinishedTraining]) -> Floats:
        labels = data.validation.labels
        return np.array([accuracy(runs[p].logits[:n_validation], labels) for p in common])

    tested = np.array(
        [accuracy(truth[place].logits[n_validation:], data.test.labels) for place in common]
    )
    madds = np.array([networks[place].madds for place in common], np.float64)
    judged = validated(first)
    found = {
        "networks": float(len(common)),
        "failed_trainings": float(len(jobs) - len(results)),
        **correlations("proxy", judged, tested),
        **correlations("madds", madds, tested),
        "proxies_kendall": float(stats.kendalltau(judged, validated(second)).statistic),
        "long_accuracy_lowest": float(tested.min()),
        "long_accuracy_highest": float(tested.max()),
        "proxy_accuracy_mean": float(judged.mean()),
        "proxy_steps": float(len(first[common[0]].trained.losses)),
        "long_steps": float(len(truth[common[0]].trained.losses)),
        **pace([first[place] for place in common], data),
    }
    holds = len(common) >= LEAST_NETWORKS and found["proxy_kendall"] > found["madds_kendall"]
    return found, holds


def sample(setup: Setup, data: Dataset) -> list[Network]:
    """Return different networks, drawn at random."""
    space = make_space(
        "mobile-cnn",
        resolution=RESOLUTION,
        width=WIDTH,
        classes=len(data.classes),
        in_channels=data.channels,
    )
    rng = np.random.default_rng(setup.seed)
    drawn = space.sample(2 * setup.networks, rng, uniform_over="networks")
    return list(dict.fromkeys(map(space.decode, drawn)))[: setup.networks]


def train_all(
    jobs: Sequence[TrainingJob], data: Dataset, work: Path, *, workers: int
) -> dict[int, FinishedTraining]:
    """Return the finished trainings by the place of their job; new ones are kept in ``work``."""
    assert data.splits is not None
    store = TrainingStore(work, f"{data.splits.data.images_sha256}:{len(data.train)}")
    results = {place: kept for place, job in enumerate(jobs) if (kept := store.get(job))}
    new = [place for place in range(len(jobs)) if place not in results]
    held_out = Split(
        np.concatenate([data.validation.images, data.test.images]),
        np.concatenate([data.validation.labels, data.test.labels]),
    )
    started_s, n_kept = time.monotonic(), len(results)
    with TrainingPool(data.train, held_out, workers=workers) as pool:
        for index, result in pool.run([jobs[place] for place in new]):
            place = new[index]
            if isinstance(result, FailedTraining):
                print(f"training {place}: {result.reason}", file=sys.stderr)
                continue
            store.put(jobs[place], result)
            results[place] = result
            spent_s = time.monotonic() - started_s
            print(
                f"{len(results)} of {len(jobs)} trainings, {len(results) - n_kept} of them in"
                f" {spent_s:.0f} s",
                file=sys.stderr,
            )
    return results


def correlations(name: str, ranking: Floats, truth: Floats) -> dict[str, float]:
    """Return Kendall's tau with its bootstrap interval, and Spearman's rho."""
    rng = np.random.default_rng(0)
    drawn = [
        stats.kendalltau(ranking[chosen], truth[chosen]).statistic
        for chosen in rng.integers(0, len(truth), (RESAMPLES, len(truth)))
    ]
    low, high = np.nanquantile(drawn, (0.05, 0.95))
    return {
        f"{name}_kendall": float(stats.kendalltau(ranking, truth).statistic),
        f"{name}_kendall_low": float(low),
        f"{name}_kendall_high": float(high),
        f"{name}_spearman": float(stats.spearmanr(ranking, truth).statistic),
    }


def pace(proxies: Sequence[FinishedTraining], data: Dataset) -> dict[str, float]:
    """Return what a candidate costs, and how many two cores judge in an hour."""
    images = data.validation.first(TIMED_IMAGES).images
    validation_s = []
    for proxy in proxies:
        module = proxy.trained.module()
        with single_thread():
            started_s = time.thread_time()
            classify_torch(module, images)
            validation_s.append(
                (time.thread_time() - started_s) * len(data.validation) / len(images)
            )
    training_s = [proxy.trained.cpu_s for proxy in proxies]
    candidate_s = float(np.mean(training_s) + np.mean(validation_s))
    return {
        "candidate_cpu_s": candidate_s,
        "of_that_validation_s": float(np.mean(validation_s)),
        "candidates_per_hour_2_cores": CORES * 3600 / candidate_s,
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps trainings")
    parser.add_argument("--workers", type=int, default=CORES)
    parser.add_argument("--data", default=DEFAULT.data)
    parser.add_argument("--networks", type=int, default=DEFAULT.networks)
    parser.add_argument("--images", type=int, default=DEFAULT.images)
    parser.add_argument("--epochs", type=float, default=DEFAULT.epochs)
    parser.add_argument("--seed", type=int, default=DEFAULT.seed)
    options = parser.parse_args(argv)
    setup = Setup(options.networks, options.images, options.epochs, options.seed, options.data)
    found, holds = measure(setup, options.work, workers=options.workers)
    print_claim(CLAIM, found, holds=holds, as_json=options.json)


if __name__ == "__main__":
    main()
