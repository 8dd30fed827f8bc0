# SPDX-License-Identifier: Apache-2.0
"""Define the command ``video``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import typer

from yolov8_contract.task import Task
from yolov8_triton._calls import DEFAULT_MODEL
from yolov8_triton._cli.access import connected
from yolov8_triton._cli.options import Model, ServerOptions, Source, Thresholds, VideoOptions
from yolov8_triton._cli.output import SERVER_ERRORS, USAGE_ERRORS, ExitCode, complain, exiting, progress
from yolov8_triton._video.source import VideoError
from yolov8_triton._video.video import Frame, Frames
from yolov8_triton._video.video import video as ask_video
from yolov8_triton._video.writer import CODECS, VideoWriter


def video(
    ctx: typer.Context,
    source: Source,
    *,
    model: Model = DEFAULT_MODEL,
    server: ServerOptions,
    thresholds: Thresholds,
    options: VideoOptions,
) -> None:
    """Ask about the frames of a video, a camera or a stream; the model decides the task."""
    if options.output is not None and options.output.suffix.lower() not in CODECS:
        raise typer.BadParameter(f"expected a name that ends in {', '.join(CODECS)}", param_hint="--output")
    with exiting(), connected(ctx, server, model) as client, ExitStack() as stack:
        if options.track and client.task is Task.CLASSIFY:
            raise typer.BadParameter(f"{model!r} classifies: it finds no objects to track", param_hint="--track")
        if options.output is not None and options.output.resolve() == Path(source).resolve():
            raise FileExistsError(None, f"{options.output}: the video would overwrite its source")
        frames: Frames[Any] = stack.enter_context(
            ask_video(
                getattr(client, client.task.value),
                int(source) if source.isdecimal() else source,
                tracker="bytetrack" if options.track else None,
                frames=options.frames,
                in_flight=options.in_flight,
                stall_s=options.stall,
                priority=options.priority,
                **thresholds.options(),
            )
        )
        writer = None
        if options.output is not None:
            writer = stack.enter_context(VideoWriter(options.output, fps=frames.info.fps))
        code = _run(frames, writer, as_json=options.as_json)
    raise typer.Exit(code)


def _run(frames: Frames[Any], writer: VideoWriter | None, *, as_json: bool) -> ExitCode:
    """Print and write each frame; return the exit code."""
    begin, code, count = time.monotonic(), ExitCode.OK, 0
    try:
        for frame in _with_progress(frames):
            count += 1
            if writer is not None:
                writer.write(frame.draw(), time_s=frame.time_s if frames.info.live else None)
            if frame.error is not None:
                if isinstance(frame.error, (*SERVER_ERRORS, *USAGE_ERRORS)):
                    raise frame.error
                complain(f"frame {frame.index}: {frame.error}")
                code = ExitCode.SOME_FAILED
            elif as_json:
                _print(json.dumps(_plain(frame), ensure_ascii=False))
            elif writer is None:
                _print(f"frame {frame.index}, {frame.time_s:.2f} s: {frame.result.summary()}")
    except VideoError as exc:  # the frames before it have their results
        complain(str(exc))
        code = ExitCode.SOME_FAILED
    seconds = max(time.monotonic() - begin, 1e-9)
    dropped = f", {frames.dropped} dropped" if frames.info.live else ""
    sys.stderr.write(f"{count} frames in {seconds:.1f} s ({count / seconds:.1f} a second){dropped}\n")
    return code


def _with_progress(frames: Frames[Any]) -> Iterator[Frame[Any]]:
    """Yield the frames and show a progress bar."""
    with progress(frames.info.frame_count, "frames") as advance:
        for frame in frames:
            yield frame
            advance(f"{frames.dropped} dropped" if frames.dropped else "")


def _plain(frame: Frame[Any]) -> dict[str, Any]:
    return {"frame": frame.index, "time_s": round(frame.time_s, 6), **frame.result.to_dict()}


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()  # a program that reads the lines may act on each of them
