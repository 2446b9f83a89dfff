"""Model store: the models on a device, each under the name of its sha256.

    files here  -->  those that the device lacks  -->  a few bundles  -->  FOLDER/SHA256.tflite

The device itself says what it holds, by summing it up: a name or a size is not believed.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from device_agents.conditions.limits import LIMITS
from device_agents.conditions.reading import Reading, Unknown
from device_agents.errors import DeviceUnusable, PushFailed
from device_agents.measurement import FailedVisit, ModelFile
from device_agents.transports.transport import Completed, Transport

BUNDLE_BYTES = 32 << 20
SUM_TIMEOUT_S = 300.0  # some GB on a slow card

_HELD = 'mkdir -p "$1" && cd "$1" && find . -name "*.tflite" -exec sha256sum {} +; exit 0'
_UNPACK = 'cd "$1" && tar -xf "$2" && rm -f "$2"'


def check_files(
    models: Iterable[ModelFile], *, clock: Callable[[], float] = time.time
) -> tuple[list[ModelFile], list[FailedVisit]]:
    """Return each model once, apart from those whose files are missing or not what they should be.

    Args:
        clock: seconds since 1970.
    """
    good, bad = [], []
    for model in {model.sha256: model for model in models}.values():
        try:
            found = hashlib.sha256(model.path.read_bytes()).hexdigest()
            detail = f"{model.path}: expected sha256 {model.sha256}, found {found}"
        except OSError as error:
            found, detail = "", str(error)
        if found == model.sha256:
            good.append(model)
        else:
            bad.append(FailedVisit(model.sha256, clock(), "unreadable", detail))
    return good, bad


def device_path(folder: str, model: ModelFile) -> str:
    """Return where this model lies on the device."""
    return f"{folder}/{model.sha256}.tflite"


def push_models(
    transport: Transport, folder: str, models: Sequence[ModelFile], *, free_bytes: Reading[int]
) -> int:
    """Have the device hold these models; return how many it lacked.

    May be done again after a lost connection: what has arrived is not sent again.

    Args:
        free_bytes: room on the device.

    Raises:
        DeviceUnusable: they do not fit there; nothing was sent.
        PushFailed: they did not arrive whole.
    """
    held = _held(transport, folder)
    missing = [model for model in models if model.sha256 not in held]
    if not missing:
        return 0
    needed = round(LIMITS.disk_times * sum(model.path.stat().st_size for model in missing))
    if not isinstance(free_bytes, Unknown) and needed > free_bytes:
        raise DeviceUnusable(
            f"{transport.address}: expected {needed / 1e6:.1f} MB of room in {folder} for"
            f" {len(missing)} models, found {free_bytes / 1e6:.1f} MB: make room there"
        )
    for bundle in _bundles(missing):
        path = f"{folder}/bundle.tar"
        transport.push(bundle, path)
        done = _shell(transport, _UNPACK, folder, path)
        if done.exit_code:
            why = " ".join(done.stderr.decode(errors="replace").split())[:200]
            raise PushFailed(f"{transport.address}: {path} cannot be unpacked: {why}")
    held = _held(transport, folder)
    lost = [model for model in missing if model.sha256 not in held]
    if lost:
        raise PushFailed(
            f"{transport.address}: expected all {len(missing)} models in {folder},"
            f" found {len(missing) - len(lost)} whole: check its storage"
        )
    return len(missing)


def _held(transport: Transport, folder: str) -> set[str]:
    """Return the sha256 of all whole models there."""
    rows = [line.split() for line in _shell(transport, _HELD, folder).text.splitlines()]
    return {row[0] for row in rows if len(row) == 2 and row[1] == f"./{row[0]}.tflite"}


def _bundles(models: Sequence[ModelFile]) -> Iterator[bytes]:
    """Yield archives of some tens of MB, each of one model or more."""
    buffer, archive = _new_archive()
    for model in models:
        content = model.path.read_bytes()
        if buffer.tell() and buffer.tell() + len(content) > BUNDLE_BYTES:
            archive.close()
            yield buffer.getvalue()
            buffer, archive = _new_archive()
        entry = tarfile.TarInfo(f"{model.sha256}.tflite")
        entry.size, entry.mode = len(content), 0o644
        archive.addfile(entry, io.BytesIO(content))
    archive.close()
    yield buffer.getvalue()


def _new_archive() -> tuple[io.BytesIO, tarfile.TarFile]:
    buffer = io.BytesIO()
    return buffer, tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT)


def _shell(transport: Transport, script: str, *arguments: str) -> Completed:
    return transport.run(["sh", "-c", script, "sh", *arguments], timeout_s=SUM_TIMEOUT_S)
