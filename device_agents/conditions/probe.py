"""Probe: many small commands in one shell script, whose outputs come back apart.

    commands by name  --render-->  script  --transport.run-->  text  --split-->  outputs by name

A round trip to a phone takes longer than all of the commands together, so there is one. What is
denied or missing costs its own section and no other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from device_agents.conditions.reading import Reading, Unknown
from device_agents.transports.transport import Transport

PROBE_TIMEOUT_S = 60.0  # dumpsys itself waits up to 10 s for each service that hangs
_MARK = "--hilnas--"
_SECTION = re.compile(rf"^{_MARK} (\w+)\n(.*?)\n?^{_MARK} = (\d+)$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Output:
    """What one command printed, its errors among it, and its exit code."""

    text: str
    exit_code: int

    @property
    def reading(self) -> Reading[str]:
        """The text of a command that succeeded."""
        if self.exit_code == 0:
            return self.text
        lines = self.text.strip().splitlines()
        return Unknown(lines[-1][:120] if lines else f"exit code {self.exit_code}")


class Outputs:
    """Outputs by name; one that is not there is unknown like one that failed."""

    def __init__(self, outputs: Mapping[str, Output]) -> None:
        self._outputs = outputs

    def __getitem__(self, name: str) -> Output:
        return self._outputs.get(name, Output("no output", 1))

    def reading(self, name: str) -> Reading[str]:
        """Return the text of this command, if it succeeded."""
        return self[name].reading


def render_script(commands: Mapping[str, str]) -> str:
    """Return a POSIX shell script that runs each command by itself, with an empty input."""
    head = (
        f'M={_MARK}; p() {{ printf "\\n%s %s\\n" $M $1; (eval "$2") </dev/null 2>&1; r=$?;'
        ' printf "\\n%s = %s\\n" $M $r; }'
    )
    lines = [f"p {name} {_quote(command)}" for name, command in commands.items()]
    return "\n".join([head, *lines, ":"])


def split_outputs(text: str) -> Outputs:
    """Return what each command of a rendered script printed; the inverse of running it."""
    found = _SECTION.findall(text.replace("\r\n", "\n"))
    return Outputs({name: Output(body, int(code)) for name, body, code in found})


def probe(transport: Transport, commands: Mapping[str, str]) -> Outputs:
    """Run commands on the device in one round trip.

    Raises:
        TransportError: the device could not be asked at all.
    """
    script = render_script(commands)
    return split_outputs(transport.run(["sh", "-c", script], timeout_s=PROBE_TIMEOUT_S).text)


def _quote(command: str) -> str:
    """Quote with double quotes: the transport's single quotes, nested, would cost five bytes each.

    An older adb takes 4 KiB of command and no more.
    """
    return '"' + re.sub(r'([\\"$`])', r"\\\1", command) + '"'
