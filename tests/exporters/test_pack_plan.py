from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.pack_plan import PACK_BYTES, PACK_SIZE, layer_bytes, plan_packs
from networks.graph import Shape
from networks.layers import Classifier, Conv
from networks.spaces import make_space
from tests.contracts.exporter_contract import layers


@settings(max_examples=60, deadline=None)
@given(
    st.lists(layers(), max_size=40),
    st.integers(1, 12),
    st.integers(1, 40_000),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
def test_every_layer_is_in_one_pack_that_keeps_its_bounds(
    some: list[Conv], size: int, max_bytes: int, seed: int, shuffle: random.Random
) -> None:
    packs = plan_packs(some, size, max_bytes=max_bytes, seed=seed)
    planned = [layer for pack in packs for layer in pack]
    assert len(planned) == len(set(planned))
    assert set(planned) == set(some)
    for pack in packs:
        assert 1 <= len(pack) <= size
        last = [isinstance(layer, Classifier) for layer in pack]
        assert last == sorted(last)
        assert len(pack) == 1 or sum(map(layer_bytes, pack)) <= max_bytes
    others = list(some)
    shuffle.shuffle(others)
    assert plan_packs(others, size, max_bytes=max_bytes, seed=seed) == packs


def test_packs_of_a_space_are_alike_and_another_seed_deals_other_neighbours() -> None:
    space = make_space("mnasnet", resolution=224).layers
    packs = plan_packs(space)
    need = [sum(map(layer_bytes, pack)) for pack in packs]
    assert len(packs) == -(-len(space) // PACK_SIZE)
    assert {len(pack) for pack in packs} <= {PACK_SIZE - 1, PACK_SIZE}
    assert max(need) < 1.5 * min(need) < PACK_BYTES
    other = plan_packs(space, seed=1)
    assert {*map(frozenset, other)}.isdisjoint(map(frozenset, packs))


def test_a_layer_is_its_weights_twice_and_its_two_images_once() -> None:
    layer = Conv(Shape(4, 4, 3), 5, kernel=3, stride=2)
    assert layer_bytes(layer) == 4 * (2 * (5 * 3 * 3 * 3 + 5) + 4 * 4 * 3 + 2 * 2 * 5)


@pytest.mark.parametrize("bounds", [(0, 1), (1, 0)])
def test_bounds_below_one_are_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"found {bounds[0]} and {bounds[1]}"):
        plan_packs([], bounds[0], max_bytes=bounds[1])
