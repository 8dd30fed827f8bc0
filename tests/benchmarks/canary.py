# SPDX-License-Identifier: Apache-2.0
"""How soon a canary finds a damaged network, and whether it ever takes an equal one for damaged.

    python -m tests.benchmarks.canary damaged [--seeds 8] [--points 1] [--images 500]
    python -m tests.benchmarks.canary equal [--images 10000]

`damaged`: noise is added to the weights of this project's small detector until its mAP50-95 on held-out scenes has
fallen by so many points, with another noise for each seed. The canary then compares each damaged network with the sound
one on scenes that neither has seen. `equal`: the same network under another name, and the same with its weights rounded
to bfloat16, are compared over all images, without an end at the verdict. Both ask a real server.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch

from tests.data.dataset import dataset_scene
from tests.data.figures import HELD_OUT
from tests.networks import Network
from yolov8_contract.parameters import RequestParameters
from yolov8_export import Deployment, Target, export
from yolov8_export.precision.objects import Objects
from yolov8_export.precision.truth import Truth
from yolov8_server import TritonServer
from yolov8_triton import Client, ModelControl
from yolov8_triton._canary.comparison import Comparison
from yolov8_triton._canary.mirror import judged
from yolov8_triton._in_flight import ahead

WEIGHTS = Path(__file__).parents[1] / "data" / "shapes-detect.pt"
OLD, KEY, IMGSZ = "shapes-detect", "drill", (160, 160)
LABELS = 3
STREAM = 3_000_000
"""The first seed of the scenes that the canary sees; neither training nor the measurement of mAP has seen them."""
TOLERANCE = 0.1
"""How far the fall of mAP may be from the one that was asked for, in points."""
TRIES, GREATEST_NOISE = 14, 0.04
IN_FLIGHT = 4


def noisy(target: Path, *, share: float, seed: int) -> Path:
    """Write a checkpoint with noise on each tensor of weights, by a share of the tensor's own deviation."""
    checkpoint = torch.load(WEIGHTS, map_location="cpu", weights_only=False)
    generator = torch.Generator().manual_seed(seed)
    for parameter in checkpoint["model"].parameters():
        if parameter.dim() == 4:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data += (share * parameter.data.float().std() * noise).to(parameter.dtype)
    torch.save(checkpoint, target)
    return target


def rounded(target: Path) -> Path:
    """Write a checkpoint whose weights have 8 bits of precision, as those of a network of lower precision."""
    checkpoint = torch.load(WEIGHTS, map_location="cpu", weights_only=False)
    for parameter in checkpoint["model"].parameters():
        parameter.data = parameter.data.bfloat16().to(parameter.dtype)
    torch.save(checkpoint, target)
    return target


def annotations(folder: Path) -> Truth:
    """Write what is in the held-out scenes, as COCO annotations."""
    images, objects = [], []
    for seed in HELD_OUT:
        drawn = dataset_scene(seed, "detect")
        images.append({"id": seed, "file_name": str(seed)})
        for shape in drawn.shapes:
            x1, y1, x2, y2 = shape.xyxy.tolist()
            objects.append({"image_id": seed, "category_id": shape.class_id, "bbox": [x1, y1, x2 - x1, y2 - y1]})
    path = folder / "truth.json"
    categories = [{"id": number, "name": str(number)} for number in range(LABELS)]
    path.write_text(json.dumps({"images": images, "categories": categories, "annotations": objects}))
    return Truth(path)


def mean_average_precision(weights: Path, truth: Truth) -> float:
    """Return mAP50-95 on the held-out scenes, in points."""
    network, found = Network(weights, IMGSZ), {}
    for seed in HELD_OUT:
        boxes = network.predict(dataset_scene(seed, "detect").image, RequestParameters(conf=0.001)).boxes
        found[str(seed)] = Objects(
            boxes=boxes.xyxy.numpy(),
            scores=boxes.conf.numpy(),
            classes=boxes.cls.numpy().astype(np.int32),
            shape=boxes.orig_shape,
        )
    return 100 * truth.mean_average_precision(found, "bbox")


def damaged(target: Path, truth: Truth, sound: float, *, points: float, seed: int) -> float:
    """Write a checkpoint whose mAP is lower by so many points; return by how many it is."""
    low, high, loss = 0.0, GREATEST_NOISE, 0.0
    for _ in range(TRIES):
        share = (low + high) / 2
        loss = sound - mean_average_precision(noisy(target, share=share, seed=seed), truth)
        if abs(loss - points) <= TOLERANCE:
            break
        low, high = (share, high) if loss < points else (low, share)
    return loss


def scenes(first: int, count: int) -> Iterator[bytes]:
    """Yield new scenes as files."""
    for seed in range(first, first + count):
        yield cv2.imencode(".png", dataset_scene(seed, "detect").image)[1].tobytes()


def compared(url: str, new: str, images: Iterable[bytes], *, until: Callable[[Comparison], bool]) -> Comparison:
    """Compare two models until a condition holds or the images end."""
    with Client(url, model=OLD, timeout_s=60) as first, Client(url, model=new, timeout_s=60) as second:
        comparison = Comparison(task=first.task, labels=first.labels)
        answers = ahead(lambda image: judged(second, image, first.detect(image), {}), images, IN_FLIGHT)
        with closing(answers):
            for change in answers:
                assert change != "dropped", "the server was too busy for a comparison"
                comparison.add(change)
                if until(comparison):
                    break
    return comparison


@contextmanager
def served(models: Mapping[str, Path]) -> Iterator[str]:
    """Serve the sound network and others; yield the server's address."""
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "repository"
        for name, weights in {OLD: WEIGHTS, **models}.items():
            export(weights, Target(repository=repository, name=name), deployment=Deployment(instances=1))
        with TritonServer(repository, model_control=True, admin_key=KEY) as server:
            yield server.grpc_url


def run_damaged(options: argparse.Namespace) -> bool:
    """Print a line for each damaged network; return whether each was found in time."""
    sound_all, counts = True, []
    with tempfile.TemporaryDirectory() as folder:
        truth = annotations(Path(folder))
        sound = mean_average_precision(WEIGHTS, truth)
        print(f"mAP50-95 of the sound network: {sound:.2f}", flush=True)
        losses, models = {}, {}
        for seed in range(options.seeds):
            target = Path(folder) / f"{seed}.pt"
            losses[f"damaged-{seed}"] = damaged(target, truth, sound, points=options.points, seed=seed)
            models[f"damaged-{seed}"] = target
        with served(models) as url, ModelControl(url, key=KEY) as control:
            for seed, (name, loss) in enumerate(losses.items()):
                images = scenes(STREAM + seed * options.images, options.images)
                result = compared(url, name, images, until=lambda one: one.verdict != "undecided")
                control.unload(name)
                print(f"{name}: mAP fell by {loss:.2f}; {shown(result)}", flush=True)
                sound_all &= result.verdict == "roll back"
                counts.append(result.images + result.failed)
    print(f"images until the verdict: median {np.median(counts):.0f}, most {max(counts)}")
    return sound_all


def run_equal(options: argparse.Namespace) -> bool:
    """Print a line for each equal network; return whether none was ever rolled back."""
    good = True
    with tempfile.TemporaryDirectory() as folder:
        models = {"rounded": rounded(Path(folder) / "rounded.pt"), "same": WEIGHTS}
        truth = annotations(Path(folder))
        found = {name: mean_average_precision(weights, truth) for name, weights in models.items()}
        with served(models) as url:
            for name in models:
                first: list[int] = []

                def beyond(one: Comparison, name: str = name, first: list[int] = first) -> bool:
                    if not first and one.verdict == "promote":
                        first.append(one.images)
                    if one.images % 1000 == 0:
                        print(f"{name}: {one.verdict} after {one.images} images", flush=True)
                    return one.verdict == "roll back"

                result = compared(url, name, scenes(STREAM, options.images), until=beyond)
                promoted = f"first promoted after {first[0]}" if first else "never promoted"
                print(f"{name}: mAP50-95 {found[name]:.2f}; {shown(result)}; {promoted}", flush=True)
                good &= result.verdict != "roll back" and result.images == options.images
    return good


def shown(comparison: Comparison) -> str:
    values = comparison.to_dict()
    means = ", ".join(f"{name} {one['mean']}" for name, one in values["measures"].items())
    reasons = "; ".join(values["reasons"])
    return f"{values['verdict']} after {values['images']} images ({means}) {reasons}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("damaged", "equal"))
    parser.add_argument("--images", type=int, help="images for each comparison; 500, or 10000 for equal")
    parser.add_argument("--seeds", type=int, default=8, help="damaged networks")
    parser.add_argument("--points", type=float, default=1.0, help="fall of mAP50-95, of 100 points")
    options = parser.parse_args()
    options.images = options.images or (500 if options.what == "damaged" else 10_000)
    if min(options.images, options.seeds) < 1 or options.points <= 0:
        parser.error("expected --images and --seeds of 1 or more, and --points above 0")
    sound = run_damaged(options) if options.what == "damaged" else run_equal(options)
    raise SystemExit(None if sound else "a damaged network was not found, or an equal one was rolled back")


if __name__ == "__main__":
    main()
