from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.pareto import hypervolume, pareto_front

points = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=40)


def dominates(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] >= b[0] and a[1] <= b[1] and a != b


@given(points)
def test_the_front_equals_a_slow_loop(found: list[tuple[int, int]]) -> None:
    front = pareto_front([q for q, _ in found], [ms for _, ms in found])
    expected = {
        index
        for index, point in enumerate(found)
        if not any(dominates(other, point) for other in found) and point not in found[:index]
    }
    assert set(front.tolist()) == expected
    assert [found[i][1] for i in front] == sorted(found[i][1] for i in front)


@given(points)
def test_the_hypervolume_counts_the_cells_that_are_dominated(
    found: list[tuple[int, int]],
) -> None:
    cells = sum(
        any(q >= height and ms <= column for q, ms in found)
        for height in range(1, 10)
        for column in range(1, 10)
    )
    quality, latency_ms = [q for q, _ in found], [ms for _, ms in found]
    assert hypervolume(quality, latency_ms, floor=0, ceiling_ms=10) == pytest.approx(cells)


def test_a_large_front() -> None:
    rng = np.random.default_rng(0)
    quality, latency_ms = rng.random((2, 100_000))
    front = pareto_front(quality, latency_ms)
    assert np.all(np.diff(quality[front]) > 0)
    assert np.all(np.diff(latency_ms[front]) > 0)
