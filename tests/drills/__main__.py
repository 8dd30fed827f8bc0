# SPDX-License-Identifier: Apache-2.0
"""Attack a server in the ways that have ended one, and print what became of it and of its neighbours' calls.

Two servers run. One is attacked; callers of the client who know both must lose nothing. ``make drills`` runs all drills
in full, which takes about an hour; ``--share 0.02`` makes 2 % of the tries.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
from rich.console import Console
from rich.table import Table

from tests.data import shapes
from tests.drills import attacks
from tests.drills.subject import Neighbour, Subject, Watch
from yolov8_export import Target, export
from yolov8_triton import Client

MODEL = "shapes-detect"
WEIGHTS = Path(__file__).parents[1] / "data" / f"{MODEL}.pt"
CALL_TIMEOUT_S = 30.0
BACK_WITHIN_S = LIE_WITHIN_S = 5.0
GROWTH = 1.1

DRILLS: dict[str, tuple[Callable[[Subject, int], int], int]] = {
    "cancellations": (attacks.cancellations, 20_000),
    "closed-channels": (attacks.closed_channels, 15_000),
    "expired-deadlines": (attacks.expired_deadlines, 10_000),
    "fuzzed-images": (attacks.fuzzed_images, 100_000),
    "odd-requests": (attacks.odd_requests, 10_000),
    "http-kills": (attacks.http_kills, 40),
    "large-messages": (attacks.large_messages, 6),
    "overload": (attacks.overload, 6),
    "killed-models": (attacks.killed_models, 50),
    "killed-servers": (attacks.killed_servers, 10),
    "paused-models": (attacks.paused_models, 10),
    "paused-trees": (attacks.paused_trees, 10),
}


@dataclass(frozen=True)
class Result:
    """What a drill showed."""

    name: str
    tried: int
    seconds: float
    restarts: Counter[str]
    outage_s: float
    lie_s: float
    answers: int
    lost: int
    memory_mib: tuple[int, int]

    @property
    def passed(self) -> bool:
        """Return whether nobody lost a call, the server came back in time, and its health did not lie."""
        before, after = self.memory_mib
        kept = after <= before * GROWTH or bool(self.restarts)
        return self.lost == 0 and self.outage_s <= BACK_WITHIN_S and self.lie_s <= LIE_WITHIN_S and kept


def main() -> int:
    """Run the drills of the command line; return 0 if all passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.drills", description=__doc__)
    parser.add_argument("drills", nargs="*", help=f"drills to run (default: all): {', '.join(DRILLS)}")
    parser.add_argument("--share", type=float, default=1.0, help="share of the tries to make (default: 1)")
    options = parser.parse_args()
    if unknown := set(options.drills) - set(DRILLS):
        parser.error(f"no such drill: {', '.join(sorted(unknown))}")
    image = cv2.imencode(".jpg", shapes.scene(90_000, "detect", size=(320, 240)).image)[1].tobytes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export(WEIGHTS, Target(repository=folder / "repository", name=MODEL))
        with Subject(folder / "repository", folder / "other", MODEL, image) as other:
            results = []
            for drill in options.drills or DRILLS:
                with Subject(folder / "repository", folder / drill, MODEL, image) as subject:
                    results.append(run(drill, subject, other, options.share))
                print(results[-1], file=sys.stderr)
    Console(width=200).print(table(results))
    return 0 if all(result.passed for result in results) else 1


def run(name: str, subject: Subject, other: Subject, share: float) -> Result:
    """Run one drill in two passes, so that memory that the second one adds is seen."""
    attack, count = DRILLS[name]
    half = max(1, round(count * share / 2))
    began = time.monotonic()
    tried = before = after = 0
    with (
        Client([subject.grpc_url, other.grpc_url], model=MODEL, timeout_s=CALL_TIMEOUT_S) as client,
        Neighbour(client, subject.image) as neighbour,
        Watch(subject) as watch,
    ):
        try:
            tried = attack(subject, half)
            subject.wait_until_back()
            before = subject.memory_mib()
            tried += attack(subject, half)
            subject.wait_until_back()
            after = subject.memory_mib()
        except TimeoutError as exc:  # the watch has seen it as an outage
            print(f"{name}: {exc}", file=sys.stderr)
    for error in neighbour.errors[:3]:
        print(f"{name}: lost: {error}", file=sys.stderr)
    return Result(
        name=name,
        tried=tried,
        seconds=time.monotonic() - began,
        restarts=Counter(subject.restarts()),
        outage_s=watch.longest_outage_s,
        lie_s=watch.longest_lie_s,
        answers=neighbour.answers,
        lost=len(neighbour.errors),
        memory_mib=(before, after),
    )


def table(results: list[Result]) -> Table:
    """Return the results as a table."""
    columns = [
        "drill",
        "tried",
        "s",
        "restarts",
        "longest outage, s",
        "health untrue, s",
        "neighbour's answers",
        "lost",
    ]
    made = Table(*columns, "MiB after pass 1, 2", "")
    for one in results:
        made.add_row(
            one.name, str(one.tried), f"{one.seconds:.0f}", str(one.restarts.total()), f"{one.outage_s:.1f}",
            f"{one.lie_s:.1f}", str(one.answers), str(one.lost), "{}, {}".format(*one.memory_mib),
            "pass" if one.passed else "FAIL",
        )  # fmt: skip
    return made


if __name__ == "__main__":
    sys.exit(main())
