# SPDX-License-Identifier: Apache-2.0
"""Measure the processor time that a server with a GPU needs besides its GPU; none is needed here.

    python -m tests.benchmarks.host [--json FILE] [--image photo.jpg]

The ensemble, check and postprocess of the gpu profile run in a real tritonserver. Stand-ins take the places of DALI
and TensorRT: python models that answer with tensors made beforehand. Their own processes are not counted. What
tritonserver does for them is: about what it would do for those. Cases take turns, so that neighbours on the machine
meet all of them; processor time is less sensitive to neighbours than the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
from rich.console import Console
from rich.table import Table

from tests.benchmarks.host.deployment import IMAGE_SHAPE, NETWORK_OUTPUTS, Case, write
from tests.benchmarks.host.measurement import COUNTED, Sample, measure
from tests.data import shapes
from yolov8_server import TritonServer

QUALITY = 99
"""The quality of the drawn JPEG, which then has 133 kB, about as much as a photograph of COCO."""


WIDTH = 110
"""The characters of the table, also where the output is no terminal."""


def main() -> int:
    """Measure, print a table, and write JSON where it is asked for."""
    options = _options()
    image = options.image.read_bytes() if options.image else drawn_image()
    cases = chosen(options)
    console = Console(highlight=False, width=WIDTH)
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            write(Path(folder), case)
        with TritonServer(folder, arguments=options.server_argument) as server:
            samples = rounds(server, cases, image, options)
    report = {
        "image_bytes": len(image),
        "requests": options.requests,
        "in_flight": options.in_flight,
        "load_average": os.getloadavg(),
        "cores": len(os.sched_getaffinity(0)),
        "cases": {name: summary(found) for name, found in samples.items()},
    }
    console.print(table(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help="a JPEG to send (default: a drawn one of 133 kB)")
    parser.add_argument("--requests", type=int, default=600, help="images a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each case (default: %(default)s)")
    parser.add_argument("--in-flight", type=int, default=16, help="requests at a time (default: %(default)s)")
    parser.add_argument("--outputs", nargs="+", choices=NETWORK_OUTPUTS, default=NETWORK_OUTPUTS)
    parser.add_argument(
        "--images",
        nargs="+",
        choices=("fp32", "uint8", "gpu"),
        default=("fp32", "uint8", "gpu"),
        help="the network's input: copied through the host's memory, or not there, as with a GPU (default: all)",
    )
    parser.add_argument("--postprocess-instances", type=int, nargs="+", default=[1], help="processes (default: 1)")
    parser.add_argument("--against", type=Path, help="another checkout: its check and postprocess are measured as well")
    parser.add_argument("--server-argument", action="append", default=[], help="an option of tritonserver")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    return parser.parse_args()


def drawn_image() -> bytes:
    """Return a drawn scene as a JPEG."""
    picture = shapes.scene(1, "detect", size=IMAGE_SHAPE).image
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def chosen(options: argparse.Namespace) -> list[Case]:
    """Return the cases that the options ask for."""
    return [
        Case(
            images=None if images == "gpu" else images,
            network_output=output,
            postprocess_instances=instances,
            code=code,
        )
        for images in options.images
        for output in options.outputs
        for instances in options.postprocess_instances
        for code in ((None, options.against) if options.against else (None,))
    ]


def rounds(
    server: TritonServer, cases: Sequence[Case], image: bytes, options: argparse.Namespace
) -> dict[str, list[Sample]]:
    """Return the samples of each case; the first round warms up and does not count."""
    samples: dict[str, list[Sample]] = {case.name: [] for case in cases}
    for number in range(options.rounds + 1):
        for case in cases:
            found = measure(
                server.pid,
                server.grpc_url,
                case.name,
                image,
                requests=options.requests,
                in_flight=options.in_flight,
            )
            if number:
                samples[case.name].append(found)
    return samples


def summary(samples: Sequence[Sample]) -> dict[str, Any]:
    """Return the medians of the rounds, and the least and the most of all processes together."""
    totals = [sample.server_ms for sample in samples]
    return {
        "server_ms": statistics.median(totals),
        "server_ms_range": [min(totals), max(totals)],
        **{f"{name}_ms": statistics.median(sample.cpu_ms[name] for sample in samples) for name in samples[0].cpu_ms},
        "images_per_s": statistics.median(sample.images_per_s for sample in samples),
    }


def table(report: dict[str, Any]) -> Table:
    """Return the report for people: milliseconds of processor time an image."""
    made = Table(title=f"CPU ms an image of {report['image_bytes'] / 1e3:.0f} kB, {report['in_flight']} in flight")
    made.add_column("input-output-instances", no_wrap=True)
    for heading in ("all", "range", "server", "check", "post", "stand-ins", "img/s"):
        made.add_column(heading, justify="right", no_wrap=True)
    for name, case in report["cases"].items():
        low, high = case["server_ms_range"]
        stand_ins = case["preprocess_ms"] + case["network_ms"]
        figures = [case["server_ms"], *(case[f"{role}_ms"] for role in COUNTED), stand_ins]
        texts = [f"{figure:.2f}" for figure in figures]
        made.add_row(name, texts[0], f"{low:.1f}-{high:.1f}", *texts[1:], f"{case['images_per_s']:.0f}")
    return made


if __name__ == "__main__":
    sys.exit(main())
