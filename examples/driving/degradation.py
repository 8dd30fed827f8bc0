# SPDX-License-Identifier: Apache-2.0
"""Decide what a vehicle asks about when a camera, the server or the time is lacking; values in, values out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

BAD_SECONDS = 2
"""Bad seconds in a row before less is asked."""
PATIENCE_S, MOST_PATIENCE_S = 5, 60
"""Good seconds in a row before more is asked: at first, and at most after attempts that failed."""
MOST_MISSED = 0.2
"""The largest share of the other cameras' frames that may be missed."""
PROBE_FPS = 1.0


class Mode(Enum):
    """What is asked about, from everything down to almost nothing."""

    NORMAL = "all cameras at their rates"
    REDUCED = "front at its rate, the others at half of theirs"
    FRONT = "the three front cameras alone"
    NO_ANSWERS = "no answers: the front camera once a second"


@dataclass(frozen=True, kw_only=True)
class View:
    """A camera of the vehicle.

    Attributes:
        name: Its name.
        priority: 1 is served first.
        in_front: Whether it is asked about in every mode.
    """

    name: str
    priority: int
    in_front: bool = False


FRONT = View(name="front", priority=1, in_front=True)
VIEWS = (
    FRONT,
    View(name="front_left", priority=2, in_front=True),
    View(name="front_right", priority=2, in_front=True),
    View(name="rear", priority=2),
    View(name="rear_left", priority=3),
    View(name="rear_right", priority=3),
)


def rate(mode: Mode, view: View, fps: float) -> float:
    """Return the frames a second of a camera in a mode; ``fps`` is its rate in the normal one."""
    if mode is Mode.NO_ANSWERS:
        return min(fps, PROBE_FPS) if view is FRONT else 0.0  # six probes at once may overload what is left of a server
    if mode is Mode.NORMAL or view is FRONT:
        return fps
    return fps / 2 if mode is Mode.REDUCED or view.in_front else 0.0


@dataclass(frozen=True, kw_only=True)
class Second:
    """What a second of a drive brought: frames that were answered in time, and frames that were missed."""

    front_answered: int
    front_missed: int
    others_answered: int
    others_missed: int

    @property
    def is_unanswered(self) -> bool:
        """Whether frames were asked about, and none was answered."""
        missed = self.front_missed + self.others_missed
        return self.front_answered + self.others_answered == 0 and missed > 0

    @property
    def problem(self) -> str:
        """What is wrong; empty if nothing is."""
        others = self.others_answered + self.others_missed
        if self.front_missed:
            return f"front missed {self.front_missed} of {self.front_answered + self.front_missed} frames"
        if self.others_missed > MOST_MISSED * others:
            return f"the others missed {self.others_missed} of {others} frames"
        return ""


_LESS = {Mode.NORMAL: Mode.REDUCED, Mode.REDUCED: Mode.FRONT, Mode.FRONT: Mode.FRONT}
_MORE = {Mode.NO_ANSWERS: Mode.FRONT, Mode.FRONT: Mode.REDUCED, Mode.REDUCED: Mode.NORMAL}


class Ladder:
    """The mode of a drive, and why it is so. Less is asked after `BAD_SECONDS`, more after seconds without a problem.

    Each return that fails doubles the wait before the next one, so that a load that is too large does not make the
    mode change all the time.

    Attributes:
        mode: The mode now.
        reason: Why it was entered.
    """

    def __init__(self) -> None:
        self.mode, self.reason = Mode.NORMAL, "start"
        self._patience_s = PATIENCE_S
        self._bad = self._good = 0
        self._has_returned = False

    def after(self, second: Second) -> bool:
        """Take what a second brought; return whether the mode has changed."""
        if second.is_unanswered:
            return self._enter(Mode.NO_ANSWERS, "no frame was answered for a second")
        if second.front_answered + second.others_answered == 0:
            return False
        if self.mode is Mode.NO_ANSWERS:
            return self._enter(_MORE[self.mode], "answers have come back")
        self._bad, self._good = (self._bad + 1, 0) if second.problem else (0, self._good + 1)
        if self._bad >= BAD_SECONDS:
            if self._has_returned:
                self._patience_s = min(2 * self._patience_s, MOST_PATIENCE_S)
            self._has_returned = False
            return self._enter(_LESS[self.mode], second.problem)
        if self._good >= self._patience_s and self.mode is not Mode.NORMAL:
            self._has_returned = True
            return self._enter(_MORE[self.mode], f"{self._good} seconds without a problem")
        if self._good >= MOST_PATIENCE_S:
            self._patience_s = PATIENCE_S
        return False

    def _enter(self, mode: Mode, reason: str) -> bool:
        self._bad = self._good = 0
        if mode is self.mode:
            return False
        self.mode, self.reason = mode, reason
        return True
