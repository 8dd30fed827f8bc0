# SPDX-License-Identifier: Apache-2.0
"""Encoded images, good and bad, of every kind that a server may be sent; made here, from one picture."""

from .bad import Refused, bad_images, refused_images, undecodable_images
from .building import chunk, drawn, encode, exif, picture, segment, with_jpeg_segments, with_png_chunks
from .good import good_images, half_images, odd_sizes

__all__ = [
    "Refused",
    "bad_images",
    "chunk",
    "drawn",
    "encode",
    "exif",
    "good_images",
    "half_images",
    "odd_sizes",
    "picture",
    "refused_images",
    "segment",
    "undecodable_images",
    "with_jpeg_segments",
    "with_png_chunks",
]
