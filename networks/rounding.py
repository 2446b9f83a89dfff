"""How widths become channel counts: the two rules of the field, side by side."""

from __future__ import annotations

from fractions import Fraction


def make_divisible(channels: float | Fraction, divisor: int = 8) -> int:
    """Return the multiple of ``divisor`` nearest to ``channels``, never under 90 % of it.

    Source: MobileNetV2's reference code; width multipliers of all published networks.
    """
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * channels else nearest + divisor


def floor_filters(channels: Fraction | int) -> int:
    """Return ``channels`` floored to a multiple of 16 from 48 up, of 8 below, at least 8.

    Ours: the MnasNet paper gives no rule. This one makes the published A1 (1.25 x 96 -> 112)
    and B1 (1.25 x 160 -> 192) points of the space.
    """
    step = 16 if channels >= 48 else 8
    return max(8, int(channels) // step * step)


def squeeze_channels(input_channels: int) -> int:
    """Return the squeeze width at ratio 0.25 of the layer's input, as in MnasNet's code."""
    return max(1, input_channels // 4)
