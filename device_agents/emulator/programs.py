"""Programs: what lies in the emulated phone's /system/bin, as scripts of this machine's shells.

Android's own commands ask the phone's system server on a loopback port; a few tools differ from
this machine's and are small scripts; the others are this machine's.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import device_agents
from device_agents.emulator.commands import COMMANDS

PHONE_VARIABLE = "HILNAS_EMULATED_PHONE"
MASK_VARIABLE = "HILNAS_EMULATED_MASK"
# PID TIME of a process that was started to become the timing tool
STARTED_VARIABLE = "HILNAS_EMULATED_STARTED"
# An inherited descriptor that makes /proc/self/status each process's own
STATUS_FD = 198
CLIENT = "app_process"

# A subset of Android's toybox
HOST_TOOLS = (
    *("awk", "base64", "basename", "cat", "cmp", "cp", "cut", "date", "dd", "dirname"),
    *("du", "echo", "env", "expr", "false", "find", "grep", "head", "id", "kill", "ln", "ls"),
    *("md5sum", "mkdir", "mktemp", "mv", "nohup", "od", "printf", "pwd", "readlink", "realpath"),
    *("rm", "rmdir", "sed", "seq", "setsid", "sh", "sleep", "sort", "stat", "sync", "tail", "tar"),
    *("tee", "test", "[", "timeout", "touch", "tr", "true", "uname", "uniq", "wc", "xargs", "yes"),
    "flock",
)
SERVED = (*COMMANDS, "df", "pidof", "ps", "reboot", "top", "whoami")

_ASK = """\
exec 7<>/dev/tcp/127.0.0.1/{port} || exit 1
printf '%s\\0' $(($# + 2)) "$PWD" "$name" "$@" >&7
IFS= read -r code <&7; IFS= read -rd '' text <&7; exec 7>&-
"""
_CLIENT = """\
#!/bin/bash
name=${{0##*/}}
{ask}if [ "$code" = 0 ]; then printf %s "$text"; else printf %s "$text" >&2; fi
exit "$code"
"""
# toybox's: taskset [-p] MASK [PID | COMMAND...]
_TASKSET = """\
#!/bin/bash
export {started_variable}="$$ ${{EPOCHREALTIME/,/.}}"
name=taskset
{ask}[ "$code" = 0 ] || {{ printf %s "$text" >&2; exit "$code"; }}
case $1 in -*) printf %s "$text"; exit 0;; esac
mask=$1; shift
read -r cores number <<< "$text"
exec {status_fd}<{root}/proc/self/masks/$number
{mask_variable}=$number exec {taskset} -c "$cores" "$@"
"""
_TERMINAL = """\
#!/bin/bash
while where=${{PWD#{root}}} && IFS= read -erp "{prompt}:${{where:-/}} $ " line; do
  name=inward
  set -- "$line"
  {ask}  eval "$text"
done
"""
# What becomes executable is admitted, in case it came through a shell's input
_CHMOD = """\
#!/bin/bash
{chmod} "$@" || exit
name=admit
{ask}exit 0
"""
_SHA256SUM = """\
#!/bin/bash
name=sha256sum input=
if [ $# = 0 ] || [ "$1" = - ]; then
  input=$(readlink /proc/self/fd/0)
  [ -f "$input" ] || exec {sha256sum} "$@"
  set -- "$input"
fi
{ask}[ -z "$input" ] || text=${{text%% *}}$'  -\\n'
if [ "$code" = 0 ]; then printf %s "$text"; else printf %s "$text" >&2; fi
exit "$code"
"""
_LINKER = """\
#!/bin/bash
[ "${{{started_variable}%% *}}" = $$ ] || export {started_variable}="$$ ${{EPOCHREALTIME/,/.}}"
abi=$1 path=$2
case $abi in *64*) bits=64 ;; *) bits=32 ;; esac
case ",{abis}," in
*",$abi,"*) ;;
*) echo "$path: not executable: $bits-bit ELF file" >&2; exit 126 ;;
esac
shift 2
PYTHONPATH={source} exec {python} -m device_agents.emulator.benchmark_model {port} "$path" "$@"
"""


def scripts(root: Path, port: int, abis: tuple[str, ...], prompt: str) -> Mapping[str, str]:
    """Return the scripts by name, for a phone below ``root`` whose system server is at ``port``.

    ``prompt`` is what a terminal's begins with.
    """
    ask = _ASK.format(port=port)
    return {
        CLIENT: _CLIENT.format(ask=ask),
        "taskset": _TASKSET.format(
            ask=ask,
            root=root,
            status_fd=STATUS_FD,
            mask_variable=MASK_VARIABLE,
            started_variable=STARTED_VARIABLE,
            taskset=shutil.which("taskset"),
        ),
        "terminal": _TERMINAL.format(ask=ask, root=root, prompt=prompt),
        "chmod": _CHMOD.format(ask=ask, chmod=shutil.which("chmod")),
        "sha256sum": _SHA256SUM.format(ask=ask, sha256sum=shutil.which("sha256sum")),
        "linker64": _LINKER.format(
            abis=",".join(abis),
            port=port,
            started_variable=STARTED_VARIABLE,
            source=shlex.quote(str(Path(device_agents.__file__).parents[1])),
            python=shlex.quote(sys.executable),
        ),
    }
