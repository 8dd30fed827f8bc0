# SPDX-License-Identifier: Apache-2.0
"""Run batches through the execution contexts of a plan.

Inputs are copied into buffers on the GPU that stay at one address, as CUDA graphs need. Outputs are views of such
buffers, which the next run overwrites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import cupy
from tensorrt_options import GraphSize, Options, RefusedConfigError  # type: ignore[import-not-found]  # neighbours, see model.py
from tensorrt_plan import Plan  # type: ignore[import-not-found]
from tensorrt_refusals import TYPES, PlanTensor, config_dims  # type: ignore[import-not-found]

Shape = tuple[int, ...]


class Limits(NamedTuple):
    """The least, the best and the largest shape of an input in a profile."""

    least: Shape
    best: Shape
    most: Shape

    def distance(self, shape: Shape) -> int | None:
        """Return how far a shape is from the best one; None if it is outside of the limits."""
        if any(not low <= size <= high for low, size, high in zip(self.least, shape, self.most, strict=True)):
            return None
        return sum(abs(best - size) for best, size in zip(self.best, shape, strict=True))


class Graph(NamedTuple):
    """A CUDA graph of a run with these shapes; it also serves batches from ``lowest`` rows on."""

    lowest: int
    shapes: dict[str, Shape]
    cuda: Any

    def serves(self, shapes: Mapping[str, Shape], *, batches: bool) -> bool:
        """Return whether the graph can take inputs of these shapes."""
        if not batches:
            return shapes == self.shapes
        return all(
            self.lowest <= shape[0] <= self.shapes[name][0] and shape[1:] == self.shapes[name][1:]
            for name, shape in shapes.items()
        )


class Context:
    """An execution context with its profile and its CUDA graphs."""

    def __init__(self, trt_context: Any, limits: Mapping[str, Limits]) -> None:
        self.trt = trt_context
        self.limits = limits
        self.graphs: list[Graph] = []  # the smallest batch first

    def distance(self, shapes: Mapping[str, Shape]) -> int | None:
        """Return how far the shapes are from the profile's best; None if the profile can't run them."""
        distances = [self.limits[name].distance(shape) for name, shape in shapes.items()]
        return None if None in distances else sum(filter(None, distances))

    def set_shapes(self, shapes: Mapping[str, Shape]) -> None:
        """Set the shapes of all inputs.

        Raises:
            ValueError: TensorRT refuses one.
        """
        for name, shape in shapes.items():
            if not self.trt.set_input_shape(name, shape):
                raise ValueError(f"TensorRT refuses the shape {list(shape)} for input {name!r}")


class Runner:
    """A plan's contexts on one GPU, with their buffers."""

    def __init__(self, plan: Plan, config: Mapping[str, Any], options: Options) -> None:
        """Create a context for each profile, the buffers and the CUDA graphs.

        Raises:
            RefusedConfigError: if the plan has no such profile, or it can't run the configuration's shapes.
        """
        self._plan = plan
        self._batches = config["max_batch_size"] > 0
        # Without this flag, CUDA's legacy stream, on which tensors of other processes are copied, would wait for it.
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._tensors: dict[str, PlanTensor] = {tensor.name: tensor for tensor in plan.tensors()}
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]
        strategy = options.strategy
        self._contexts = [
            Context(plan.context(profile, strategy, self._stream.ptr), self._limits(profile))
            for profile in options.profiles
        ]
        self._stream.synchronize()
        largest = [self._largest_shapes(config, context) for context in self._contexts]
        self._buffers = self._allocated(largest)
        for graph in options.graphs:
            for context, shapes in zip(self._contexts, largest, strict=True):
                self._capture(context, shapes, graph)

    def run(self, requests: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], list[int]]:
        """Run the requests as one batch.

        Args:
            requests: The arrays of each request by input, of numpy or cupy.

        Returns:
            The output arrays, valid until the next run, and the number of rows of each request.

        Raises:
            ValueError: No profile takes the shapes.
            RuntimeError: TensorRT or CUDA failed.
        """
        counts = [len(request[self._inputs[0]]) if self._batches else 1 for request in requests]
        shapes = {name: requests[0][name].shape for name in self._inputs}
        if self._batches:
            shapes = {name: (sum(counts), *shape[1:]) for name, shape in shapes.items()}
        context = self._nearest(shapes)
        graph = next((graph for graph in context.graphs if graph.serves(shapes, batches=self._batches)), None)
        context.set_shapes(shapes if graph is None else graph.shapes)
        with self._stream:
            for name in self._inputs:
                self._fill(name, [request[name] for request in requests])
            if graph is None:
                self._enqueue(context)
            else:
                graph.cuda.launch(self._stream)
        self._stream.synchronize()
        outputs = {name: self._view(name, tuple(context.trt.get_tensor_shape(name))) for name in self._outputs}
        return {name: array[: sum(counts)] if self._batches else array for name, array in outputs.items()}, counts

    def _limits(self, profile: int) -> dict[str, Limits]:
        shapes = {name: self._plan.engine.get_tensor_profile_shape(name, profile) for name in self._inputs}
        return {name: Limits(*map(tuple, found)) for name, found in shapes.items()}

    def _largest_shapes(self, config: Mapping[str, Any], context: Context) -> dict[str, Shape]:
        """Return the largest shapes that requests can have; the configuration's dims limit the profile's."""
        shapes = {}
        for declared in config["input"]:
            name, limits = declared["name"], context.limits[declared["name"]]
            dims = ([min(config["max_batch_size"], limits.most[0])] if self._batches else []) + config_dims(declared)
            shape = tuple(most if dim < 0 else dim for dim, most in zip(dims, limits.most, strict=True))
            for axis, size in enumerate(shape):
                if not limits.least[axis] <= size <= limits.most[axis] and not (self._batches and axis == 0):
                    raise RefusedConfigError(
                        f"model configuration specified invalid shape for input {name!r}: model expected the shape of "
                        f"dimension {axis} to be between {limits.least[axis]} and {limits.most[axis]} but received "
                        f"{size}"
                    )
            if self._batches and shape[0] < limits.least[0]:
                shape = (limits.least[0], *shape[1:])  # this profile is never the nearest
            shapes[name] = shape
        return shapes

    def _allocated(self, shapes: Sequence[Mapping[str, Shape]]) -> dict[str, Any]:
        """Return a flat buffer for each tensor, and give its address to all contexts."""
        sizes = dict.fromkeys(self._tensors, 1)
        for context, largest in zip(self._contexts, shapes, strict=True):
            context.set_shapes(largest)
            if missing := context.trt.infer_shapes():
                raise RefusedConfigError(f"failed to specify the dimensions of all input tensors: {', '.join(missing)}")
            for name in self._tensors:
                shape = tuple(context.trt.get_tensor_shape(name))
                if min(shape, default=0) < 0:
                    raise RefusedConfigError(
                        f"output {name!r}: its shape depends on data, which the embedded tensorrt backend does not "
                        "serve"
                    )
                sizes[name] = max(sizes[name], prod(shape))
        # CUDA graphs of one size may be run for fewer rows; nothing that was left there by chance is read.
        buffers = {name: cupy.zeros(size, TYPES[self._tensors[name].dtype][1]) for name, size in sizes.items()}
        for context in self._contexts:
            for name, buffer in buffers.items():
                context.trt.set_tensor_address(name, buffer.data.ptr)
        return buffers

    def _nearest(self, shapes: Mapping[str, Shape]) -> Context:
        distances = [(context.distance(shapes), context) for context in self._contexts]
        fitting = [(distance, context) for distance, context in distances if distance is not None]
        if not fitting:
            limits = [{name: (limit.least, limit.most) for name, limit in context.limits.items()}
                      for context in self._contexts]  # fmt: skip
            raise ValueError(f"no optimization profile takes the shapes {dict(shapes)}: they take {limits}")
        return min(fitting, key=lambda pair: pair[0])[1]

    def _fill(self, name: str, arrays: Sequence[Any]) -> None:
        """Copy the requests' arrays into an input's buffer, one behind the other."""
        buffer, start = self._buffers[name], 0
        for array in arrays:
            target = buffer[start : start + array.size]
            if isinstance(array, cupy.ndarray):
                whole = cupy.ascontiguousarray(array)
                target.data.copy_from_device_async(whole.data, whole.nbytes, self._stream)
            else:
                target.set(array.reshape(-1), stream=self._stream)
            start += array.size

    def _enqueue(self, context: Context) -> None:
        if not context.trt.execute_async_v3(self._stream.ptr):
            raise RuntimeError(f"unable to enqueue for inference: {self._plan.log.error}")

    def _capture(self, context: Context, largest: Mapping[str, Shape], wanted: GraphSize) -> None:
        """Record a batch size as a CUDA graph. Where the profile can't run it, or TensorRT can't, there is none."""
        shapes = {name: (wanted.size, *shape[1:]) if self._batches else shape for name, shape in largest.items()}
        if context.distance(shapes) is None:
            return
        try:
            context.set_shapes(shapes)
            with self._stream:
                self._enqueue(context)  # TensorRT prepares itself for new shapes, which can't be captured
                self._stream.synchronize()
                self._stream.begin_capture()
                try:
                    self._enqueue(context)
                finally:
                    graph = self._stream.end_capture()
        except (RuntimeError, ValueError) as exc:
            self._plan.warn(f"batches of {wanted.size} run without a CUDA graph: {exc}")
        else:
            context.graphs.append(Graph(wanted.lowest, shapes, graph))

    def _view(self, name: str, shape: Shape) -> Any:
        return self._buffers[name][: prod(shape)].reshape(shape)
