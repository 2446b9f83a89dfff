"""Claim: what a benchmark says, its figures, and whether they bear it out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence


def print_claim(
    claim: str,
    figures: Mapping[str, float],
    *,
    holds: bool,
    as_json: bool,
    lines: Sequence[str] = (),
) -> None:
    """Print one JSON object, or the claim with a line a figure and then ``lines``."""
    if as_json:
        print(json.dumps({"claim": claim, "figures": dict(figures), "holds": holds}))
        return
    print(f"{claim}: {'holds' if holds else 'does not hold'}")
    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"  {name:{width}} {value:14.5g}")
    for line in lines:
        print(f"  {line}")
