"""A process that exports layers and says on standard output what is done, to be killed."""

from __future__ import annotations

import sys
from pathlib import Path

from exporters.layer_export import export_layer_files
from networks.spaces import make_space

RESOLUTION = 32
LAYERS = make_space("mnasnet", resolution=RESOLUTION).layers[:400:4]


def main(directory: str, pack_size: str) -> None:
    """Export to ``directory``, one line a file, then wait: it ends by being killed."""

    def say(done: int, total: int, text: str) -> None:
        sys.stdout.write(f"{done} {total} {text}\n")
        sys.stdout.flush()

    export_layer_files(LAYERS, Path(directory), pack_size=int(pack_size) or None, progress=say)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
