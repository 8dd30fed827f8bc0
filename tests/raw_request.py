# SPDX-License-Identifier: Apache-2.0
"""A request as bare tritonclient makes it, for tests that ask without our client."""

from __future__ import annotations

import numpy as np
import tritonclient.grpc as triton


def image_input(content: bytes) -> triton.InferInput:
    """Return an ensemble's input: the bytes of one encoded image."""
    array = np.frombuffer(content, np.uint8)[np.newaxis]
    tensor = triton.InferInput("image", array.shape, "UINT8")
    tensor.set_data_from_numpy(array)
    return tensor
