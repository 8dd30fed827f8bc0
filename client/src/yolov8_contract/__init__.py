# SPDX-License-Identifier: Apache-2.0
"""What client, export and model code share: tensors, parameters, geometry, heads. numpy alone, no I/O.

A copy of this package travels inside every exported model, so nothing here may import anything but numpy
and the standard library.
"""
