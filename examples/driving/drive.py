# SPDX-License-Identifier: Apache-2.0
"""Ask about six cameras of one vehicle: a deadline each, the front first, and less of the rest if time is lacking.

python examples/driving/drive.py --url localhost:8001 --model yolov8n
python examples/driving/drive.py --double-after 10            # the other cameras double their rate after 10 seconds
python examples/driving/drive.py --break rear:5:10            # the rear camera is broken from second 5 to 10
python examples/driving/drive.py --drive FOLDER               # FOLDER/front.mp4, front_left.mp4 and so on

Without --drive, a drawn road is played. Exit codes: 0 the front camera kept its limit, 1 it did not, 3 no such server
or model.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from degradation import FRONT, VIEWS, Ladder, Second, View, rate
from objective import Record, verdict
from road import RoadCamera, drawn, frames_of

from yolov8_triton import Camera, CameraFrames, Client, Detections, RetryPolicy, YoloTritonError, hub

LEVELS = max(view.priority for view in VIEWS)
WARM_UP, WARM_UP_S = "warm-up", 2.0
"""First requests find cold caches and connections; they are not judged."""
FIRST_ANSWER_S = 60.0
SILENT_S = 1.5
"""A camera that should bring frames and brings none for so long is lost."""
REASONS = {"ServerOverloadedError": "dropped by the server", "DeadlineExceededError": "too late at the server"}
COUNTED = ("failed", "dropped", "late")
"""The counts of the hub for frames without an answer."""


@dataclass
class Drive:
    """The state of a drive, which the cameras' threads read: rates, faults and phases."""

    options: argparse.Namespace
    begin: float = field(default_factory=time.monotonic)
    ladder: Ladder = field(default_factory=Ladder)
    records: dict[str, dict[str, Record]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Record)))

    def now_s(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self.begin

    def phase(self) -> str:
        """Return the name of the phase of the drive."""
        if self.now_s() < WARM_UP_S:
            return WARM_UP
        if self.options.double_after is None:
            return "whole drive"
        return "before" if self.now_s() < self.options.double_after else "others doubled"

    def fps(self, view: View) -> float:
        """Return the rate of a camera at this moment."""
        fps: float = self.options.fps if view is FRONT else self.options.others_fps
        if view is not FRONT and self.phase() == "others doubled":
            fps *= 2
        return fps if self.options.no_degradation else rate(self.ladder.mode, view, fps)

    def is_broken(self, view: View) -> bool:
        """Tell whether a camera is broken at this moment."""
        return any(name == view.name and since <= self.now_s() < until for name, since, until in self.options.faults)

    def cameras(self) -> list[Camera]:
        """Return the vehicle's cameras for the hub, which opens one again when it has failed."""
        return [self._camera(view) for view in VIEWS]

    def _camera(self, view: View) -> Camera:
        frames = frames_of(view.name, self.options.drive)
        return Camera(
            name=view.name,
            source=lambda: RoadCamera(frames, lambda: self.fps(view), lambda: self.is_broken(view)),
            priority=view.priority,
            deadline_s=self.options.deadline_ms / 1e3 * (1 if view is FRONT else 2),
        )


def listen(frames: CameraFrames[Detections], drive: Drive) -> None:
    """Take the answers; a planner would take the objects here."""
    for frame in frames:
        record = drive.records[drive.phase()][frame.camera]
        if frame.error is not None:
            name = type(frame.error).__name__
            record.missed[REASONS.get(name, name)] += 1
        else:
            record.ages_s.append(frame.age_s)
            record.objects += len(frame.result)


class Seconds:
    """Reads the hub's statistics once a second."""

    def __init__(self, frames: CameraFrames[Detections], drive: Drive) -> None:
        self._frames, self._drive = frames, drive
        self._before = frames.statistics()
        self._lost: dict[str, str] = {}

    def next(self) -> Second:
        """Return what happened since the last call, and record the frames that were never sent."""
        now = self._frames.statistics()
        answered, missed = {}, {}
        for name, after in now.items():
            before = self._before[name]
            answered[name] = after.answered - before.answered
            counts = {kind: getattr(after, kind) - getattr(before, kind) for kind in COUNTED}
            missed[name] = sum(counts.values())
            record = self._drive.records[self._drive.phase()][name]
            record.missed["replaced by a newer one"] += counts["dropped"]
            record.missed["too late to send"] += counts["late"]
        self._before = now
        front = FRONT.name
        return Second(
            front_answered=answered.pop(front),
            front_missed=missed.pop(front),
            others_answered=sum(answered.values()),
            others_missed=sum(missed.values()),
        )

    def lost_and_found(self) -> list[str]:
        """Return a line for each camera that was lost or came back."""
        lines = []
        for view in VIEWS:
            state, fps = self._before[view.name], self._drive.fps(view)
            is_lost = fps > 0 and state.silence_s > SILENT_S + 1 / fps
            if is_lost and view.name not in self._lost:
                self._lost[view.name] = state.message or "it brings no frames"
                lines.append(f"camera {view.name} is lost: {self._lost[view.name]}")
            elif not is_lost and fps > 0 and self._lost.pop(view.name, None) is not None:
                lines.append(f"camera {view.name} is back")
        return lines

    @property
    def lost(self) -> list[str]:
        """The names of the lost cameras."""
        return sorted(self._lost)


def run(frames: CameraFrames[Detections], drive: Drive) -> None:
    """Watch the drive until it ends: say each second what happens, and change the mode where it is needed."""
    threading.Thread(target=listen, args=(frames, drive), daemon=True).start()
    seconds = Seconds(frames, drive)
    while (now_s := drive.now_s()) < drive.options.seconds:
        time.sleep(min(1.0, drive.options.seconds - now_s))
        second = seconds.next()
        for line in seconds.lost_and_found():
            say(drive, line)
        judged = now_s > WARM_UP_S and not drive.options.no_degradation
        if judged and drive.ladder.after(second):
            say(drive, f"state {drive.ladder.mode.name}, {drive.ladder.mode.value}: {drive.ladder.reason}")
        lost = f", without {', '.join(seconds.lost)}" if seconds.lost else ""
        front = f"front {second.front_answered} answered, {second.front_missed} missed"
        others = f"others {second.others_answered} answered, {second.others_missed} missed"
        say(drive, f"{drive.ladder.mode.name}{lost}: {front}; {others}")


def say(drive: Drive, line: str) -> None:
    """Print a line with the time of the drive."""
    print(f"{drive.now_s():5.1f} s  {line}", flush=True)


def report(drive: Drive) -> bool:
    """Print what became of all frames; return whether the front camera kept its limit in each phase."""
    verdicts = []
    for phase, records in drive.records.items():
        if phase == WARM_UP:
            continue
        for view in VIEWS:
            records[view.name].missed += Counter()  # zeros are not shown
            print(f"{phase}: {view.name}: {records[view.name]}")
        verdicts.append(verdict(phase, records[FRONT.name], drive.options.slo_ms / 1e3))
    for _, line in verdicts:
        print(line)
    return bool(verdicts) and all(kept for kept, _ in verdicts)


def fault(text: str) -> tuple[str, float, float]:
    """Parse a fault such as ``rear:5:10``."""
    known = [view.name for view in VIEWS]
    name, *times = text.split(":")
    try:
        since, until = map(float, times)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected CAMERA:FROM:TO such as rear:5:10, got {text!r}") from None
    if name not in known:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(known)}, got {name!r}")
    return name, since, until


def recordings(text: str) -> Path:
    """Parse a folder that has a video for each camera."""
    try:
        for view in VIEWS:
            frames_of(view.name, Path(text))
    except OSError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None
    return Path(text)


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", action="append", help="server, repeatable (localhost:8001)")
    parser.add_argument("--model", default="yolov8n")
    parser.add_argument("--drive", type=recordings, help="folder with a video for each camera")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the drive")
    parser.add_argument("--fps", type=float, default=10.0, help="rate of the front camera")
    parser.add_argument("--others-fps", type=float, default=5.0, help="rate of each other camera")
    parser.add_argument("--deadline-ms", type=float, default=200.0, help="of the front camera; the others have twice")
    parser.add_argument("--slo-ms", type=float, default=200.0, help="limit for the front camera's p99")
    parser.add_argument("--double-after", type=float, metavar="SECONDS", help="when the others double their rate")
    parser.add_argument(
        "--break",
        dest="faults",
        type=fault,
        action="append",
        default=[],
        metavar="CAMERA:FROM:TO",
        help=f"let a camera fail between two seconds; cameras: {', '.join(view.name for view in VIEWS)}",
    )
    parser.add_argument("--no-degradation", action="store_true", help="ask for everything, whatever happens")
    return parser.parse_args()


def main() -> int:
    """Run the example."""
    options = parsed()
    # One pause is all that a deadline of some hundred milliseconds has room for.
    retry = RetryPolicy(attempts=2, first_pause_s=0.02, longest_pause_s=0.02)
    with Client(options.url or ["localhost:8001"], model=options.model, retry=retry) as client:
        try:
            levels = client.info().priority_levels
            client.detect(drawn(FRONT.name)[0], channels="BGR", timeout_s=FIRST_ANSWER_S)
        except YoloTritonError as exc:
            print(f"error: {exc}\nto see what is there: yolov8-triton doctor", file=sys.stderr)
            return 3
        if levels < LEVELS:
            wanted = f"yolov8-export export WEIGHTS --priority-levels {LEVELS}"
            print(f"note: {options.model!r} has {levels} priority levels; for the front first at the server: {wanted}")
        drive = Drive(options)
        cameras = drive.cameras()
        # The server chooses which request is next, so each camera may have its requests there.
        in_flight = sum(camera.in_flight for camera in cameras)
        reconnect = RetryPolicy(first_pause_s=0.2, longest_pause_s=1.0)
        with hub(client.detect, cameras, in_flight=in_flight, reconnect=reconnect) as frames:
            drive.begin = time.monotonic()
            try:
                run(frames, drive)
            except KeyboardInterrupt:
                print("interrupted: the figures so far", file=sys.stderr)
    return 0 if report(drive) else 1


if __name__ == "__main__":
    sys.exit(main())
