# SPDX-License-Identifier: Apache-2.0
"""Serve TorchScript models as Triton's own pytorch backend does, on the CPU or on a GPU.

A Python-based backend: Triton starts one process for each instance of each model whose configuration says
``backend: "pytorch"`` or ``platform: "pytorch_libtorch"``. All requests of a batch go through one run.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# The modules beside this file take precedence over installed ones of the same name.
sys.path.insert(0, str(Path(__file__).parent))

import triton_python_backend_utils as pb_utils
from pytorch_options import Options, read_options  # type: ignore[import-not-found]
from pytorch_refusals import (  # type: ignore[import-not-found]
    RefusedConfigError,
    check_environment,
    check_inputs,
    check_output,
    input_order,
    output_places,
)

DEFAULT_FILENAME = "model.pt"
NOT_INSTALLED = "the embedded pytorch backend needs the package torch: pip install torch"
_TRIAL_RUNS = 2
"""TorchScript records types in its first run, and optimises the graph in the second."""
_DTYPES = {
    "TYPE_BOOL": "bool",
    "TYPE_UINT8": "uint8",
    "TYPE_INT8": "int8",
    "TYPE_INT16": "int16",
    "TYPE_INT32": "int32",
    "TYPE_INT64": "int64",
    "TYPE_FP16": "float16",
    "TYPE_FP32": "float32",
    "TYPE_FP64": "float64",
}


class TritonPythonModel:
    """One instance of a model; Triton finds the class by its name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model, and run it once where its inputs have a fixed shape.

        Raises:
            RefusedConfigError: if Triton's own backend would not serve the model, or this backend can't.
        """
        config = json.loads(args["model_config"])
        check_environment(config)
        options = read_options(config)
        self._torch = _import_torch()
        self._device = _device(self._torch, args)
        _apply(self._torch, options)
        self._inference_mode = options.inference_mode
        self._module = _load(self._torch, _model_path(config, args), self._device)
        arguments = [(item.name, str(item.type)) for item in self._module.forward.schema.arguments[1:]]
        check_inputs(config, arguments)
        self._inputs = input_order(config, [name for name, _ in arguments])
        self._places = output_places(config)
        self._batches = config["max_batch_size"] > 0
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
        outputs = self._run([self._torch.cat(tensors) for tensors in zip(*feeds, strict=True)])
        sizes = [len(feed[0]) for feed in feeds]
        parts = {name: tensor.split(sizes) for name, tensor in outputs.items()}  # views, not copies
        return [self._response({name: part[i] for name, part in parts.items()}) for i in range(len(requests))]

    def _answer(self, request: Any) -> Any:
        try:
            return self._response(self._run(self._feed(request)))
        except Exception as exc:  # noqa: BLE001  (the boundary of one request)
            message = f"PyTorch execute failure: {exc}"
            pb_utils.Logger.log_error(message)
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, pb_utils.TritonError.INTERNAL))

    def _feed(self, request: Any) -> list[Any]:
        """Return the inputs in the order of the arguments; tensors in Triton's memory are not copied."""
        tensors = (pb_utils.get_input_tensor_by_name(request, name) for name in self._inputs)
        return [self._torch.from_dlpack(tensor.to_dlpack()).to(self._device) for tensor in tensors]

    def _run(self, feed: Sequence[Any]) -> dict[str, Any]:
        with self._torch.inference_mode(self._inference_mode), self._torch.no_grad():
            found = self._module(*feed)
        found = found if isinstance(found, tuple) else (found,)
        outputs = {name: found[place].contiguous() for name, place in self._places.items()}
        for name, tensor in outputs.items():
            if self._batches and len(tensor) != len(feed[0]):
                raise ValueError(f"output {name!r} has {len(tensor)} rows for a batch of {len(feed[0])}")
        return outputs

    def _response(self, outputs: dict[str, Any]) -> Any:
        if self._device.type == "cpu":
            return pb_utils.InferenceResponse([pb_utils.Tensor(name, one.numpy()) for name, one in outputs.items()])
        to_dlpack = self._torch.utils.dlpack.to_dlpack
        self._torch.cuda.current_stream().synchronize()  # Triton reads the memory on a stream of its own
        tensors = [pb_utils.Tensor.from_dlpack(name, to_dlpack(one)) for name, one in outputs.items()]
        return pb_utils.InferenceResponse(tensors)

    def _try(self, config: dict[str, Any]) -> None:
        """Run zeros through the module; Triton's own backend would fail at each request what is refused here."""
        feed = self._zeros({tensor["name"]: tensor for tensor in config["input"]})
        if feed is None:
            return
        try:
            with self._torch.inference_mode(self._inference_mode):
                for _ in range(_TRIAL_RUNS):
                    found = self._module(*feed)
        except RuntimeError as exc:
            shapes = [list(tensor.shape) for tensor in feed]
            raise RefusedConfigError(f"the module fails for inputs {shapes}: {str(exc).strip()[-300:]}") from exc
        found = found if isinstance(found, tuple) else (found,)
        shown = [(list(one.shape), str(one.dtype).removeprefix("torch.")) for one in found]
        for tensor in config["output"]:
            check_output(tensor, self._places[tensor["name"]], shown, _DTYPES, batches=self._batches)

    def _zeros(self, declared: dict[str, Any]) -> list[Any] | None:
        """Return inputs of one image, or None if a length varies."""
        shapes = [[1] * self._batches + _dims(declared[name]) for name in self._inputs]
        if any(length < 0 for shape in shapes for length in shape):
            return None
        types = [getattr(self._torch, _DTYPES[declared[name]["data_type"]]) for name in self._inputs]
        made = zip(shapes, types, strict=True)
        return [self._torch.zeros(shape, dtype=dtype, device=self._device) for shape, dtype in made]


def _import_torch() -> Any:
    try:
        import torch  # an optional, large dependency
    except ImportError as exc:
        raise RefusedConfigError(NOT_INSTALLED) from exc
    return torch


def _device(torch: Any, args: dict[str, str]) -> Any:
    if args["model_instance_kind"] != "GPU":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RefusedConfigError("the instance is to run on KIND_GPU, and torch sees no CUDA: serve it with KIND_CPU")
    return torch.device("cuda", int(args["model_instance_device_id"]))


def _apply(torch: Any, options: Options) -> None:
    """Set what torch keeps once for a process; each instance has its own."""
    if options.intra_op_threads > 0:
        torch.set_num_threads(options.intra_op_threads)
    if options.inter_op_threads > 0:
        torch.set_num_interop_threads(options.inter_op_threads)
    torch.backends.cudnn.enabled = options.cudnn
    torch._C._set_graph_executor_optimize(options.optimized)
    if options.jit_profiling is not None:
        torch._C._jit_set_profiling_mode(options.jit_profiling)
    if options.jit_executor is not None:
        torch._C._jit_set_profiling_executor(options.jit_executor)
    if options.tensor_fuser is not None:
        torch._C._jit_set_texpr_fuser_enabled(options.tensor_fuser)


def _load(torch: Any, path: Path, device: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch advises against TorchScript since 2.9; Triton's backend loads it
        return torch.jit.load(str(path), map_location=device)


def _model_path(config: dict[str, Any], args: dict[str, str]) -> Path:
    path = Path(args["model_repository"], args["model_version"], config["default_model_filename"] or DEFAULT_FILENAME)
    if not path.exists():
        raise RefusedConfigError(f"the file {path} does not exist")
    return path


def _dims(declared: dict[str, Any]) -> list[int]:
    return list(declared["reshape"]["shape"] if "reshape" in declared else declared["dims"])
