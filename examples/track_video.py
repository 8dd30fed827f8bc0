# SPDX-License-Identifier: Apache-2.0
"""Track the objects of a video, a camera or a stream and write an annotated video.

python examples/track_video.py street.mp4 --output followed.mp4
python examples/track_video.py rtsp://camera/stream --seconds 60
"""

from __future__ import annotations

import argparse

from yolov8_triton import Client, VideoWriter, video


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="video file, URL, or number of a camera")
    parser.add_argument("--url", default="localhost:8001")
    parser.add_argument("--model", default="yolov8n")
    parser.add_argument("--output", default="followed.mp4")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    options = parser.parse_args()
    source = int(options.source) if options.source.isdecimal() else options.source

    seen: dict[int, str] = {}
    with (
        Client(options.url, model=options.model) as client,
        video(client.detect, source, tracker="bytetrack", conf=0.4) as frames,
        VideoWriter(options.output, fps=frames.info.fps) as out,
    ):
        for frame in frames:
            if frame.time_s > options.seconds:
                break
            # A live source drops frames when detection is too slow. With time stamps the video keeps its real speed.
            out.write(frame.draw(), time_s=frame.time_s if frames.info.live else None)
            if frame.error is None and frame.result.tracker_id is not None:
                names = frame.result.class_name.tolist()
                seen.update(zip(frame.result.tracker_id.tolist(), names, strict=True))
        print(f"{len(seen)} objects, {out.written} frames, {frames.dropped} dropped")
    for number, name in sorted(seen.items()):
        print(f"#{number} {name}")


if __name__ == "__main__":
    main()
