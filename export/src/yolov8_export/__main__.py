# SPDX-License-Identifier: AGPL-3.0-or-later
"""Run the command line: ``python -m yolov8_export``."""

from yolov8_export.cli import main

main()
