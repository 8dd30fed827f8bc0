# SPDX-License-Identifier: Apache-2.0
"""The files that the door serves: the page of this package, and the pictures of a folder."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent.parent / "playground"

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
PICTURES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
}
MAX_PICTURES = 24

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Header fields of every answer; `docker/nginx/playground-on.conf` has the same."""


class File(NamedTuple):
    """A file to serve, as it is and compressed with gzip, and its media type."""

    content: bytes
    compressed: bytes
    media_type: str


def page_files() -> dict[str, File]:
    """Return the page's files by their names; the empty name is the page itself."""
    paths = [path for path in sorted(FOLDER.iterdir()) if path.suffix in TYPES]
    files = {path.name: _file(path.read_bytes(), TYPES[path.suffix]) for path in paths}
    return {"": files["index.html"], **files}


def _file(content: bytes, media_type: str) -> File:
    return File(content, gzip.compress(content, mtime=0), media_type)


def pictures(folder: Path | None) -> dict[str, Path]:
    """Return the pictures directly in a folder, by their names; without those that are links or hidden."""
    if folder is None:
        return {}
    return {
        path.name: path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in PICTURES and path.is_file() and not path.is_symlink() and path.name[0] != "."
    }
