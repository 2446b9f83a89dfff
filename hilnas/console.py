"""What the verbs share: the app, exit codes, printing, the progress bar, common options.

exit code   0 done    1 a known error    2 usage    3 incomplete, unstable, or a device changed
            4 a device needs a person
            130 interrupted: what was finished is kept, and the command to go on is printed
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import re
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ParamSpec

import typer

from device_agents.errors import DeviceError, NeedsHuman
from exporters.errors import ExportError
from latency_tables.errors import DeviceChanged, LatencyTableError
from networks.errors import NetworkError
from search.errors import SearchError

if TYPE_CHECKING:
    from device_agents.devices_file import DeviceEntry
    from latency_tables.store import TableStore
    from networks.names import NamedNetwork

KNOWN_ERRORS = (NetworkError, ExportError, DeviceError, LatencyTableError, SearchError)
DEBUG = "--debug"
PLAIN_LINE_EVERY_S = 10.0
NEEDS_HUMAN = 4
CHANGED = 3

app = typer.Typer(
    name="hilnas",
    help="Time neural networks where they will run, keep latency tables, search with them.",
    epilog="Every command takes --json, and --debug for the traceback of an error.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
table_app = typer.Typer(
    help="Look into latency tables.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(table_app, name="table")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Resolution = Annotated[
    int | None,
    typer.Option(help="Height and width of the image; default the space's own, mostly 224.", min=8),
]
Width = Annotated[float, typer.Option(help="Width multiplier of all filters.")]
Precision = Annotated[
    str, typer.Option(help="float32, float16 (weights only) or int8 (of weights and activations).")
]
Seed = Annotated[int, typer.Option(help="Decides every random choice.", min=0)]
Device = Annotated[
    str,
    typer.Argument(
        help="An address (local, local:cpu=N, adb:SERIAL, adb-tcp:HOST:PORT, adb-usb:SERIAL,"
        " ssh:USER@HOST), or a name of devices.toml."
    ),
]
DevicesFile = Annotated[
    Path | None,
    typer.Option(
        "--devices", help="Default ./devices.toml, then $XDG_CONFIG_HOME/hilnas/devices.toml."
    ),
]
TableArgument = Annotated[str, typer.Argument(help="A table's name, or the path of a file.")]

P = ParamSpec("P")


class Interrupted(Exception):
    """Ctrl-C where the command to go on is not the one that was typed."""


def verb(function: Callable[P, int | None]) -> Callable[P, None]:
    """Make a command of a function: its result is the exit code, its known errors one line."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = function(*args, **kwargs) or 0
        except (KeyboardInterrupt, Interrupted) as stop:
            again = str(stop) or shlex.join(["hilnas", *sys.argv[1:]])
            say(f"interrupted; what was finished is kept. To go on: {again}")
            code = 130
        except KNOWN_ERRORS as error:
            if DEBUG in sys.argv:
                traceback.print_exc()
            say(f"hilnas: {error}")
            code = exit_code_of(error)
        raise typer.Exit(code)

    return run


def exit_code_of(error: Exception) -> int:
    """Return 4 where a person must act, 3 where a device changed, else 1."""
    if isinstance(error, NeedsHuman):
        return NEEDS_HUMAN
    return CHANGED if isinstance(error, DeviceChanged) else 1


def say(line: str) -> None:
    """Print a line for people on standard error."""
    print(line, file=sys.stderr, flush=True)


def emit(result: Mapping[str, object], text: str | None, *, as_json: bool) -> None:
    """Print a result: one JSON object, or its text for people."""
    if as_json:
        print(json.dumps(result, allow_nan=False))
    elif text:
        print(text)


def columns(header: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 1) -> str:
    """Return rows as aligned text: the first so many columns left, the others right."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < text_columns else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def decimals_of(latencies_ms: Iterable[float]) -> int:
    """Return how many decimals show four digits of the smallest latency; three or more."""
    return max(3, 3 - math.floor(math.log10(min(latencies_ms))))


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[int, int, str], None]]:
    """Yield ``update(done, total, what)``: a bar with rate and time left, or lines to a file."""
    if not sys.stderr.isatty():
        last = time.monotonic()

        def plain(done: int, total: int, what: str) -> None:
            nonlocal last
            if time.monotonic() - last >= PLAIN_LINE_EVERY_S:
                last = time.monotonic()
                say(f"{what}: {done} of {total}")

        yield plain
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bars:
        task = bars.add_task("starting", total=None, rate="")

        def update(done: int, total: int, what: str) -> None:
            before = bars.tasks[0]
            if before.total != total or done < before.completed:  # another step: its own clock
                bars.reset(task, total=total, description=what)
            speed = before.finished_speed or before.speed
            rate = f"{speed:.3g}/s" if speed else ""
            bars.update(task, completed=done, description=what, rate=rate)

        yield update


def table_store() -> TableStore:
    """Return the store of tables: ``$XDG_DATA_HOME/hilnas/tables``."""
    from latency_tables.store import TableStore

    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return TableStore(Path(data) / "hilnas" / "tables")


def known_devices(file: Path | None) -> Mapping[str, DeviceEntry]:
    """Return the devices of devices.toml by name; none where there is no such file."""
    from device_agents.devices_file import FILE_NAME, find_file, read_devices

    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    found = file or find_file([Path(FILE_NAME), config / "hilnas" / FILE_NAME])
    return {} if found is None else read_devices(found)


def one_device(text: str, file: Path | None) -> DeviceEntry:
    """Return the one device that an argument means.

    Raises:
        AddressError: it means none, or a pool of several.
    """
    from device_agents.devices_file import choose_devices
    from device_agents.errors import AddressError

    chosen = choose_devices(text, known_devices(file))
    if len(chosen) > 1:
        names = ", ".join(entry.name for entry in chosen)
        raise AddressError(f"expected one device, found the pool {text!r} of {names}; name one")
    return chosen[0]


def named_network(text: str) -> tuple[NamedNetwork, dict[str, str]]:
    """Return the network of a name, a block or cell string, or RUN or RUN:TRIAL; and its origin.

    Raises:
        NetworkError, SearchError: it names none.
    """
    from networks.names import find_network
    from search.assembly import find_trial

    run, _, number = text.rpartition(":") if text.rpartition(":")[2].isdigit() else (text, "", "")
    if not Path(run).is_dir():
        return find_network(text), {}
    return find_trial(Path(run), int(number) if number else None)


def parse_duration(text: str) -> float:
    """Return seconds from a text such as 90s, 20m or 1.5h."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)", text)
    if match is None or float(match[1]) == 0:
        raise typer.BadParameter(f"expected a duration such as 90s, 20m or 1.5h, found {text!r}")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]
