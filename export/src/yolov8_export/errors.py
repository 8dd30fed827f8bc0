# SPDX-License-Identifier: AGPL-3.0-or-later
"""The errors of the exporter.

* ExportError
  - OptionError
  - WeightsNotFoundError
  - WeightsError
  - UnsupportedError
  - RunError
  - VerificationError
  - AccuracyError
  - RepositoryError
"""

from __future__ import annotations


class ExportError(Exception):
    """The base class of the exporter's errors."""


class OptionError(ExportError):
    """An option's value is impossible, or two options exclude each other."""


class WeightsNotFoundError(ExportError):
    """The weights are neither a file nor can they be downloaded."""


class WeightsError(ExportError):
    """The weights can't be read, or not safely."""


class UnsupportedError(ExportError):
    """The weights are of a model that this project does not serve."""


class RunError(ExportError):
    """ONNX Runtime can't load or run a network."""


class VerificationError(ExportError):
    """The outputs of the ONNX network differ from those of its source."""


class AccuracyError(ExportError):
    """A network of lower precision misses too much of what the FP32 network finds."""


class RepositoryError(ExportError):
    """The model repository can't be read, or can't take the model."""
