# SPDX-License-Identifier: Apache-2.0
"""Serve a model until standard input ends; print its addresses, and what this project's client finds in an image.

A program of its own, run in .venv: KServe's packages and Triton's define the same messages, and need another numpy.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.kubernetes.drain.__main__ import MODEL, ROOT, picture
from yolov8_export.config.deployment import Deployment
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer
from yolov8_triton import Client


def main() -> None:
    """Serve, with inference over HTTP open."""
    options = json.loads(sys.argv[1])
    image = Path(sys.argv[2])
    image.write_bytes(picture())
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "repository"
        target = Target(repository=repository, name=MODEL)
        export(ROOT / "tests" / "data" / f"{MODEL}.pt", target, deployment=Deployment(instances=1))
        with TritonServer(repository, http=True) as server, Client(server.grpc_url, model=MODEL) as client:
            found = client.detect(image, **options)
            objects = {"boxes": found.xyxy, "scores": found.confidence, "classes": found.class_id}
            said = {name: array.tolist() for name, array in objects.items()}
            said |= {"model": MODEL, "grpc": server.grpc_url, "http": server.http_url}
            sys.stdout.write(f"{json.dumps(said)}\n")
            sys.stdout.flush()
            sys.stdin.read()


if __name__ == "__main__":
    main()
