"""Limits: every number of the measurement protocol that is about a device's state, in one place.

Sources: [A] Jetpack Microbenchmark, [B] FAI-PEP, [C] edge-llm-bench, [D] labgrid, [E] MLPerf
Mobile, [F] the reference protocol's own judgement (section 4).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a device must be like to be measured on, and how long is waited for it."""

    battery_pct: float = 30.0  # [B] waits for this level
    battery_stop_pct: float = 25.0  # [A] below it big cores are switched off even when plugged in
    battery_c: float = 35.0  # [C] where no skin sensor can be read
    skin_rise_c: float = 1.5  # [C] above idle
    thermal_status: int = 0  # [A], [C] any other is throttling
    thermal_wait_s: float = 600.0  # [C] for status 0, and asked again every
    thermal_poll_s: float = 10.0  # [B], [C]
    warm_start_s: float = 900.0  # [C] waits for the skin; then runs, flagged as warm start
    cap_share: float = 0.95  # [F] of cpuinfo_max_freq, unless fixed performance is declared
    cap_stop_share: float = 0.6  # [C] capped by heat or by charging
    load: float = 1.5  # [F] one-minute average
    steal_share: float = 0.02  # [F] of processor time, to a hypervisor's other guests
    disk_times: float = 2.0  # [F] of what is pushed
    anchor_share: float = 0.05  # [C] admission: off the accepted reference
    anchor_target_share: float = 0.03  # [F] also how far specimens of one model may differ
    anchor_runs: int = 2  # [C]
    anchor_every_jobs: int = 20  # [F] whichever comes first
    anchor_every_s: float = 600.0  # [F]
    attempts: int = 3  # [A] a violated post-check is measured again at most twice
    cool_downs_s: tuple[float, ...] = (90.0, 180.0)  # [A], [B] before the second and third
    session_pause_s: float = 300.0  # [E] between sessions
    heartbeat_s: float = 10.0  # [D] of a lease
    lease_s: float = 60.0  # [D] without a heartbeat it expires


LIMITS = Limits()
