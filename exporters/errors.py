"""Everything that can go wrong on the way from a network to a file.

* ExportError
  x WeightsError          kernel or bias missing, of another shape, or not finite: fix the weights
  x UnsupportedOperator   the exporter cannot express it: choose another exporter or network
  x CalibrationError      calibration images that are none, of another shape, or not finite
  x UnknownExporter       no exporter has that name or precision: the message lists them
  x MissingExtra          an optional dependency is not installed: install the extra it names
  x DamagedModel          the bytes are not a whole .tflite model: export again
  x DamagedPack           a pack without its manifest, or the two do not agree: export it again
  x WriteFailed           the path cannot be written, the disk is full: nothing was left behind
"""

from __future__ import annotations


class ExportError(Exception):
    """Base of all errors raised by ``exporters``."""


class WeightsError(ExportError):
    """Weights that do not fit the graph; names the operator, expected and found."""


class UnsupportedOperator(ExportError):
    """An operator that this exporter cannot express; names it."""


class CalibrationError(ExportError):
    """Calibration images that do not fit the graph; names the input, expected and found."""


class UnknownExporter(ExportError):
    """No exporter has that name or precision; lists those that there are."""


class MissingExtra(ExportError):
    """An optional dependency is not installed; names the extra to install."""


class DamagedModel(ExportError):
    """Bytes that are not a whole .tflite model; says what was found."""


class DamagedPack(ExportError):
    """A pack whose layers cannot be told apart, or whose manifest is not that of its model."""


class WriteFailed(ExportError):
    """A file could not be written; nothing is left under its final name but what was there."""
