"""Push speed: a file to the emulated phone by both adb transports, beside Android's own adb push.

All on loopback, in turns. A transport's push has arrived only when the phone has summed it up and
it is renamed into place; `adb push` checks nothing, so it is shown with a sum on the phone too.
The server is a real one on a port of its own; without adb only the direct transport is timed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.claim import print_claim
from benchmarks.emulated import connect
from device_agents.address import AdbAddress
from device_agents.emulator.phone import EmulatedPhone
from device_agents.transports.adb_server import AdbServer, AdbServerTransport
from device_agents.transports.transport import PHONE_SCRATCH

SIZE_BYTES = 64 << 20
ROUNDS = 3
USB_2_MB_S = 40.0  # what is left of its 60 in practice
TARGET = f"{PHONE_SCRATCH}/pushed"
START_TIMEOUT_S = 20.0
CLAIM = (
    f"verified pushes of {SIZE_BYTES >> 20} MiB are faster than the {USB_2_MB_S:g} MB/s of a"
    " USB 2 cable"
)
Ways = Mapping[str, Callable[[], None]]


@contextmanager
def adb_server(adb: str, home: Path) -> Iterator[int]:
    """Yield the port of a server of its own, which ends with the context."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    process = subprocess.Popen(
        [adb, "-L", f"tcp:localhost:{port}", "nodaemon", "server"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(home), "ADB_MDNS": "0"},
    )
    try:
        end_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < end_s:
            with suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


def seconds(ways: Ways, *, rounds: int = ROUNDS) -> dict[str, float]:
    """Return how long each took, the median of ``rounds`` in turns."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, push in ways.items():
            started = time.perf_counter()
            push()
            taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in taken.items()}


def measure(*, size_bytes: int = SIZE_BYTES) -> dict[str, float]:
    """Return MB a second (of 10^6 bytes) by each way."""
    adb = shutil.which("adb")
    data = random.Random(0).randbytes(size_bytes)
    with tempfile.TemporaryDirectory() as name, EmulatedPhone() as phone:
        folder = Path(name)
        direct = connect(phone, folder)
        try:
            ways: dict[str, Callable[[], None]] = {
                "adb_tcp_mb_s": lambda: direct.push(data, TARGET),
            }
            if adb is None:
                taken = seconds(ways)
            else:
                with adb_server(adb, folder) as port:
                    taken = seconds({**ways, **server_ways(adb, port, phone, folder, data)})
        finally:
            direct.close()
    return {way: size_bytes / 1e6 / taken_s for way, taken_s in taken.items()}


def server_ways(adb: str, port: int, phone: EmulatedPhone, folder: Path, data: bytes) -> Ways:
    """Return the ways through a server: the transport, and adb's own command."""
    file = folder / "file"
    file.write_bytes(data)
    through_server = AdbServerTransport(
        AdbAddress(phone.address), server=AdbServer("127.0.0.1", port)
    )

    def command(*arguments: str) -> str:
        argv = [adb, "-P", str(port), "-s", phone.address, *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    def push() -> None:
        command("push", str(file), TARGET)

    def push_and_sum() -> None:
        push()
        if command("shell", "sha256sum", TARGET).split()[0] != hashlib.sha256(data).hexdigest():
            raise RuntimeError(f"{TARGET} did not arrive whole")

    return {
        "adb_server_mb_s": lambda: through_server.push(data, TARGET),
        "adb_push_mb_s": push,
        "adb_push_and_sum_mb_s": push_and_sum,
    }


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--mib", type=int, default=SIZE_BYTES >> 20)
    options = parser.parse_args()
    figures = measure(size_bytes=options.mib << 20)
    ours = [figures[way] for way in ("adb_tcp_mb_s", "adb_server_mb_s") if way in figures]
    lines = () if len(ours) > 1 else ("no adb here: neither its server nor its push was timed",)
    holds = min(ours) > USB_2_MB_S
    print_claim(CLAIM, figures, holds=holds, as_json=options.json, lines=lines)


if __name__ == "__main__":
    main()
