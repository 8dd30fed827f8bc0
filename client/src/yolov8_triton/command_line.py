# SPDX-License-Identifier: Apache-2.0
"""What command lines of this project share; it needs Typer (``pip install 'yolov8-triton-client[cli]'``)."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from typing import Any

from typer.core import TyperGroup

__all__ = ["CommandLine"]


class CommandLine(TyperGroup):
    """A command line that takes no empty values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse an empty word, as an unset variable of the shell gives; as a path, it means the working directory."""
        for before, word in pairwise([ctx.command_path, *args]):
            if not word or re.fullmatch("--[a-z-]+=", word):
                ctx.fail(f"a value is empty: {shlex.join([before, word])}")
        return super().parse_args(ctx, args)
