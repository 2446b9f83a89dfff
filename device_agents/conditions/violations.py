"""Violations: what happened to a device between two readings that makes a measurement worthless."""

from __future__ import annotations

from device_agents.conditions.boards import Throttling
from device_agents.conditions.limits import LIMITS, Limits
from device_agents.conditions.linux import Policy
from device_agents.conditions.reading import Reading, Unknown, show
from device_agents.conditions.states import BoardState, LinuxState, PhoneState

State = PhoneState | BoardState


def violations(
    before: State,
    after: State,
    limits: Limits = LIMITS,
    *,
    fixed_performance: bool = False,
    ours: str = "",
) -> tuple[str, ...]:
    """Return what is wrong, one line each; empty when the measurement between the two may stand.

    What was known before and cannot be read after is wrong too; what was unknown all along is
    the checks' business.

    Args:
        fixed_performance: the condition says that clocks are held down: lower caps are meant so.
        ours: a folder; timing tools that run in it are not another harness's.
    """
    found = _identity(before, after) + _linux(before.linux, after.linux, limits, fixed_performance)
    found += _foreign(after.linux, ours)
    if isinstance(before, PhoneState) and isinstance(after, PhoneState):
        found += _phone(before, after, limits)
    if isinstance(before, BoardState) and isinstance(after, BoardState):
        found += _board(before, after)
    return tuple(found)


def _changed(name: str, before: Reading[object], after: Reading[object]) -> list[str]:
    if isinstance(before, Unknown) or before == after:
        return []
    return [f"{name}: expected {before}, found {show(after)}"]


def _lost(name: str, before: Reading[object], after: Reading[object]) -> list[str]:
    lost = isinstance(after, Unknown) and not isinstance(before, Unknown)
    return [f"{name}: known before, now {after}"] if lost else []


def _identity(before: State, after: State) -> list[str]:
    found = _changed("serial", before.serial, after.serial)
    return found + _changed("system build", before.fingerprint, after.fingerprint)


def _linux(
    before: LinuxState, after: LinuxState, limits: Limits, fixed_performance: bool
) -> list[str]:
    if rebooted := _rebooted(before, after):
        return [rebooted]
    found = _changed("cores online", before.online, after.online)
    found += _lost("frequency caps", before.policies, after.policies)
    if isinstance(before.policies, Unknown) or isinstance(after.policies, Unknown):
        return found
    earlier = {policy.cores: policy for policy in before.policies}
    for policy in after.policies:
        found += _cap(earlier.pop(policy.cores, None), policy, limits, fixed_performance)
    return found + [f"cluster {policy.label}: gone" for policy in earlier.values()]


def _rebooted(before: LinuxState, after: LinuxState) -> str | None:
    if not isinstance(before.boot_id, Unknown) and not isinstance(after.boot_id, Unknown):
        return "the device was rebooted" if before.boot_id != after.boot_id else None
    if isinstance(before.uptime_s, Unknown) or isinstance(after.uptime_s, Unknown):
        return None
    if after.uptime_s < before.uptime_s:
        return f"the device was rebooted: uptime {before.uptime_s:g} s, then {after.uptime_s:g} s"
    return None


def _cap(
    before: Policy | None, after: Policy, limits: Limits, fixed_performance: bool
) -> list[str]:
    name = f"frequency cap of cpu {after.label}"
    found = _changed(f"{name} in kHz", before.cap_khz, after.cap_khz) if before else []
    share = after.cap_share
    if found or fixed_performance or isinstance(share, Unknown) or share >= limits.cap_share:
        return found
    return [f"{name}: expected {limits.cap_share:.0%} of its clock, found {share:.0%}"]


def _foreign(after: LinuxState, ours: str) -> list[str]:
    if isinstance(after.tools, Unknown):
        return []
    return [
        f"another harness's process: pid {tool.pid}, {tool.command}"
        for tool in after.foreign_tools(ours)
    ]


def _phone(before: PhoneState, after: PhoneState, limits: Limits) -> list[str]:
    found = _lost("thermal status", before.thermal, after.thermal)
    found += _lost("battery", before.battery, after.battery)
    if not isinstance(after.thermal, Unknown):
        if after.thermal.status > limits.thermal_status:
            found.append(f"thermal status: expected 0, found {after.thermal.status}")
        if after.thermal.overridden:
            found.append("thermal status: overridden by a command")
    if not isinstance(after.battery, Unknown):
        level = after.battery.level_pct
        if level < limits.battery_stop_pct:
            found.append(f"battery: expected {limits.battery_stop_pct:g} %, found {level:g} %")
    if before.wakefulness == "Awake":
        found += _changed("screen", before.wakefulness, after.wakefulness)
    if after.low_power is True:
        found.append("power saver: came on")
    return found


def _board(before: BoardState, after: BoardState) -> list[str]:
    found = _lost("throttling", before.throttling, after.throttling)
    found += _changed("power mode", before.mode, after.mode)
    if isinstance(after.throttling, Throttling):
        base = before.throttling if isinstance(before.throttling, Throttling) else Throttling(0)
        new = base.new_in(after.throttling)
        found += [f"throttling: {name} since the measurement began" for name in new]
        found += [f"throttling: {name}" for name in after.throttling.now if name not in new]
    return found
