"""Verbs about devices: devices, doctor, emulate phone."""

from __future__ import annotations

import dataclasses
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hilnas.console import (
    NEEDS_HUMAN,
    Device,
    DevicesFile,
    Json,
    app,
    columns,
    emit,
    known_devices,
    one_device,
    say,
    verb,
)

if TYPE_CHECKING:
    from device_agents.emulator.auth import PublicKey

emulate_app = typer.Typer(
    help="Devices to practise on, without hardware.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(emulate_app, name="emulate")


@app.command(epilog="Example: hilnas devices --json")
@verb
def devices(devices_file: DevicesFile = None, as_json: Json = False) -> None:
    """List what can be measured on: this machine, phones, and what devices.toml names."""
    from device_agents.open import find_devices

    found = [
        dataclasses.asdict(device) for device in find_devices(known_devices(devices_file).values())
    ]
    rows = [list(device.values()) for device in found]
    header = list(found[0])
    text = columns(header, rows, text_columns=len(header))
    emit({"devices": found}, text, as_json=as_json)


@app.command(
    epilog="Examples:\n\n\b\n  hilnas doctor local\n  hilnas doctor adb:SERIAL --json\n"
    "  hilnas doctor ssh:pi@10.0.0.7 --install"
)
@verb
def doctor(
    device: Device,
    install: Annotated[
        bool, typer.Option("--install", help="Set up the timing environment of a board first.")
    ] = False,
    wheels: Annotated[
        Path | None, typer.Option(help="A folder of wheels, for a board without a network.")
    ] = None,
    devices_file: DevicesFile = None,
    as_json: Json = False,
) -> int:
    """Check every precondition of measuring on a device, with what to do about each that fails.

    Exits with 0 when the device is ready, with 4 when it needs somebody.
    """
    from device_agents.address import LocalAddress, SshAddress
    from device_agents.conditions.doctor import BOARD_FOLDER, diagnose, install_on
    from device_agents.conditions.linux_checks import Wanted
    from device_agents.conditions.settings import PHONE_HOME

    entry = one_device(device, devices_file)
    if install:
        runtime = install_on(entry.address, wheels=wheels, report=say)
        say(f"{entry.address}: {runtime}")
    is_board = isinstance(entry.address, LocalAddress | SshAddress)
    wanted = Wanted(
        serial=entry.serial,
        cores=entry.cores,
        fixed_performance=entry.power_mode != "as-is",
        ours=f"/{BOARD_FOLDER}/" if is_board else PHONE_HOME,
    )
    result = diagnose(entry.address, python=entry.python, wanted=wanted)
    marks = {"ok": "ok", "not_ok": "NOT OK", "unknown": "unknown"}
    width = max(len(check.name) for check in result.checks)
    lines = [
        f"{marks[check.state]:<8}{check.name:<{width}}  {check.reading}"
        + (f"\n{'':<{width + 10}}-> {check.remedy}" if check.remedy else "")
        for check in result.checks
    ]
    verdict = "ready" if result.ready else "not ready"
    values = {
        "device": result.device,
        "ready": result.ready,
        "checks": [dataclasses.asdict(check) for check in result.checks],
    }
    emit(values, "\n".join([*lines, f"{result.device}: {verdict}"]), as_json=as_json)
    return 0 if result.ready else NEEDS_HUMAN


@emulate_app.command(
    "phone",
    epilog="Examples:\n\n\b\n  hilnas emulate phone --port 5555\n"
    "  adb connect 127.0.0.1:5555\n  hilnas doctor adb:127.0.0.1:5555",
)
@verb
def emulate_phone(
    port: Annotated[int, typer.Option(help="To listen on, at 127.0.0.1; 0: a free one.")] = 5555,
    profile: Annotated[str, typer.Option(help="Which phone, such as pixel-4.")] = "pixel-4",
    serial: Annotated[str, typer.Option(help="What it calls itself.")] = "EMULATED0001",
    auth: Annotated[
        bool, typer.Option("--auth", help="Ask for each new computer's key to be accepted.")
    ] = False,
    fault: Annotated[
        Path | None, typer.Option(help="A script of what goes wrong, and when.")
    ] = None,
    tool: Annotated[
        Path | None, typer.Option(help="Write the stand-in for benchmark_model to this file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Emulate an Android phone on this machine, for the real adb and for hilnas; Ctrl-C ends it."""
    from device_agents.emulator.faults import parse_script
    from device_agents.emulator.phone import EmulatedPhone
    from device_agents.emulator.profiles import PROFILES
    from device_agents.emulator.stand_in import stand_in_binary
    from networks.errors import UnknownName

    if profile not in PROFILES:
        raise UnknownName("phone profile", profile, PROFILES)
    faults = () if fault is None else parse_script(fault.read_text())
    if tool is not None:
        tool.write_bytes(stand_in_binary(PROFILES[profile].abis[0]))
    with EmulatedPhone(profile, port=port, serial=serial, auth=auth, faults=faults) as phone:
        values = {
            "address": f"adb-tcp:{phone.address}", "adb_serial": phone.address,
            "serial": phone.serial, "profile": profile,
            "benchmark_binary": None if tool is None else str(tool),
        }  # fmt: skip
        text = (
            f"{profile} listens at {phone.address}\n  hilnas doctor adb-tcp:{phone.address}\n"
            f"  adb connect {phone.address}; hilnas doctor adb:{phone.address}"
        )
        emit(values, text, as_json=as_json)
        sys.stdout.flush()
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does, cleanly
        phone.serve(confirm=_let_in)


def _let_in(key: PublicKey) -> bool:
    """Ask whoever sits at the terminal, as a phone asks on its screen."""
    if not sys.stdin.isatty():
        return False
    return typer.confirm(f"Let {key.owner or 'a computer'} in?", err=True)
