"""Does the ImageNet proxy rank networks that its fit never saw, and better than MAdds does?

    python -m benchmarks.proxy_fidelity [--data accel_nasbench.csv]

Claim: on the held-out fifth of Accel-NASBench's trainings, Kendall's tau with the measured
accuracy is at least 0.90 and above that of MAdds; over 100,000 random genotypes the prediction
stays within 5 points of the range that the fit saw.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.claim import print_claim
from benchmarks.fit_imagenet_proxy import DATA, figures, load
from networks.spaces import make_space
from search.evaluators.imagenet_proxy import ImageNetProxy, ProxyModel, load_proxy

GENOTYPES = 100_000
TAU = 0.90
MARGIN_POINTS = 5.0
CLAIM = (
    f"held-out Kendall tau is at least {TAU} and above that of MAdds; random genotypes stay within"
    f" {MARGIN_POINTS:g} points of the fitted range"
)


def measure(path: Path = DATA) -> tuple[dict[str, float], bool]:
    """Return the figures, and whether the claim holds."""
    data = load(path)
    content = load_proxy()
    if content["source_sha256"] != data.sha256:
        raise SystemExit(f"{path} is not the file of the fit: run benchmarks.fit_imagenet_proxy")
    held_out = np.flatnonzero(data.held_out)
    found = figures(ProxyModel.from_dict(content), data, held_out)
    space = make_space("accel-nasbench")
    genotypes = space.sample(GENOTYPES, np.random.default_rng(0))
    proxy = ImageNetProxy(space)
    started = time.perf_counter()
    percent = proxy.qualities(genotypes) * 100
    elapsed_s = time.perf_counter() - started
    found |= {
        "held_out_networks": float(len(held_out)),
        "lowest_percent": round(float(percent.min()), 2),
        "highest_percent": round(float(percent.max()), 2),
        "genotypes_per_s": round(GENOTYPES / elapsed_s),
    }
    fitted = content["fitted_range_percent"]
    assert isinstance(fitted, list)
    sane = fitted[0] - MARGIN_POINTS <= percent.min() and percent.max() <= fitted[1] + MARGIN_POINTS
    return found, found["kendall"] >= max(TAU, found["kendall_of_madds"]) and sane


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args(argv)
    found, holds = measure(options.data)
    print_claim(CLAIM, found, holds=bool(holds), as_json=options.json)


if __name__ == "__main__":
    main()
