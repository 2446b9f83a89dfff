"""Exporters compared: ours against the official converters, on the same layers and networks.

A child process an exporter imports it, exports one model unmeasured, then each of a dozen layers
five times, of which the median counts, and each of five networks once; its peak memory is that of
the whole process. Then each pair of files of one precision is compared: operators, numbers, and
latency by interleaved visits on this machine.
Needs both extras, as `make bench-exporters` has them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.claim import print_claim
from device_agents.local import LocalAgent
from exporters.catalog import make_exporter
from exporters.weights import random_weights
from latency_tables.verification import Verification, verify_models
from networks.graph import Graph
from networks.layers import lower_layer, parse_layer
from networks.names import find_network

CLAIM = (
    "direct against Keras: float32 300 and int8 10 times faster a layer, numbers equal, median"
    " latency ratio 1.00 +- 0.01"
)
LAYERS = (
    "v1/conv/224x224x3/c32/k3/s2/relu/se0/none",
    "v1/separable/112x112x32/c16/k3/s1/relu-linear/se0/none",
    "v1/bottleneck/112x112x16/c24/k3/s2/m96/relu/se0/none",
    "v1/bottleneck/56x56x24/c40/k5/s2/m72/relu/se6-sigmoid/none",
    "v1/bottleneck/28x28x40/c40/k5/s1/m120/relu/se10-sigmoid/identity",
    "v1/bottleneck/28x28x40/c40/k3/s1/m240/relu/se0/pool",
    "v1/conv/14x14x80/c80/k3/s1/relu/se0/identity",
    "v1/separable/14x14x112/c112/k5/s1/relu-linear/se28-sigmoid/identity",
    "v1/bottleneck/14x14x80/c112/k3/s1/m480/hard-swish/se120-hard-sigmoid/none",
    "v1/bottleneck/7x7x160/c160/k5/s1/m960/relu/se40-sigmoid/identity",
    "v1/conv/7x7x320/c1280/k1/s1/relu/se0/none",
    "v1/classifier/7x7x1280/c1000/h0/linear",
)
NETWORKS = ("mnasnet-a1", "mnasnet-b1", "mobilenet-v2", "mobilenet-v3-large", "nasnet-a-mobile")
LAYER_REPEATS = 5
RIVALS = {
    "float32": ("keras", "litert-torch"),
    "float16": ("keras",),
    "int8": ("keras",),
}


def graphs(n_layers: int, n_networks: int) -> dict[str, Graph]:
    """Return what is exported, by name."""
    return {key: lower_layer(parse_layer(key)) for key in LAYERS[:n_layers]} | {
        name: find_network(name).graph() for name in NETWORKS[:n_networks]
    }


def export_all(name: str, precision: str, folder: Path, chosen: dict[str, Graph]) -> None:
    """Export everything in this process and print its seconds and memory as one JSON line."""
    exporter = make_exporter(name, precision)
    first, started_s = next(iter(chosen.values())), time.perf_counter()
    exporter.export(first, random_weights(first))
    import_s, seconds = time.perf_counter() - started_s, dict[str, float]()
    for number, (label, graph) in enumerate(chosen.items()):
        weights, times = random_weights(graph), list[float]()
        for _ in range(LAYER_REPEATS if label in LAYERS else 1):
            started_s = time.perf_counter()
            data = exporter.export(graph, weights)
            times.append(time.perf_counter() - started_s)
        seconds[label] = statistics.median(times)
        (folder / f"{number}.tflite").write_bytes(data)
        print(f"{exporter.name}: {label}: {seconds[label]:.3f} s", file=sys.stderr, flush=True)
    result = {"first": import_s, "peak": _peak_mib()}
    print(json.dumps({"seconds": seconds, "process": result}))


def measure(
    n_layers: int, n_networks: int, sessions: int
) -> tuple[dict[str, float], list[str], dict[str, bool]]:
    """Return the figures, a line a difference, and which parts of the claim hold."""
    chosen = graphs(n_layers, n_networks)
    figures, lines = dict[str, float](), list[str]()
    layer_s: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as root, LocalAgent() as agent:
        for precision, rivals in RIVALS.items():
            for name in ("direct", *rivals):
                folder = Path(root) / f"{name}-{precision}"
                folder.mkdir()
                found = _child(name, precision, folder, n_layers, n_networks)
                column = folder.name.replace("-", "_")
                times = list(found["seconds"].values())
                layer_s[folder.name] = statistics.mean(times[:n_layers])
                figures |= {
                    f"{column}_layer_s": layer_s[folder.name],
                    f"{column}_network_s": statistics.mean(times[n_layers:]),
                    f"{column}_first_s": found["process"]["first"],
                    f"{column}_peak_mib": found["process"]["peak"],
                }
            for rival in rivals:
                pair = (f"direct-{precision}", f"{rival}-{precision}")
                results = {}
                for number, label in enumerate(chosen):
                    files = [Path(root) / side / f"{number}.tflite" for side in pair]
                    results[label] = verify_models(
                        files[0],
                        files[1],
                        agent,
                        exporters=pair,
                        precision=precision,
                        sessions=sessions,
                    )
                    print(f"{pair}: {label}: {results[label].latency}", file=sys.stderr, flush=True)
                figures |= _summary(f"{rival}_{precision}".replace("-", "_"), results)
                lines += _lines(rival, precision, results)
    figures["speedup_float32"] = layer_s["keras-float32"] / layer_s["direct-float32"]
    figures["speedup_int8"] = layer_s["keras-int8"] / layer_s["direct-int8"]
    holds = {
        "float32 speed": figures["speedup_float32"] >= 300,
        "int8 speed": figures["speedup_int8"] >= 10,
        "numbers": all(v == 1 for k, v in figures.items() if k.endswith("_agree_share")),
        "latency": abs(figures["keras_float32_ratio_median"] - 1) <= 0.01,
    }
    return figures, lines, holds


def _peak_mib() -> float:
    """Return this program's peak memory; getrusage's would include what forked it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def _child(
    name: str, precision: str, folder: Path, n_layers: int, n_networks: int
) -> dict[str, dict[str, float]]:
    command = [
        sys.executable, "-m", "benchmarks.exporters_compared", "--layers", str(n_layers),
        "--networks", str(n_networks), "--child", name, precision, str(folder),
    ]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, dict[str, float]] = json.loads(done.stdout)
    return found


def _summary(column: str, results: dict[str, Verification]) -> dict[str, float]:
    ratios = [r.latency.ratio for r in results.values() if not isinstance(r.latency, str)]
    comparisons = [result.comparison for result in results.values()]
    return {
        f"{column}_ratio_median": statistics.median(ratios),
        f"{column}_ratio_min": min(ratios),
        f"{column}_ratio_max": max(ratios),
        f"{column}_timed": len(ratios),
        f"{column}_equal_operators": sum(not c.differences for c in comparisons),
        f"{column}_max_error": max(c.max_error / c.output_range for c in comparisons),
        f"{column}_rms_error": max(c.rms_error for c in comparisons),
        f"{column}_agree_share": statistics.mean(r.agrees for r in results.values()),
    }


def _lines(rival: str, precision: str, results: dict[str, Verification]) -> list[str]:
    lines = []
    for label, result in results.items():
        if result.comparison.differences:
            differences = ", ".join(result.comparison.differences)
            lines.append(f"{rival} {precision}, {label}: {differences}")
        if isinstance(result.latency, str):
            lines.append(f"{rival} {precision}, {label}: no latency: {result.latency}")
    return lines


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--layers", type=int, default=len(LAYERS))
    parser.add_argument("--networks", type=int, default=len(NETWORKS))
    parser.add_argument("--sessions", type=int, default=5, help="processes a pair of files")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, precision, folder = options.child
        export_all(name, precision, Path(folder), graphs(options.layers, options.networks))
        return
    figures, lines, holds = measure(options.layers, options.networks, options.sessions)
    lines += [f"does not hold: {part}" for part, whether in holds.items() if not whether]
    print_claim(CLAIM, figures, holds=all(holds.values()), as_json=options.json, lines=lines)


if __name__ == "__main__":
    main()
