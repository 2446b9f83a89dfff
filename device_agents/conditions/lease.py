"""Lease: one harness a device, whichever host it runs on.

    lock file on the host by serial (flock: gone with its process)
    lease file on the device: host, pid, nonce, since and until (device's uptime), boot id

Two processes of one host meet at the lock, two hosts at the lease. A lease is compared and
replaced under a lock of the device, and lives by the device's own uptime: its clock may be wrong,
and a reboot ends it. A holder that died does not renew it, and it expires.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

from device_agents.conditions.limits import LIMITS
from device_agents.errors import DeviceBusy, DeviceUnusable, TransportError
from device_agents.transports.transport import Transport

_HELD, _UNUSABLE = 4, 3
# $1 home, $2 host, $3 pid, $4 nonce, $5 seconds, $6 the nonce of a dead holder. The subshell has
# the lock as its descriptor 9: Android's mksh would keep one opened by exec from its children.
_TAKE = f"""mkdir -p "$1" && cd "$1" || exit {_UNUSABLE}
(flock 9 && read -r up _ </proc/uptime && up=${{up%%.*}} || exit {_UNUSABLE}
boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null) || boot=unknown
if [ -f lease ] && read -r host pid nonce since until where <lease &&
[ "$nonce" != "$4" ] && [ "$nonce" != "$6" ] && [ "$where" = "$boot" ] &&
[ "$since" -le "$up" ] && [ "$up" -lt "$until" ]
then echo "$host $pid $nonce $((until - up))"; exit {_HELD}; fi
echo "$2 $3 $4 $up $((up + $5)) $boot" >lease.part && mv lease.part lease || exit {_UNUSABLE}
) 9>lease.lock"""
_RELEASE = """cd "$1" && (flock 9 || exit
[ -f lease ] && read -r host pid nonce _ <lease && [ "$nonce" = "$2" ] && rm lease) 9>lease.lock"""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a device; the nonce tells one lease from the next of the same process."""

    host: str
    pid: int
    nonce: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Lease:
    """A device that is ours; as a context manager it is given back at the end."""

    def __init__(
        self, transport: Transport, home: str, holder: Holder, lock: int, ttl_s: float
    ) -> None:
        self._transport, self._home, self._ttl_s = transport, home, ttl_s
        self._lock: int | None = lock
        self.holder = holder

    def renew(self) -> None:
        """Let it live from now on as long as it did at first; every 10 s or so.

        Raises:
            DeviceBusy: it had expired, and somebody else holds the device now.
            TransportError: the device did not answer; it may be renewed later.
        """
        _take(self._transport, self._home, self.holder, self._ttl_s)

    def release(self) -> None:
        """Give the device back; one that is away gets its lease back by expiry. Again: harmless."""
        if self._lock is None:
            return
        try:
            with suppress(TransportError):
                argv = ["sh", "-c", _RELEASE, "sh", self._home, self.holder.nonce]
                self._transport.run(argv)
        finally:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def acquire_lease(
    transport: Transport,
    serial: str,
    *,
    state_folder: Path,
    home: str,
    ttl_s: float = LIMITS.lease_s,
    host: str | None = None,
) -> Lease:
    """Return the lease of a device, or say who has it; nothing is waited for.

    Args:
        state_folder: where locks of this host lie.
        home: the harness's folder on the device, absolute.
        host: the name of this host, for messages and to find out about its own dead processes.

    Raises:
        DeviceBusy: another harness has the device.
        DeviceUnusable: the folder on the device cannot be used.
        TransportError: the device does not answer.
    """
    holder = Holder("-".join((host or socket.gethostname()).split()), os.getpid(),
                    secrets.token_hex(8))  # fmt: skip
    lock = _lock(state_folder, serial)
    try:
        _take(transport, home, holder, ttl_s)
    except BaseException:
        os.close(lock)
        raise
    return Lease(transport, home, holder, lock, ttl_s)


def _take(transport: Transport, home: str, mine: Holder, ttl_s: float) -> None:
    dead = "-"
    while True:
        argv = ["sh", "-c", _TAKE, "sh", home]
        argv += [mine.host, str(mine.pid), mine.nonce, f"{ttl_s:.0f}", dead]
        done = transport.run(argv)
        if done.exit_code == 0:
            return
        if done.exit_code != _HELD:
            why = done.stderr.decode(errors="replace").strip().splitlines()
            raise DeviceUnusable(
                f"{transport.address}: {home} cannot hold a lease"
                f" ({why[-1] if why else f'exit code {done.exit_code}'}): make it writable"
            )
        host, pid, nonce, left_s = done.text.split()
        holder = Holder(host, int(pid), nonce)
        if nonce == dead or not _is_dead(holder, mine):
            raise DeviceBusy(
                f"{transport.address}: {holder} measures there now: wait for it, or end it;"
                f" its lease lasts {left_s} s unless it is renewed"
            )
        dead = nonce


def _is_dead(holder: Holder, mine: Holder) -> bool:
    """Whether it was a process of this host and is no more, or an earlier lease of this process.

    We hold the lock, so that no living process of this user's can be the holder.
    """
    if holder.host != mine.host:
        return False
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return holder.pid == mine.pid


def _lock(folder: Path, serial: str) -> int:
    path = folder / f"{quote(serial, safe='')}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise DeviceUnusable(f"{path}: cannot be locked: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.pread(lock, 32, 0).decode(errors="replace").strip()
        os.close(lock)
        raise DeviceBusy(
            f"device {serial}: process {pid or '?'} on this computer measures there now:"
            " wait for it, or end it"
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock
