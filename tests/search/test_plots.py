"""Plots of reports say what they show."""

from __future__ import annotations

import numpy as np

from search.plots import plot_latencies


def test_the_distribution_shows_the_target() -> None:
    latencies_ms = np.linspace(0, 4, 4000)
    counts = np.zeros(4000, np.int64)
    counts[1000:3000] = 10**14
    text = plot_latencies(latencies_ms, counts, target_ms=2.345)
    assert text.startswith("<svg")
    assert "target 2.35 ms" in text or "target 2.34 ms" in text
    assert text == plot_latencies(latencies_ms, counts, target_ms=2.345)
