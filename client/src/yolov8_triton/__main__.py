# SPDX-License-Identifier: Apache-2.0
"""``yolov8-triton`` and ``python -m yolov8_triton``."""

from __future__ import annotations

import sys

from yolov8_triton._extras import extra


def main() -> None:
    """Run the command line, or name the extra that it lacks."""
    try:
        with extra("cli"):
            from yolov8_triton._cli.app import app
    except ImportError as exc:
        sys.stderr.write(f"error: {exc}\n")
        sys.exit(2)
    app(prog_name="yolov8-triton")


if __name__ == "__main__":
    main()
