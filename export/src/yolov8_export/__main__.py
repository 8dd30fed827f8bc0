# SPDX-License-Identifier: AGPL-3.0-or-later
"""Run the command line: ``python -m yolov8_export``."""

import signal
import sys

from yolov8_export.cli.app import main

# As Ctrl-C does, termination unwinds: what is half written is removed.
signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
main()
