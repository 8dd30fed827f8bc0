# SPDX-License-Identifier: Apache-2.0
"""Measure a served model: the network alone, the ensemble, and each composing model's share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton

from yolov8_triton import Client

SECONDS = 5.0
IN_FLIGHT = 16


def rate(work: Callable[[int], int], *, workers: int, seconds: float = SECONDS) -> float:
    """Return images a second; ``work`` takes the number of its call and returns how many images it has done."""
    work(0)
    begin = time.perf_counter()

    def repeat(worker: int) -> int:
        done = calls = 0
        while time.perf_counter() - begin < seconds:
            done += work(worker + workers * calls)
            calls += 1
        return done

    with ThreadPoolExecutor(workers) as pool:
        images = sum(pool.map(repeat, range(workers)))
    return images / (time.perf_counter() - begin)


def network_alone(url: str, model: str, *, seconds: float = SECONDS) -> dict[str, float]:
    """Return images a second of the network's own model, for a batch of 1 and its largest batch."""
    with triton.InferenceServerClient(url) as asked:
        config = asked.get_model_config(f"{model}_network").config
        tensor = asked.get_model_metadata(f"{model}_network").inputs[0]
        rates = {}
        for batch in sorted({1, max(1, config.max_batch_size)}):
            array = np.zeros((batch, *(int(dim) for dim in tensor.shape[1:])), _dtype(tensor.datatype))
            given = triton.InferInput(tensor.name, list(array.shape), tensor.datatype)
            given.set_data_from_numpy(array)

            def infer(_: int, given: Any = given, batch: int = batch) -> int:
                asked.infer(f"{model}_network", [given])
                return batch

            rates[f"batch {batch}"] = rate(infer, workers=2, seconds=seconds)
    return rates


def _dtype(name: str) -> Any:
    return {"FP32": np.float32, "FP16": np.float16, "UINT8": np.uint8}[name]


def ensemble(url: str, model: str, task: str, images: Sequence[Path], *, seconds: float = SECONDS) -> dict[str, Any]:
    """Return images a second with many in flight, and a request's milliseconds in each composing model."""
    contents = [path.read_bytes() for path in images]
    before = statistics(url, model)
    with Client(url, model=model, timeout_s=120) as client:
        ask = getattr(client, task)

        def detect(call: int) -> int:
            ask(contents[call % len(contents)])
            return 1

        images_per_second = rate(detect, workers=IN_FLIGHT, seconds=seconds)
    after = statistics(url, model)
    stages = {}
    for stage, now in after.items():
        change = {key: value - before[stage][key] for key, value in now.items()}
        count = max(change["images"], 1)
        milliseconds = {key: change[key] / 1e6 / count for key in ("queue", "input", "compute", "output")}
        stages[stage] = milliseconds | {"batch": change["images"] / max(change["executions"], 1)}
    return {"images_per_second": images_per_second, "in_flight": IN_FLIGHT, "stages": stages}


def statistics(url: str, model: str) -> dict[str, dict[str, int]]:
    """Return counts and nanoseconds of each composing model, by the end of its name.

    Triton counts a batch's whole time for each of its requests: a mean is a latency, and not the cost of one image.
    """
    found = {}
    with triton.InferenceServerClient(url) as asked:
        for entry in asked.get_inference_statistics().model_stats:
            if entry.name.startswith(f"{model}_"):
                times = entry.inference_stats
                found[entry.name.removeprefix(f"{model}_")] = {
                    "images": entry.inference_count,
                    "executions": entry.execution_count,
                    "queue": times.queue.ns,
                    "input": times.compute_input.ns,
                    "compute": times.compute_infer.ns,
                    "output": times.compute_output.ns,
                }
    return found
