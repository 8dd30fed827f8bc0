# SPDX-License-Identifier: Apache-2.0
"""A copy of the project in a temporary folder, in which the commands of the pages run as a reader types them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import cv2
import torch

from tests.clips import clip, numbered
from tests.data import shapes
from tests.fakes.certificates import Authority
from tests.pages import ROOT

LEFT_OUT = (".git", ".venv", "build", "dist", ".*_cache", "__pycache__", "*.egg-info")
NAMES = {0: "person", 1: "bus", 2: "car"}
"""Names of COCO, which the pages use, in place of circle, square and triangle."""

MAKES_OWN = {"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS"}
"""Variables by which a `make` that runs the tests would pass its arguments on to the `make` of a page."""

TIMEOUT_S = 240
# Pages also ask over HTTP and shared memory, which are closed by default; they name the options.
OPTIONS = ["--grpc-port=0", "--http-port=0", "--metrics-port=0", "--http", "--allow=shared-memory"]
SERVERS = ("yolov8-server ", "make serve", "make playground")
"""Commands that run until Ctrl-C begin so."""


class Checkout:
    """A folder with the project's files, an environment and the files that the pages name."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        shutil.copytree(ROOT, self.root, ignore=shutil.ignore_patterns(*LEFT_OUT))
        environment = self.root / ".venv"
        environment.mkdir()
        for entry in Path(sys.prefix).iterdir():
            (environment / entry.name).symlink_to(entry)
        (environment / "ready").unlink(missing_ok=True)
        (environment / "ready").touch()  # newer than the lock: `make setup` has nothing to do
        self._weights = folder / "weights"
        self._done: set[str] = set()
        self._server: subprocess.Popen[str] | None = None
        self.addresses: dict[str, str] = {}
        write_weights(self._weights)
        self.write_files()

    def write_files(self) -> None:
        """Write the files that readers are expected to have: photographs, a video, weights, certificates."""
        scene = shapes.scene(70_000, "detect", size=(480, 640)).image
        (self.root / "photos").mkdir()
        for name in ("bus.jpg", "street.jpg", "PHOTO.jpg", "photos/one.jpg"):
            cv2.imwrite(str(self.root / name), scene)
        clip(self.root / "street.mp4", numbered(5, (120, 160)))
        shutil.copy(self._weights / "yolov8n.pt", self.root / "best.pt")
        mine = Authority(self.root / "authority").issue("me")
        for source, name in ((mine.certificate, "me.pem"), (mine.key, "me.key")):
            shutil.copy(source, self.root / name)
        shutil.copy(self.root / "authority" / "ca.pem", self.root / "ca.pem")

    def run(self, script: str) -> None:
        """Run the commands of a shell block, except those that another page has run already.

        A server among them runs until `close`.
        """
        before = ""
        for line in script.replace("\\\n", " ").splitlines(keepends=True):
            if line in self._done:
                continue
            self._done.add(line)
            if not line.startswith(SERVERS):
                before += line
            elif self._server is None:
                self._bash(before)
                before = ""
                self._start(line)
        self._bash(before)

    def _bash(self, script: str) -> None:
        if not script:
            return
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.here(script)],
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"

    def here(self, text: str) -> str:
        """Return a text with the running server's addresses in place of those that the pages name."""
        for usual, actual in self.addresses.items():
            text = text.replace(usual, actual)
        return text

    def environment(self) -> Mapping[str, str]:
        """Return the environment of a reader who has activated the project's own."""
        variables = {
            **{name: value for name, value in os.environ.items() if name not in MAKES_OWN},
            "PATH": f"{self.root / '.venv' / 'bin'}:{os.environ['PATH']}",
            "YOLOV8_WEIGHTS_DIR": str(self._weights),
            "YOLO_OFFLINE": "true",
            "OMP_NUM_THREADS": "1",
            "ARGS": "--time-factor 0.1",  # of `make loadtest`, the one verb with ARGS that the pages run
        }
        if self.addresses:
            variables["YOLOV8_TRITON_URL"] = self.addresses["localhost:8001"]
        return variables

    def _start(self, line: str) -> None:
        words = line.split()
        words = [*words, *OPTIONS] if words[0] == "yolov8-server" else [*words, f"ARGS={' '.join(OPTIONS)}"]
        self._server = subprocess.Popen(
            words, cwd=self.root, env=self.environment(), stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._server.stdout is not None
        for printed in self._server.stdout:
            match printed.split():
                case ["gRPC", address]:
                    self.addresses["localhost:8001"] = address
                case ["HTTP", address]:
                    self.addresses["localhost:8000"] = address
            if printed.startswith("ready"):
                return
        raise AssertionError(f"{line}: the server ended")

    def close(self) -> None:
        """Stop the server as Ctrl-C does."""
        if self._server is not None:
            with self._server:
                os.killpg(self._server.pid, signal.SIGINT)
                assert self._server.wait(60) == 0


def write_weights(folder: Path) -> None:
    """Write the project's own small network as ``yolov8n.pt``, with class names that the pages use."""
    folder.mkdir()
    checkpoint = torch.load(ROOT / "tests" / "data" / "shapes-detect.pt", weights_only=False)
    checkpoint["model"].names = NAMES
    torch.save(checkpoint, folder / "yolov8n.pt")
