"""The front door: parses, wires real parts together, renders, maps errors to exit codes.

Only this package prints, exits, or reads the environment. Each verb's work is a function elsewhere
that returns a frozen result; a notebook can call the same function. Heavy imports happen inside
the verb that needs them.

    console     what verbs share: exit codes, printing, progress, common options
    counting    table count
    devices     devices, doctor, emulate phone
    exchange    table diff | merge | import | export | plot
    exporting   export, export-layers
    measuring   profile, measure
    refreshing  refresh
    tables      table show | predict
    validating  table validate
    searching   search, report, demo
"""

from __future__ import annotations

import sys

from hilnas import (
    counting,
    devices,
    exchange,
    exporting,
    measuring,
    refreshing,
    searching,
    tables,
    validating,
)
from hilnas.console import DEBUG, app

__all__ = [
    "app",
    "counting",
    "devices",
    "exchange",
    "exporting",
    "main",
    "measuring",
    "refreshing",
    "searching",
    "tables",
    "validating",
]


def main() -> None:
    """Run the command line; installed as ``hilnas``.

    A user's own modules are found in the current folder, after all that is installed, so that no
    file there takes the place of a library's.
    """
    sys.path.append("")
    app(args=[argument for argument in sys.argv[1:] if argument != DEBUG])
