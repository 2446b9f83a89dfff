"""Delegation: whether the delegate that was asked for really had the model, by the tool's words.

A delegate that declines, or that the build lacks, leaves the model to the CPU, and the tool says
so in passing, prints times and exits 0.
"""

from __future__ import annotations

import re
from typing import Literal

from device_agents.errors import RunRejected
from device_agents.tools.command import Delegate, Request, Tool
from device_agents.tools.tool_log import ToolLog

Coverage = Literal["whole", "part", "none", "unknown"]

_NAMES: dict[Delegate, str] = {"xnnpack": "XNNPACK", "gpu": "GPU"}
_APPLIED = re.compile(
    r"Explicitly applied (?P<name>.+) delegate, and the model graph will be "
    r"(?P<extent>completely|partially) executed by the delegate(?: w/ \d+ delegate kernels)?\."
)
_REPLACED = re.compile(
    r"Replacing (?P<taken>\d+) out of (?P<all>\d+) node\(s\) with delegate \((?P<name>[^)]*)\).*"
)
_CREATED_XNNPACK = re.compile(r"Created TensorFlow Lite XNNPACK delegate for CPU\.")


def check_delegation(request: Request, tool: Tool, log: ToolLog) -> Coverage:
    """Return how much of the model ran on the delegate that was asked for.

    ``unknown`` only where the command line names no delegate, and the tool none either.

    Raises:
        RunRejected: another delegate did, or it had only a part where the whole was required.
    """
    applied = {match["name"]: match["extent"] for _, match in log.find(_APPLIED)}
    replaced = {match["name"]: match["taken"] == match["all"] for _, match in log.find(_REPLACED)}
    created = bool(log.find(_CREATED_XNNPACK))
    if request.delegate == "none":
        if applied or replaced or created:
            raise RunRejected("expected a run without a delegate, found that it had one")
        return "none"
    if request.delegate is None:
        if applied:
            raise RunRejected(f"expected the default delegate, found {', '.join(applied)}")
        return "unknown" if not replaced else "whole" if all(replaced.values()) else "part"
    name = _NAMES[request.delegate]
    if tool == "benchmark_model":
        if list(applied) != [name]:
            found = ", ".join(applied) or "that it ran on the CPU"
            raise RunRejected(f"expected {name} to be applied, found {found}")
        whole = applied[name] == "completely"
    else:
        whole = _litert_coverage(request, replaced, created)
    if request.full_delegation and not whole:
        raise RunRejected(f"expected the whole model on {name}, found that it had a part of it")
    return "whole" if whole else "part"


def _litert_coverage(request: Request, replaced: dict[str, bool], created: bool) -> bool:
    """The successor tells less: some builds print no node counts, and then its own check stands."""
    on_cpu = {name: whole for name, whole in replaced.items() if "XNNPack" in name}
    if request.delegate == "xnnpack":
        if not created:
            raise RunRejected("expected XNNPACK to be created, found that it was not")
        asked = request.flags.get("require_full_delegation") == "true"
        return all(on_cpu.values()) if on_cpu else asked
    on_gpu = {name: whole for name, whole in replaced.items() if name not in on_cpu}
    if not on_gpu:
        raise RunRejected("expected the GPU to take the model, found that it ran on the CPU")
    return all(on_gpu.values()) and not on_cpu
