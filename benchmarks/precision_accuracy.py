"""Precisions: a network trained on real images, as torch and as exported in every precision.

Trained on the training images, int8 calibrated on some of them, judged on all test images: the
share recognised, the share given the same class as torch gives, and the largest difference of
logits. Fashion-MNIST where it is installed, else scikit-learn's digits.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from benchmarks.claim import print_claim
from exporters.catalog import PRECISIONS, make_exporter
from exporters.runner import Runner
from networks.published import published_network
from networks.torch_module import folded_weights
from search.datasets import load_dataset
from search.training import TrainingSettings, accuracy, classify_torch, train

CLAIM = "float32 has torch's class on 99.9 % of test images, within 1e-4; int8 loses under 1 point"
CALIBRATION_IMAGES = 256


def measure(*, network: str, data: str, epochs: float, seed: int) -> dict[str, float]:
    """Return the figures of one training."""
    images = load_dataset(data, resolution=32)
    chosen = published_network(
        network, resolution=32, classes=len(images.classes), in_channels=1, stem_stride=1
    )
    settings = TrainingSettings(epochs=epochs)
    print(f"training {network} on {images.source}", file=sys.stderr, flush=True)
    trained = train(chosen, images.train, settings, seed=seed)
    module = trained.module()
    weights, graph = folded_weights(module), chosen.graph()
    test, labels = images.test.images, images.test.labels
    expected = classify_torch(module, test)
    figures: dict[str, float] = {
        "train_images": len(images.train),
        "test_images": len(labels),
        "training_s": trained.wall_s,
        "accuracy_torch": accuracy(expected, labels),
    }
    calibration = images.train.first(CALIBRATION_IMAGES).images.transpose(0, 2, 3, 1).copy()
    for precision in PRECISIONS:
        data_bytes = make_exporter(precision=precision, images=calibration).export(graph, weights)
        logits = Runner(data_bytes).run_batch(test.transpose(0, 2, 3, 1))
        figures |= {
            f"accuracy_{precision}": accuracy(logits, labels),
            f"same_class_{precision}": float(
                np.mean(logits.argmax(axis=1) == expected.argmax(axis=1))
            ),
            f"max_error_{precision}": float(np.abs(logits - expected).max()),
            f"mib_{precision}": len(data_bytes) / 2**20,
        }
    return figures


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--network", default="mnasnet-small")
    parser.add_argument("--data", default="auto")
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    figures = measure(
        network=options.network, data=options.data, epochs=options.epochs, seed=options.seed
    )
    holds = (
        figures["same_class_float32"] >= 0.999
        and figures["max_error_float32"] < 1e-4
        and figures["accuracy_int8"] > figures["accuracy_torch"] - 0.01
    )
    print_claim(CLAIM, figures, holds=holds, as_json=options.json)


if __name__ == "__main__":
    main()
