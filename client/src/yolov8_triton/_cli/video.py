# SPDX-License-Identifier: Apache-2.0
"""The verb ``video``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import typer

from yolov8_contract.task import Task
from yolov8_triton._calls import DEFAULT_MODEL, DEFAULT_TIMEOUT_S, DEFAULT_URL
from yolov8_triton._cli.options import (
    Agnostic,
    Classes,
    Conf,
    FrameJson,
    FramesInFlight,
    Header,
    Iou,
    Kept,
    MaxDet,
    Model,
    Source,
    Stall,
    Timeout,
    Track,
    Url,
    VideoOutput,
    connected,
    thresholds,
)
from yolov8_triton._cli.output import SERVER_ERRORS, USAGE_ERRORS, ExitCode, complain, exiting, progress
from yolov8_triton._video.source import DEFAULT_STALL_S, VideoError
from yolov8_triton._video.video import Frame, Frames
from yolov8_triton._video.video import video as ask_video
from yolov8_triton._video.writer import CODECS, VideoWriter


def video(
    ctx: typer.Context,
    source: Source,
    url: Url = [DEFAULT_URL],  # noqa: B006  (typer copies it)
    model: Model = DEFAULT_MODEL,
    header: Header = None,
    conf: Conf = None,
    iou: Iou = None,
    max_det: MaxDet = None,
    classes: Classes = None,
    agnostic: Agnostic = False,
    track: Track = False,
    output: VideoOutput = None,
    as_json: FrameJson = False,
    frames: Kept = None,
    in_flight: FramesInFlight = None,
    stall: Stall = DEFAULT_STALL_S,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
) -> None:
    """Ask about the frames of a video, a camera or a stream; the model says what for."""
    if output is not None and output.suffix.lower() not in CODECS:
        raise typer.BadParameter(f"expected a name that ends in {', '.join(CODECS)}", param_hint="--output")
    options = thresholds(conf, iou, max_det, classes, agnostic)
    options |= {"tracker": "bytetrack" if track else None, "frames": frames, "in_flight": in_flight, "stall_s": stall}
    client = connected(ctx, url, model, timeout, header)
    with exiting(), client, ExitStack() as stack:
        if track and client.task is Task.CLASSIFY:
            raise typer.BadParameter(f"{model!r} classifies: it finds no objects to follow", param_hint="--track")
        name = int(source) if source.isdecimal() else source
        if output is not None and Path(output).resolve() == Path(source).resolve():
            raise FileExistsError(None, f"{output}: the video would overwrite its source")
        taken: Frames[Any] = stack.enter_context(ask_video(getattr(client, client.task.value), name, **options))
        out = None
        if output is not None:
            out = stack.enter_context(VideoWriter(output, fps=taken.info.fps))
        code = _run(taken, out, as_json=as_json)
    raise typer.Exit(code)


def _run(taken: Frames[Any], out: VideoWriter | None, *, as_json: bool) -> ExitCode:
    """Show and write each frame; return how it went."""
    begin, code, count = time.monotonic(), ExitCode.OK, 0
    try:
        for frame in _shown(taken):
            count += 1
            if out is not None:
                out.write(frame.draw(), time_s=frame.time_s if taken.info.live else None)
            if frame.error is not None:
                if isinstance(frame.error, (*SERVER_ERRORS, *USAGE_ERRORS)):
                    raise frame.error
                complain(f"frame {frame.index}: {frame.error}")
                code = ExitCode.SOME_FAILED
            elif as_json:
                _print(json.dumps(_plain(frame), ensure_ascii=False))
            elif out is None:
                _print(f"frame {frame.index}, {frame.time_s:.2f} s: {frame.result.summary()}")
    except VideoError as exc:  # what came before it is answered
        complain(str(exc))
        code = ExitCode.SOME_FAILED
    seconds = max(time.monotonic() - begin, 1e-9)
    dropped = f", {taken.dropped} dropped" if taken.info.live else ""
    sys.stderr.write(f"{count} frames in {seconds:.1f} s ({count / seconds:.1f} a second){dropped}\n")
    return code


def _shown(taken: Frames[Any]) -> Iterator[Frame[Any]]:
    """Yield the frames while a bar shows how far they are."""
    frames: Iterable[Frame[Any]] = taken
    with progress(taken.info.frame_count, "frames") as advance:
        for frame in frames:
            yield frame
            advance(f"{taken.dropped} dropped" if taken.dropped else "")


def _plain(frame: Frame[Any]) -> dict[str, Any]:
    return {"frame": frame.index, "time_s": round(frame.time_s, 6), **frame.result.to_dict()}


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()  # whoever reads the lines may act on each
