# SPDX-License-Identifier: Apache-2.0
"""Test the file of cameras: what it says, and what it refuses by file, camera and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages import ROOT
from yolov8_triton import Camera, Line, Zone
from yolov8_triton._cameras.file import CamerasFileError, read_site

WHOLE = """
server = ["localhost:8001", "localhost:9001"]
model = "yolov8s"
timeout_s = 2
in_flight = 12

[defaults]
fps = 5
tracker = "bytetrack"
conf = 0.4

[[camera]]
name = "gate"
source = "rtsp://viewer:${GATE_PASSWORD}@10.0.0.5/stream"
priority = 1
deadline_s = 0.25
classes = ["person", 2]

[[camera.zones]]
name = "steps"
points = [[0, 0], [100, 0], [100.5, 80]]

[[camera.lines]]
name = "door"
start = [10, 20]
end = [30, 40]
anchor = "center"

[[camera]]
name = "yard"
source = 0
conf = 0.6

[[camera]]
name = "file"
source = "videos/street.mp4"
pace = "fast"
loop = true
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "cameras.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_file_names_server_model_and_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_PASSWORD", "s3cret")

    site = read_site(written(tmp_path, WHOLE))

    assert site.server == ("localhost:8001", "localhost:9001")
    assert (site.model, site.timeout_s, site.in_flight) == ("yolov8s", 2.0, 12)
    gate, yard, file = site.cameras
    assert gate == Camera(
        name="gate",
        source="rtsp://viewer:s3cret@10.0.0.5/stream",
        fps=5,
        tracker="bytetrack",
        priority=1,
        deadline_s=0.25,
        zones=(Zone(name="steps", points=((0, 0), (100, 0), (100.5, 80))),),
        lines=(Line(name="door", start=(10, 20), end=(30, 40), anchor="center"),),
        options={"conf": 0.4, "classes": ["person", 2]},
    )
    assert yard == Camera(name="yard", source=0, fps=5, tracker="bytetrack", options={"conf": 0.6})
    assert (file.source, file.pace, file.loop) == (str(tmp_path / "videos/street.mp4"), "fast", True)


def test_what_is_left_out_has_the_defaults_of_the_client(tmp_path: Path) -> None:
    site = read_site(written(tmp_path, '[[camera]]\nname = "a"\nsource = "/dev/video3"'))

    assert (site.server, site.model, site.timeout_s, site.in_flight) == (("localhost:8001",), "yolov8n", 10.0, 8)
    assert site.cameras == (Camera(name="a", source=3),)


def test_the_example_is_a_file_of_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_PASSWORD", "s3cret")

    site = read_site(ROOT / "examples" / "cameras.toml")

    assert [camera.name for camera in site.cameras] == ["gate", "yard", "archive"]
    assert [camera.fps for camera in site.cameras] == [10, 10, 10]
    assert site.cameras[0].lines[0].name == "door"


A = '[[camera]]\nname = "a"\nsource = 0\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "the key 'camera' is missing: expected one or more tables [[camera]]", id="empty"),
        pytest.param("camera = 3", "camera: expected one or more tables [[camera]], got 3", id="no-tables"),
        pytest.param("[[camera", "not TOML: ", id="not-toml"),
        pytest.param("sever = 'a:1'\n" + A, "no key 'sever' is known; did you mean 'server'?", id="near-miss"),
        pytest.param("zzz = 1\n" + A, "no key 'zzz' is known; expected one of server, model", id="unknown"),
        pytest.param("server = []\n" + A, "server: expected an address, or a list of addresses, got []", id="server"),
        pytest.param(
            A + "prioritty = 1", "camera 'a': no key 'prioritty' is known; did you mean 'priority'?", id="key"
        ),
        pytest.param(A + "fps = -1", "camera 'a': fps: expected a number above 0, got -1", id="fps"),
        pytest.param(A + "fps = true", "camera 'a': fps: expected a number above 0, got True", id="bool"),
        pytest.param(A + "conf = 40", "camera 'a': conf: expected a number from 0 to 1, got 40", id="conf"),
        pytest.param(A + "classes = 'person'", "classes: expected a list of class names or ids", id="classes"),
        pytest.param(A + "tracker = 'sort'", "camera 'a': tracker: expected \"bytetrack\", got 'sort'", id="tracker"),
        pytest.param("[defaults]\nname = 'a'\n" + A, "defaults: no key 'name' is known", id="defaults"),
        pytest.param("[[camera]]\nsource = 0", "camera 1: the key 'name' is missing: expected text", id="name"),
        pytest.param("[[camera]]\nname = 'a'", "camera 'a': the key 'source' is missing", id="source"),
        pytest.param(A + A, "two cameras have the name 'a': give each its own", id="twice"),
        pytest.param(
            A + "[[camera.zones]]\nname = 'z'\npoints = [[0, 0], [1, 1]]",
            "camera 'a': zone 'z': points: expected 3 or more, got 2",
            id="zone",
        ),
        pytest.param(
            A + "[[camera.zones]]\nname = 'z'\npoints = [[0, 0, 1]]",
            "camera 'a': zones: points: expected a list of points [x, y] in pixels, got [[0, 0, 1]]",
            id="points",
        ),
        pytest.param(
            A + "[[camera.lines]]\nname = 'l'\nstart = [0, 0]\nend = [9, 9]",
            "camera 'a': line 'l' needs a tracker",
            id="line",
        ),
        pytest.param(
            A.replace("0\n", '"rtsp://${NO_SUCH}/"\n'),
            "camera 'a': source: the environment variable 'NO_SUCH' is not set",
            id="variable",
        ),
        pytest.param(A.replace("0\n", '"${EMPTY}"\n'), "camera 'a': source: '${EMPTY}' is empty", id="empty"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_file_and_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.setenv("EMPTY", "")
    path = written(tmp_path, text)

    with pytest.raises(CamerasFileError) as caught:
        read_site(path)

    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cameras.toml"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(CamerasFileError, match="expected text in UTF-8"):
        read_site(path)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("slice = 31", "slice: expected 0, or a whole number from 32, got 31"),
        ("slice_overlap = 0.95", "slice_overlap: expected a number from 0 to 0.9, got 0.95"),
        ('slice_merge = "wbf"', "slice_merge: expected nmm or nms, got 'wbf'"),
    ],
)
def test_wrong_tiles_are_refused(tmp_path: Path, line: str, expected: str) -> None:
    path = written(tmp_path, f'[[camera]]\nname = "gate"\nsource = 0\n{line}\n')

    with pytest.raises(CamerasFileError, match=f"camera 'gate': {expected}"):
        read_site(path)


def test_a_camera_may_leave_out_the_tiles_of_the_others(tmp_path: Path) -> None:
    path = written(tmp_path, '[defaults]\nslice = 640\n\n[[camera]]\nname = "gate"\nsource = 0\nslice = 0\n')

    assert read_site(path).cameras[0].options["slice"] == 0
