"""Linux checks: what is judged alike on phones, boards and this machine.

reading & is it fine?  --judge-->  Check: ok, not ok with its remedy, or unknown
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from device_agents.conditions.check import Check, State
from device_agents.conditions.cores import AUTO, choose_cores
from device_agents.conditions.limits import LIMITS, Limits
from device_agents.conditions.linux import Policy, Ticks
from device_agents.conditions.reading import Reading, Unknown, show
from device_agents.conditions.settings import PHONE_HOME
from device_agents.conditions.states import LinuxState
from device_agents.errors import DeviceUnusable

T = TypeVar("T")

_SLOW_GOVERNORS = ("conservative", "powersave", "userspace")
_OWN_GOVERNOR = ("intel_pstate", "amd-pstate-epp")  # whose "powersave" follows the load
_ANCHORS = "watch the anchors: they show drift"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a device is wanted for: which one, what is pushed, which cores, which power mode.

    ``serial`` and ``fingerprint`` are those of the registered device, None where there is none;
    ``ours`` is a folder in which timing tools are no other harness's.
    """

    serial: str | None = None
    fingerprint: str | None = None
    payload_bytes: int = 0
    cores: str = AUTO
    threads: int = 1
    fixed_performance: bool = False
    ours: str = PHONE_HOME


def judge(
    name: str,
    reading: Reading[T],
    is_fine: Callable[[T], bool],
    remedy: str,
    form: Callable[[T], str] = str,
) -> Check:
    """Return a check; its remedy is dropped where the reading is fine."""
    if isinstance(reading, Unknown):
        return Check(name, str(reading), "unknown", remedy)
    if is_fine(reading):
        return Check(name, form(reading), "ok")
    return Check(name, form(reading), "not_ok", remedy)


def check_read(name: str, reading: Reading[str], remedy: str) -> Check:
    """Return a check of what is fine whatever it is, if only it is known."""
    return judge(name, reading, lambda _: True, remedy)


def check_same(name: str, reading: Reading[str], wanted: str | None, remedy: str) -> Check:
    """Return a check of what has to be the wanted, where something is wanted."""
    if wanted is not None and not isinstance(reading, Unknown) and reading != wanted:
        return Check(name, f"expected {wanted}, found {reading}", "not_ok", remedy)
    return check_read(name, reading, remedy)


def check_steal(before: Reading[Ticks], after: Reading[Ticks], limits: Limits = LIMITS) -> Check:
    """Return whether a hypervisor takes time away, from two readings some time apart."""
    share: Reading[float]
    if isinstance(before, Unknown):
        share = before
    else:
        share = after if isinstance(after, Unknown) else before.steal_until(after)
    return judge(
        "steal", share, lambda value: value <= limits.steal_share,
        "a hypervisor gives time to other guests: measure at a quiet time, or on hardware",
        lambda value: f"{value:.1%}",
    )  # fmt: skip


def check_clocks(
    linux: LinuxState, limits: Limits, *, fixed_performance: bool
) -> tuple[Check, Check]:
    """Return the clusters' frequency caps and governors; lower caps are fine where they are meant.

    Source of the cap: reference protocol, section 3.1; it is the best sign of throttling there is.
    """
    least = 0.0 if fixed_performance else limits.cap_share
    policies = linux.policies
    if isinstance(policies, Unknown):
        return (
            Check("frequency caps", str(policies), "unknown", _ANCHORS),
            Check("governor", str(policies), "unknown", _ANCHORS),
        )
    shares = [policy.cap_share for policy in policies]
    capped: State = "ok"
    if any(isinstance(share, Unknown) for share in shares):
        capped = "unknown"
    if any(not isinstance(share, Unknown) and share < least for share in shares):
        capped = "not_ok"
    slow = [policy for policy in policies if _is_slow(policy)]
    governed: State = "not_ok" if slow else "ok"
    if not slow and any(isinstance(policy.governor, Unknown) for policy in policies):
        governed = "unknown"
    cool = "let the device cool down and finish charging, or declare power mode fixed"
    perform = "as root: echo performance > /sys/devices/system/cpu/cpufreq/policyN/scaling_governor"
    return (
        _with_remedy("frequency caps", "; ".join(map(_show_cap, policies)), capped, cool),
        _with_remedy(
            "governor", "; ".join(f"cpu {p.label} {show(p.governor)}" for p in policies),
            governed, perform,
        ),
    )  # fmt: skip


def _with_remedy(name: str, reading: str, state: State, remedy: str) -> Check:
    return Check(name, reading, state, "" if state == "ok" else remedy)


def _is_slow(policy: Policy) -> bool:
    own = policy.governor == "powersave" and policy.driver in _OWN_GOVERNOR
    return policy.governor in _SLOW_GOVERNORS and not own


def _show_cap(policy: Policy) -> str:
    share = show(policy.cap_share, "{:.0%}".format)
    return f"cpu {policy.label} {share} of {show(policy.highest_khz, gigahertz)}"


def check_cores(linux: LinuxState, wanted: Wanted) -> Check:
    """Return the cores that would be chosen."""
    if isinstance(linux.allowed, Unknown):
        return Check("cores", str(linux.allowed), "unknown", "give a mask of cores")
    try:
        cores = choose_cores(linux, wanted=wanted.cores, threads=wanted.threads)
    except DeviceUnusable as error:
        return Check("cores", str(error), "not_ok", "choose --cores and --threads accordingly")
    if isinstance(linux.policies, Unknown) and wanted.cores == AUTO:
        remedy = "the kernel tells no clusters: give a mask of cores that are alike"
        return Check("cores", f"{cores}; {linux.policies}", "unknown", remedy)
    return Check("cores", str(cores), "ok")


def check_rest(linux: LinuxState, limits: Limits, wanted: Wanted) -> tuple[Check, ...]:
    """Return what is alike on phones and boards: load, other tools, room, permission to run."""
    foreign = linux.foreign_tools(wanted.ours)
    pids = " ".join(str(tool.pid) for tool in foreign)
    return (
        judge("load", linux.load, lambda value: value < limits.load,
               f"stop what else runs there, until the one-minute load is below {limits.load:g}",
               "{:.2f}".format),
        judge("timing tools", linux.tools, lambda _: not foreign,
               f"another harness measures there: wait, or end it: kill {pids}" if pids
               else "look for running timing tools by hand: ps",
               lambda _: "; ".join(f"pid {t.pid}: {t.command}" for t in foreign) or "no others"),
        judge("free space", linux.room,
               lambda room: room.free_bytes >= limits.disk_times * wanted.payload_bytes,
               f"make {limits.disk_times * wanted.payload_bytes / 1e6:.1f} MB free",
               lambda room: f"{room.free_bytes / 1e6:.0f} MB on {room.mounted_on}"),
        judge("executable", linux.mount_flags, lambda flags: "noexec" not in flags,
               "programs may not run in that folder: mount it without noexec",
               lambda flags: "noexec" if "noexec" in flags else "yes"),
    )  # fmt: skip


def celsius(value: float) -> str:
    """Return a temperature as people read it."""
    return f"{value:.1f} °C"


def gigahertz(khz: int) -> str:
    """Return a clock in kHz as people read it."""
    return f"{khz / 1e6:.2f} GHz"
