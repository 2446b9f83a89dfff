"""Plan times: how long the full table of the 224-pixel mnasnet space takes, by each plan.

What `hilnas profile` announces before it starts, for one device and several that share the work;
whole networks for calibration and as anchors included. Reckoned, not measured.
"""

from __future__ import annotations

import argparse

from benchmarks.claim import print_claim
from device_agents.measurement import DEFAULT_PLAN, Plan
from device_agents.packs import PackedPlan
from device_agents.processes import ProcessPlan
from latency_tables.plan_time import forecast, format_duration
from networks.spaces import make_space

NETWORKS = 9
DEVICES = (1, 4)
PLANS: dict[str, Plan] = {
    "clean_processes": ProcessPlan(),
    "packed": PackedPlan(),
    "resident": DEFAULT_PLAN,
}
TARGET_SPEEDUP = 5.0
CLAIM = f"packed profiling takes {TARGET_SPEEDUP:g} times less phone time than clean processes"


def measure() -> dict[str, float]:
    """Return the number of layers and the hours of each plan on each number of devices."""
    layers = len(make_space("mnasnet", resolution=224).layers)
    hours = {
        f"{name}_hours_on_{devices}": forecast(layers, NETWORKS, plan, devices=devices).time.wall_s
        / 3600
        for name, plan in PLANS.items()
        for devices in DEVICES
    }
    return {"layers": layers, "networks": NETWORKS, **hours}


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure()
    holds = figures["clean_processes_hours_on_1"] >= TARGET_SPEEDUP * figures["packed_hours_on_1"]
    lines = [
        f"{name} on {devices}: {format_duration(3600 * figures[f'{name}_hours_on_{devices}'])}"
        for name in PLANS
        for devices in DEVICES
    ]
    print_claim(CLAIM, figures, holds=holds, as_json=options.json, lines=lines)


if __name__ == "__main__":
    main()
