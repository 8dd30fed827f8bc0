# SPDX-License-Identifier: AGPL-3.0-or-later
"""Run the command line: ``yolov8-export``, or ``python -m yolov8_export``."""

import signal
import sys

from yolov8_export.cli.app import main as run


def main() -> None:
    """Run the command line; like Ctrl-C, SIGTERM removes what is half written."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    run()


if __name__ == "__main__":
    main()
