# SPDX-License-Identifier: AGPL-3.0-or-later
"""Check that a plan takes the batches that its configuration promises, as far as the note beside it tells.

Whether it fits the GPU and the TensorRT of a server, only that server knows: ``build_plans.py --check`` asks it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_export.findings import Finding


def plan_findings(path: Path, config: pb.ModelConfig, model: Path) -> Iterator[Finding]:
    """Check the plans that a network's configuration names, where there are any.

    Args:
        path: The configuration's.
        config: Of the network.
        model: The network's folder.
    """
    if config.backend != "tensorrt":
        return
    plan = Path(config.default_model_filename)
    # As build_plans.py names it: plan.json of model.plan, plan-l4.json of model-l4.plan.
    for note in sorted(model.glob(f"*/plan{plan.stem.removeprefix('model')}.json")):
        try:
            said: Any = json.loads(note.read_text(encoding="utf-8"))
            batch = int(said["max_batch_size"])
        except (OSError, ValueError, KeyError, TypeError):
            yield Finding(note, "is malformed, so that nothing tells what the plan was built for", "build it anew")
            continue
        if batch < config.max_batch_size:
            problem = f"max_batch_size is {config.max_batch_size}, {note.parent / plan} takes {batch}"
            yield Finding(path, problem, "build it anew: docker/build_plans.py")
