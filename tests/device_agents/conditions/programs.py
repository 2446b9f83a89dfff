"""Programs of Android as small scripts that keep the phone's state in files of one folder.

They stand on PATH before this machine's own, for the real local transport. Each call is counted;
at the call with number ``cut`` the whole script that made it is killed, before the call does
anything.
"""

from __future__ import annotations

from pathlib import Path

_HEAD = """#!/bin/sh
cd {state} || exit 1
n=$(($(cat calls) + 1)); echo $n >calls
[ "$n" = "$(cat cut)" ] && kill -9 0
"""
_PROGRAMS = {
    "settings": """case $1 in
get) cat "$2.$3" 2>/dev/null || echo null ;;
put) [ -e "denied.$3" ] && { echo "SecurityException: $3" >&2; exit 255; }; echo "$4" >"$2.$3" ;;
delete) rm -f "$2.$3" ;;
esac""",
    "cmd": '[ "$1 $2" = "power set-fixed-performance-mode-enabled" ] || exit 255; echo "$3" >fixed',
    "input": """case $2 in
KEYCODE_WAKEUP) echo Awake >wakefulness ;;
KEYCODE_SLEEP) echo Asleep >wakefulness ;;
esac""",
    "dumpsys": """case $1 in
power) echo "  mWakefulness=$(cat wakefulness)" ;;
*) cat "dump.$1" 2>/dev/null || { echo "Can't find service: $1"; exit 20; } ;;
esac""",
    "getprop": 'cat "property.$1" 2>/dev/null || echo',
}
_PLAIN = ("sync", "rm", "mkdir")


class FakePhone:
    """What the scripts keep: ``state`` the folder, ``path`` what PATH has to be."""

    def __init__(self, folder: Path, path: str) -> None:
        self.state, programs = folder / "state", folder / "programs"
        self.path = f"{programs}:{path}"
        self.home = str(folder / "device/hilnas")
        self.state.mkdir(parents=True)
        programs.mkdir()
        (folder / "device").mkdir()
        for name, text in _PROGRAMS.items():
            self._add(programs / name, text)
        for name in _PLAIN:
            self._add(programs / name, f'cd - >/dev/null; exec /bin/{name} "$@"')
        self.write({
            "calls": "0", "cut": "0", "wakefulness": "Asleep", "fixed": "false",
            "global.stay_on_while_plugged_in": "7", "system.screen_brightness_mode": "1",
        })  # fmt: skip

    def _add(self, program: Path, text: str) -> None:
        program.write_text(_HEAD.format(state=self.state) + text + "\n")
        program.chmod(0o755)

    def write(self, files: dict[str, str]) -> None:
        """Set parts of the state, by file name."""
        for name, text in files.items():
            (self.state / name).write_text(text + "\n")

    def read(self) -> dict[str, str]:
        """Return the state, without what counts calls."""
        return {
            file.name: file.read_text().strip()
            for file in self.state.iterdir()
            if file.name not in ("calls", "cut")
        }

    def cut_at(self, call: int) -> None:
        """Count calls from now on, and kill at this one; at none if 0."""
        self.write({"calls": "0", "cut": str(call)})

    @property
    def calls(self) -> int:
        """How many there were since `cut_at`."""
        return int((self.state / "calls").read_text())
