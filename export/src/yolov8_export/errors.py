# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every error of the exporter.

* ExportError
  - OptionError           an option's value is impossible, or two of them exclude each other
  - WeightsNotFoundError  the weights are nowhere to be had
  - WeightsError          there is a file, but it can't be read, or not safely
  - UnsupportedError      a model that can be read and that this project does not serve
  - RunError              ONNX Runtime can't load or run a network
  - VerificationError     the ONNX network does not give what its source gives
  - AccuracyError         a network of lower precision finds too little of what it found in FP32
  - RepositoryError       the model repository can't take the model
"""

from __future__ import annotations


class ExportError(Exception):
    """Base class of the exporter's errors."""


class OptionError(ExportError):
    """An option's value is impossible, or two options exclude each other."""


class WeightsNotFoundError(ExportError):
    """The weights are nowhere to be had."""


class WeightsError(ExportError):
    """The file can't be read, or not safely."""


class UnsupportedError(ExportError):
    """The model can be read, and this project does not serve it."""


class RunError(ExportError):
    """ONNX Runtime can't load or run a network."""


class VerificationError(ExportError):
    """The ONNX network does not give what its source gives."""


class AccuracyError(ExportError):
    """A network of lower precision finds too little of what it found in FP32."""


class RepositoryError(ExportError):
    """The model repository can't take the model."""
