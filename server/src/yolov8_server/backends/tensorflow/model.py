# SPDX-License-Identifier: Apache-2.0
"""Serve TensorFlow's SavedModels, on the CPU or on a GPU.

A Python-based backend: Triton starts one process for each instance of each model whose configuration says
``backend: "tensorflow"``. Triton's own backend of this name left its images in 25.03. All requests of a batch go
through one run.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# The modules beside this file take precedence over installed ones of the same name.
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import triton_python_backend_utils as pb_utils
from tensorflow_options import Options, read_options  # type: ignore[import-not-found]
from tensorflow_tensors import (  # type: ignore[import-not-found]
    Found,
    RefusedConfigError,
    Source,
    check_environment,
    input_names,
    output_sources,
)

DEFAULT_FILENAME = "model.savedmodel"
NOT_INSTALLED = "the tensorflow backend needs TensorFlow: pip install tensorflow-cpu, or tensorflow[and-cuda] for GPUs"


class TritonPythonModel:
    """One instance of a model; Triton finds the class by its name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model, and run it once where its inputs have a fixed shape.

        Raises:
            RefusedConfigError: if the model can't be served with its configuration.
        """
        config = json.loads(args["model_config"])
        check_environment(config)
        options = read_options(config)
        path = _model_path(config, args)
        self._tf = _import_tensorflow()
        self._device = _prepared_device(self._tf, args, options)
        self._function = _load(self._tf, path, options, self._device)
        self._batches = config["max_batch_size"] > 0
        inputs = self._function.structured_input_signature[1]
        self._inputs = input_names(config, {name: _found(spec) for name, spec in inputs.items()})
        outputs = {name: _found(spec) for name, spec in self._function.structured_outputs.items()}
        self._outputs: Mapping[str, Source] = output_sources(config, outputs)
        self._try(config)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer the requests; Triton has checked that their shapes are equal except for the batch axis."""
        if len(requests) == 1 or not self._batches:
            return [self._answer(request) for request in requests]
        try:
            return self._answer_together(requests)
        except Exception as exc:  # noqa: BLE001  (any error may be caused by one request alone)
            pb_utils.Logger.log_warn(f"a batch of {len(requests)} requests failed, running each alone: {exc}")
            return [self._answer(request) for request in requests]

    def _answer_together(self, requests: Sequence[Any]) -> list[Any]:
        feeds = [self._feed(request) for request in requests]
        outputs = self._run({name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]})
        ends = np.cumsum([len(next(iter(feed.values()))) for feed in feeds])[:-1]
        parts = {name: np.split(array, ends) for name, array in outputs.items()}  # views, not copies
        return [_response({name: part[i] for name, part in parts.items()}) for i in range(len(requests))]

    def _answer(self, request: Any) -> Any:
        try:
            return _response(self._run(self._feed(request)))
        except Exception as exc:  # noqa: BLE001  (the boundary of one request)
            message = f"TensorFlow execute failure: {exc}"
            pb_utils.Logger.log_error(message)
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, pb_utils.TritonError.INTERNAL))

    def _feed(self, request: Any) -> dict[str, Any]:
        """Return the inputs by the model's names."""
        return {
            inner: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name, inner in self._inputs.items()
        }

    def _run(self, feed: Mapping[str, Any]) -> dict[str, Any]:
        with self._tf.device(self._device):
            found = self._function(**{name: self._tf.constant(array) for name, array in feed.items()})
            arrays = {name: source.of(found).numpy() for name, source in self._outputs.items()}
        rows = len(next(iter(feed.values())))
        for name, array in arrays.items():
            if self._batches and len(array) != rows:
                raise ValueError(f"output {name!r} has {len(array)} rows for a batch of {rows}")
        return arrays

    def _try(self, config: Mapping[str, Any]) -> None:
        """Run zeros through the model, since its first run sets up kernels."""
        declared = {tensor["name"]: tensor for tensor in config["input"]}
        shapes = {inner: [1] * self._batches + list(declared[name]["dims"]) for name, inner in self._inputs.items()}
        if any(length < 0 for shape in shapes.values() for length in shape):
            return
        kind = pb_utils.triton_string_to_numpy
        kinds = {inner: kind(declared[name]["data_type"]) for name, inner in self._inputs.items()}
        try:
            self._run({name: np.zeros(shape, kinds[name]) for name, shape in shapes.items()})
        except Exception as exc:  # TensorFlow's errors have several base classes
            raise RefusedConfigError(f"the model fails for inputs {shapes}: {str(exc).strip()[-300:]}") from exc


def _response(outputs: Mapping[str, Any]) -> Any:
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in outputs.items()])


def _found(spec: Any) -> Found:
    return Found(spec.dtype.name, None if spec.shape.rank is None else tuple(spec.shape.as_list()))


def _import_tensorflow() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its notes of CPUs and missing GPUs would fill the server's log
    try:
        import tensorflow as tf  # an optional, large dependency
    except ImportError as exc:
        raise RefusedConfigError(NOT_INSTALLED) from exc
    return tf


def _prepared_device(tf: Any, args: Mapping[str, str], options: Options) -> str:
    """Set what TensorFlow keeps once for a process, and return the device of this instance.

    Each instance has a process of its own. Without growth, the first one would take all memory of a GPU.
    """
    tf.config.threading.set_intra_op_parallelism_threads(options.intra_op_threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.inter_op_threads)
    tf.config.experimental.enable_tensor_float_32_execution(options.tf32)
    gpus = tf.config.list_physical_devices("GPU")
    if args["model_instance_kind"] != "GPU":
        tf.config.set_visible_devices([], "GPU")
        return "/CPU:0"
    number = int(args["model_instance_device_id"])
    if number >= len(gpus):
        raise RefusedConfigError(
            f"the instance is to run on GPU {number}, and TensorFlow sees {len(gpus)}: install tensorflow[and-cuda], "
            "or serve it with KIND_CPU"
        )
    tf.config.set_visible_devices(gpus[number], "GPU")
    tf.config.experimental.set_memory_growth(gpus[number], enable=True)
    return "/GPU:0"


def _load(tf: Any, path: Path, options: Options, device: str) -> Any:
    """Return the signature of a SavedModel, which stays loaded as long as the function is held."""
    try:
        with tf.device(device):
            loaded = tf.saved_model.load(str(path), tags=options.tags)
    except Exception as exc:  # the bytes of a stranger: decoders raise errors of any type
        raise RefusedConfigError(f"{path} can't be loaded as a SavedModel: {str(exc).strip()[:300]}") from exc
    if options.signature not in loaded.signatures:
        names = ", ".join(loaded.signatures) or "none"
        raise RefusedConfigError(f"{path} has no signature {options.signature!r}; its signatures are: {names}")
    function = loaded.signatures[options.signature]
    function.loaded = loaded  # a signature holds no reference to the weights
    return function


def _model_path(config: Mapping[str, Any], args: Mapping[str, str]) -> Path:
    path = Path(args["model_repository"], args["model_version"], config["default_model_filename"] or DEFAULT_FILENAME)
    if not path.is_dir():
        raise RefusedConfigError(f"the folder {path} does not exist; a SavedModel is a folder with saved_model.pb")
    return path
