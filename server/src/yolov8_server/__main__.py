# SPDX-License-Identifier: Apache-2.0
"""Run the command line: ``python -m yolov8_server``."""

from ._cli import main

if __name__ == "__main__":
    main()
