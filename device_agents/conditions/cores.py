"""Cores: which ones of a device a model is timed on, and the mask that says so.

    policies (clusters) & permitted (allowed and online)  -->  Cores: one core of the fastest

A thread that may wander between clusters is timed on whichever the scheduler likes, so a mask
stays within one; and threads that outnumber its cores would take turns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from device_agents.conditions.linux import Policy, format_cores, parse_allowed
from device_agents.conditions.reading import Reading, Unknown, known
from device_agents.conditions.states import LinuxState
from device_agents.errors import DeviceUnusable

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores chosen, and the cluster they are of; ``highest_khz`` is that cluster's clock."""

    chosen: tuple[int, ...]
    cluster: tuple[int, ...]
    highest_khz: Reading[int]

    @property
    def mask(self) -> int:
        """One bit a core."""
        return sum(1 << core for core in self.chosen)

    @property
    def hex_mask(self) -> str:
        """The mask as taskset takes it, on Android in hexadecimal without a prefix."""
        return f"{self.mask:x}"

    def __str__(self) -> str:
        khz = known(self.highest_khz)
        clock = f" at up to {khz / 1e6:.2f} GHz" if khz else ""
        return (
            f"cpu {format_cores(self.chosen)} (mask {self.hex_mask}) of cluster"
            f" {format_cores(self.cluster)}{clock}"
        )


def choose_cores(linux: LinuxState, *, wanted: str = AUTO, threads: int = 1) -> Cores:
    """Return the cores to time on: by default as many as threads, of the fastest permitted cluster.

    Permitted are the cores in the process's own allowed list on the device that are online. Where
    the kernel tells no clusters (virtual machines), all permitted cores are taken for one.

    Args:
        wanted: ``auto``, or the mask in hexadecimal.

    Raises:
        DeviceUnusable: the mask is no mask, not permitted, spans clusters, or has too few cores.
    """
    if threads < 1:
        raise DeviceUnusable(f"expected 1 thread or more, found {threads}")
    permitted = _permitted(linux)
    clusters = _clusters(linux.policies, permitted)
    if wanted != AUTO:
        return _wanted_cores(wanted, threads, permitted, clusters)
    fitting = [(cores, khz) for cores, khz in clusters if len(cores) >= threads]
    if not fitting:
        sizes = ", ".join(format_cores(cores) for cores, _ in clusters)
        raise DeviceUnusable(
            f"expected a cluster with {threads} permitted cores, found {sizes}: use fewer threads"
        )
    cores, khz = max(fitting, key=lambda cluster: (known(cluster[1]) or 0, cluster[0]))
    return Cores(cores[-threads:], cores, khz)


def parse_mask(text: str) -> tuple[int, ...]:
    """Return the cores of a mask in hexadecimal, with or without 0x.

    Raises:
        DeviceUnusable: it is none.
    """
    if not re.fullmatch(r"(0x)?[0-9a-fA-F]+", text) or int(text, 16) == 0:
        raise DeviceUnusable(
            f"expected auto or a mask of cores in hexadecimal such as f0, found {text!r}"
        )
    mask = int(text, 16)
    return tuple(core for core in range(mask.bit_length()) if mask >> core & 1)


def verify_mask(status: str, mask: int) -> None:
    """Return if a process with this /proc/PID/status may run on exactly the cores of the mask.

    Raises:
        DeviceUnusable: on others too, on fewer, or its list cannot be read.
    """
    allowed = parse_allowed(status)
    if isinstance(allowed, Unknown):
        raise DeviceUnusable(f"expected the process on mask {mask:x}, but its cores are {allowed}")
    if sum(1 << core for core in allowed) != mask:
        raise DeviceUnusable(
            f"expected the process on mask {mask:x}, found it on cpu {format_cores(allowed)}:"
            " choose cores that are online and allowed"
        )


def _permitted(linux: LinuxState) -> tuple[int, ...]:
    if isinstance(linux.allowed, Unknown):
        raise DeviceUnusable(f"expected the list of allowed cores; {linux.allowed}: give a mask")
    online = linux.online
    if isinstance(online, Unknown):
        return linux.allowed
    permitted = tuple(core for core in linux.allowed if core in online)
    if not permitted:
        raise DeviceUnusable(
            f"expected allowed cores that are online, found allowed {format_cores(linux.allowed)}"
            f" and online {format_cores(online)}"
        )
    return permitted


def _clusters(
    policies: Reading[tuple[Policy, ...]], permitted: tuple[int, ...]
) -> list[tuple[tuple[int, ...], Reading[int]]]:
    """Return the permitted cores of each cluster that has some, with its highest clock."""
    if isinstance(policies, Unknown):
        return [(permitted, policies)]
    clusters = [
        (tuple(core for core in policy.cores if core in permitted), policy.highest_khz)
        for policy in policies
    ]
    return [(cores, khz) for cores, khz in clusters if cores]


def _wanted_cores(
    text: str,
    threads: int,
    permitted: tuple[int, ...],
    clusters: list[tuple[tuple[int, ...], Reading[int]]],
) -> Cores:
    chosen = parse_mask(text)
    if not set(chosen) <= set(permitted):
        raise DeviceUnusable(
            f"expected a mask within cpu {format_cores(permitted)}, found {text}"
            f" = cpu {format_cores(chosen)}"
        )
    if len(chosen) < threads:
        raise DeviceUnusable(f"expected {threads} cores in the mask, found {len(chosen)} in {text}")
    for cores, khz in clusters:
        if set(chosen) <= set(cores):
            return Cores(chosen, cores, khz)
    names = " and ".join(format_cores(cores) for cores, _ in clusters)
    raise DeviceUnusable(
        f"expected a mask within one of the clusters {names}, found {text}"
        f" = cpu {format_cores(chosen)}"
    )
