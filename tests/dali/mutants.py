# SPDX-License-Identifier: Apache-2.0
"""JPEGs that are damaged at random: single bytes, segments, tables, markers, and what lies between them."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable, Iterator

from PIL import Image

from tests import corpus
from yolov8_contract.errors import InvalidImageError
from yolov8_contract.image_header import ImageLimits, admit
from yolov8_contract.jpeg_tables import check_tables

LIMITS = ImageLimits(max_pixels=4_000_000)
"""Mutants with a larger frame would only make the decoder slow."""

LEAST_BYTES = 4
"""A mutant that is cut down to so little has nothing left to damage."""

Segment = tuple[int, bytes]
"""A marker, and the bytes that follow it: a segment with its length, and behind a scan's the entropy-coded data."""


def originals() -> list[bytes]:
    """Return small JPEGs of all kinds that are served."""
    image = Image.fromarray(corpus.picture(41, 53))

    def jpeg(picture: Image.Image = image, **options: object) -> bytes:
        file = io.BytesIO()
        picture.save(file, "JPEG", **options)
        return file.getvalue()

    small = corpus.encode(image.resize((16, 12)), "JPEG")
    exif = b"Exif\0\0" + corpus.exif(6)
    return [
        jpeg(),
        jpeg(quality=95, subsampling=0),
        jpeg(subsampling=1, optimize=True),
        jpeg(progressive=True),
        jpeg(progressive=True, exif=exif, subsampling=0),
        jpeg(image.convert("L")),
        jpeg(image.convert("L"), progressive=True),
        jpeg(image.convert("CMYK")),
        jpeg(restart_marker_blocks=2),
        jpeg(progressive=True, restart_marker_rows=1),
        jpeg(exif=exif, icc_profile=bytes(300), comment=b"a comment"),
        corpus.with_jpeg_segments(jpeg(), corpus.segment(0xE1, exif + small)),
        jpeg() + b"\xff\xda\xff\xd8" * 10,
    ]


def passes(content: bytes) -> bool:
    """Return whether the gpu profile's check lets an image pass."""
    try:
        admit(content, ("jpeg",), LIMITS)
        check_tables(content)
    except InvalidImageError:
        return False
    return True


def mutants(seed: int) -> Iterator[bytes]:
    """Yield damaged JPEGs without end; the same seed gives the same."""
    rng = random.Random(seed)
    sources = originals()
    while True:
        content = rng.choice(sources)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            if len(content) > LEAST_BYTES:
                content = rng.choice(MUTATIONS)(content, rng, sources)
        yield content


def split(content: bytes) -> tuple[list[Segment], bytes]:
    """Return an original's segments, and the bytes from its end marker on."""
    segments, position = [], 2
    while (marker := content[position + 1]) != 0xD9:
        end = position + 2 + int.from_bytes(content[position + 2 : position + 4], "big")
        if marker == 0xDA:
            while content[end] != 0xFF or content[end + 1] in (0, *range(0xD0, 0xD8)):
                end += 1
        segments.append((marker, content[position + 2 : end]))
        position = end
    return segments, content[position:]


def joined(segments: list[Segment], tail: bytes) -> bytes:
    """Return the file of some segments."""
    return b"\xff\xd8" + b"".join(bytes((0xFF, marker)) + data for marker, data in segments) + tail


def _bytes_changed(content: bytes, rng: random.Random, _: list[bytes]) -> bytes:
    data = bytearray(content)
    end = content.find(b"\xff\xda") + 14 if rng.random() < 0.7 else len(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        data[rng.randrange(2, max(3, min(end, len(data))))] = _byte(rng)
    return bytes(data)


def _byte(rng: random.Random) -> int:
    return rng.choice((rng.randrange(256), 0, 1, 2, 3, 4, 0x11, 0x22, 0x3F, 0x40, 0xFF, 0xD9, 0xDA))


def _bytes_inserted(content: bytes, rng: random.Random, _: list[bytes]) -> bytes:
    at = rng.randrange(2, len(content))
    some = rng.choice(
        (b"\xff", b"\0", b"\xff\xff", bytes((0xFF, rng.randrange(256))), rng.randbytes(rng.randint(1, 9)))
    )
    return content[:at] + some * rng.choice((1, 1, 3)) + content[at:]


def _bytes_removed(content: bytes, rng: random.Random, _: list[bytes]) -> bytes:
    at = rng.randrange(2, len(content))
    return content[:at] + content[at + rng.choice((1, 1, 2, 7, 40)) :]


def _cut_off(content: bytes, rng: random.Random, _: list[bytes]) -> bytes:
    return content[: rng.randrange(4, len(content))] + rng.choice((b"\xff\xd9", b"\0\xff\xd9", b""))


def _on_segments(change: Callable[[list[Segment], random.Random, list[bytes]], None]) -> Callable[..., bytes]:
    def mutate(content: bytes, rng: random.Random, sources: list[bytes]) -> bytes:
        try:
            segments, tail = split(content)
        except IndexError:  # an earlier mutation has broken it
            return content
        if segments:
            change(segments, rng, sources)
        return joined(segments, tail)

    return mutate


def _place(segments: list[Segment], rng: random.Random) -> int:
    return rng.randrange(len(segments))


def _marker_changed(segments: list[Segment], rng: random.Random, _: list[bytes]) -> None:
    at = _place(segments, rng)
    segments[at] = (rng.randrange(256), segments[at][1])


def _segment_removed(segments: list[Segment], rng: random.Random, _: list[bytes]) -> None:
    del segments[_place(segments, rng)]


def _segment_repeated(segments: list[Segment], rng: random.Random, _: list[bytes]) -> None:
    segments.insert(rng.randint(0, len(segments)), segments[_place(segments, rng)])


def _segments_swapped(segments: list[Segment], rng: random.Random, _: list[bytes]) -> None:
    a, b = _place(segments, rng), _place(segments, rng)
    segments[a], segments[b] = segments[b], segments[a]


def _segment_of_another(segments: list[Segment], rng: random.Random, sources: list[bytes]) -> None:
    other, _ = split(rng.choice(sources))
    segments.insert(rng.randint(0, len(segments)), rng.choice(other))


def _segment_new(segments: list[Segment], rng: random.Random, _: list[bytes]) -> None:
    data = rng.randbytes(rng.choice((0, 1, 2, 3, 6, 12, 17, 65)))
    marker = rng.choice((rng.randrange(1, 256), 0xDD, 0xDC, 0xCC, 0xC8, 0xE1, 0xEE, 0xFE, 0xC4, 0xDB, 0xD8, 0x01, 0xD0))
    segments.insert(rng.randint(0, len(segments)), (marker, struct.pack(">H", len(data) + 2) + data))


def _garbage_behind_a_segment(segments: list[Segment], rng: random.Random, _: list[bytes]) -> None:
    at = _place(segments, rng)
    garbage = rng.choice((rng.randbytes(rng.randint(1, 5)), b"\xff", b"\0", bytes((0xFF, rng.randrange(256)))))
    segments[at] = (segments[at][0], segments[at][1] + garbage)


def _length_changed(segments: list[Segment], rng: random.Random, _: list[bytes]) -> None:
    at = _place(segments, rng)
    marker, data = segments[at]
    length = int.from_bytes(data[:2], "big") + rng.choice((-3, -2, -1, 1, 2, 3, 64, 65, -65, 1000))
    segments[at] = (marker, struct.pack(">H", length % 65536) + data[2:])


def _field_changed(segments: list[Segment], rng: random.Random, _: list[bytes]) -> None:
    """Change a byte of a frame, a scan's header, a table or a restart interval."""
    places = [at for at, (marker, _) in enumerate(segments) if 0xC0 <= marker <= 0xDD or marker in (0xE1, 0xEE)]
    if not places:
        return
    at = rng.choice(places)
    marker, data = segments[at]
    end = min(len(data), int.from_bytes(data[:2], "big"))
    if end > 2:
        where = rng.randrange(2, end)
        segments[at] = (marker, data[:where] + bytes((_byte(rng),)) + data[where + 1 :])


def _frame_changed(segments: list[Segment], rng: random.Random, _: list[bytes]) -> None:
    """Change the sampling factors, the number or the order of the colour components, or the kind of the frame."""
    places = [at for at, (marker, _) in enumerate(segments) if marker in (0xC0, 0xC1, 0xC2)]
    if not places:
        return
    at = rng.choice(places)
    marker, data = segments[at]
    components = [data[8 + 3 * index : 11 + 3 * index] for index in range((len(data) - 8) // 3)]
    for index, component in enumerate(components):
        sampling = rng.choice((component[1:2], bytes((rng.randint(1, 4) << 4 | rng.randint(1, 4),))))
        components[index] = component[:1] + sampling + component[2:]
    if rng.random() < 0.3:
        rng.shuffle(components)
    if rng.random() < 0.2:
        marker = rng.choice((0xC0, 0xC1, 0xC2))
    segments[at] = (marker, data[:8] + b"".join(components))


def _scan_changed(segments: list[Segment], rng: random.Random, _: list[bytes]) -> None:
    """Shuffle, repeat or drop the components of a scan."""
    places = [at for at, (marker, _) in enumerate(segments) if marker == 0xDA]
    if not places:
        return
    at = rng.choice(places)
    marker, data = segments[at]
    length, count = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:3], "big")
    if not count or length != 6 + 2 * count:
        return
    parts = [data[3 + 2 * index : 5 + 2 * index] for index in range(count)]
    parts = rng.choice((parts[::-1], rng.sample(parts, len(parts)), parts[:-1], parts[1:], [*parts, parts[0]]))
    head = struct.pack(">HB", 6 + 2 * len(parts), len(parts))
    segments[at] = (marker, head + b"".join(parts) + data[length - 3 :])


MUTATIONS: tuple[Callable[[bytes, random.Random, list[bytes]], bytes], ...] = (
    _bytes_changed,
    _bytes_changed,
    _bytes_inserted,
    _bytes_removed,
    _cut_off,
    *map(
        _on_segments,
        (
            _marker_changed,
            _segment_removed,
            _segment_repeated,
            _segments_swapped,
            _segment_of_another,
            _segment_new,
            _garbage_behind_a_segment,
            _length_changed,
            _field_changed,
            _field_changed,
            _frame_changed,
            _scan_changed,
        ),
    ),
)
