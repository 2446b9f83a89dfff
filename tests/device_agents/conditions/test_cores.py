from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.conditions.cores import choose_cores, parse_mask, verify_mask
from device_agents.conditions.states import read_board
from device_agents.errors import DeviceUnusable
from device_agents.transports.local import LocalTransport
from tests.device_agents.conditions.states import LINUX, NOT_THERE, policy


def test_the_default_is_one_core_of_the_fastest_cluster() -> None:
    cores = choose_cores(LINUX)
    assert (cores.chosen, cores.cluster, cores.hex_mask) == ((7,), (7,), "80")
    assert str(cores) == "cpu 7 (mask 80) of cluster 7 at up to 2.84 GHz"


@pytest.mark.parametrize(
    ("allowed", "online", "threads", "mask"),
    [
        (range(8), range(8), 2, "60"),  # the prime core is alone: the next cluster has two
        (range(8), range(8), 4, "f"),
        (range(7), range(8), 1, "40"),  # a shell is often kept off the prime core
        (range(8), (0, 1, 4), 1, "10"),
        ((0, 5), range(8), 1, "20"),
    ],
)
def test_only_what_is_allowed_and_online_is_chosen(
    allowed: range, online: range, threads: int, mask: str
) -> None:
    linux = replace(LINUX, allowed=tuple(allowed), online=tuple(online))
    assert choose_cores(linux, threads=threads).hex_mask == mask


@pytest.mark.parametrize(
    ("wanted", "threads", "why"),
    [
        ("auto", 5, "a cluster with 5 permitted cores, found 0-3, 4-6, 7: use fewer threads"),
        ("auto", 0, "1 thread or more"),
        ("f0", 4, "within one of the clusters 0-3 and 4-6 and 7"),
        ("30", 3, "3 cores in the mask, found 2"),
        ("100", 1, "within cpu 0-7, found 100 = cpu 8"),
        ("0", 1, "a mask of cores in hexadecimal"),
        ("big", 1, "a mask of cores in hexadecimal"),
    ],
)
def test_what_cannot_be_is_refused(wanted: str, threads: int, why: str) -> None:
    with pytest.raises(DeviceUnusable, match=why):
        choose_cores(LINUX, wanted=wanted, threads=threads)


def test_a_mask_that_is_given_is_taken() -> None:
    cores = choose_cores(LINUX, wanted="0x30", threads=2)
    assert (cores.chosen, cores.cluster) == ((4, 5), (4, 5, 6))


def test_without_clusters_all_permitted_cores_are_one() -> None:
    cores = choose_cores(replace(LINUX, policies=NOT_THERE, online=NOT_THERE))
    assert cores.chosen == (7,)
    assert len(cores.cluster) == 8
    with pytest.raises(DeviceUnusable, match="not there"):
        choose_cores(replace(LINUX, allowed=NOT_THERE))
    with pytest.raises(DeviceUnusable, match="found allowed 0-7 and online 8"):
        choose_cores(replace(LINUX, online=(8,)))


def test_a_cluster_of_unknown_speed_is_not_preferred() -> None:
    dark = replace(policy((4, 5), 1), highest_khz=NOT_THERE)
    assert choose_cores(replace(LINUX, policies=(policy((0, 1), 900_000), dark))).chosen == (1,)


@given(st.sets(st.integers(0, 63), min_size=1))
def test_parsing_a_mask_is_the_inverse_of_writing_it(cores: set[int]) -> None:
    assert parse_mask(f"{sum(1 << core for core in cores):x}") == tuple(sorted(cores))


def test_a_mask_is_verified_from_the_process_s_own_list() -> None:
    linux = read_board(LocalTransport()).linux
    cores = choose_cores(linux)
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores.chosen),
    ) as process:  # fmt: skip
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.communicate("\n")
    verify_mask(status, cores.mask)
    with pytest.raises(DeviceUnusable, match=f"on mask {cores.mask << 1:x}, found it on cpu"):
        verify_mask(status, cores.mask << 1)
    with pytest.raises(DeviceUnusable, match="its cores are unknown"):
        verify_mask("Name:\tsh\n", 1)
