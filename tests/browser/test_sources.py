# SPDX-License-Identifier: Apache-2.0
"""Pictures come by dropping, pasting, samples, the camera and videos; what goes wrong is said in one sentence."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import JSHandle, Request, expect

from tests.browser.conftest import CAMERA_SIZE, Playground, picture, shot

MIB = 2**20
AS_FILE = """([name, type, text]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([Uint8Array.from(atob(text), (one) => one.charCodeAt(0))], name, {type}));
  return transfer;
}"""


def transfer(playground: Playground, file: Path, media_type: str) -> JSHandle:
    content = base64.b64encode(file.read_bytes()).decode()
    return playground.page.evaluate_handle(AS_FILE, [file.name, media_type, content])


def drop(playground: Playground, file: Path, media_type: str = "image/png") -> None:
    event = {"dataTransfer": transfer(playground, file, media_type)}
    playground.page.dispatch_event("#view", "dragover", event)
    playground.page.dispatch_event("#view", "drop", event)


def count(playground: Playground, task: str, file: Path) -> int:
    with playground.client(task) as client:
        return len(client.detect(file))


def test_a_picture_can_be_dropped(playground: Playground) -> None:
    drop(playground, picture("detect"))

    playground.wait_for_answer()
    expect(playground.page.locator("#found li")).to_have_count(count(playground, "detect", picture("detect")))


def test_a_picture_can_be_pasted(playground: Playground) -> None:
    page = playground.page
    content = base64.b64encode(picture("detect").read_bytes()).decode()
    page.evaluate(
        """async (text) => {
          const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
          await navigator.clipboard.write([new ClipboardItem({"image/png": new Blob([bytes], {type: "image/png"})})]);
        }""",
        content,
    )

    page.keyboard.press("Control+V")

    playground.wait_for_answer()
    expect(page.locator("#found li")).to_have_count(count(playground, "detect", picture("detect")))


def test_the_servers_and_the_drawn_samples_can_be_taken(playground: Playground) -> None:
    page = playground.page
    samples = page.locator("#samples button")
    expect(samples).to_have_count(4)

    page.get_by_role("button", name="a scene & more.png").click()
    playground.wait_for_answer()
    expect(page.locator("#found li")).to_have_count(count(playground, "detect", picture("detect")))

    page.get_by_role("button", name="Drawn scene 1").click()
    expect(page.locator("#canvas")).to_have_attribute("aria-label", re.compile(r"^scene-5\.png\. \d+ objects"))


class InFlight:
    """Counts requests for inference that are under way."""

    def __init__(self, playground: Playground) -> None:
        self.now = self.most = self.ended = 0
        playground.page.on("request", self._began)
        playground.page.on("requestfinished", self._ended)

    def _began(self, request: Request) -> None:
        if request.url.endswith("/infer"):
            self.now += 1
            self.most = max(self.most, self.now)

    def _ended(self, request: Request) -> None:
        if request.url.endswith("/infer"):
            self.now -= 1
            self.ended += 1


def rate(playground: Playground) -> None:
    expect(playground.page.locator("#meter")).to_contain_text(re.compile(r"Frames a second\s*[1-9]"))


def test_the_camera_is_answered_frame_by_frame_with_two_in_flight_at_most(playground: Playground) -> None:
    page = playground.page
    flights = InFlight(playground)

    page.click("#camera")
    rate(playground)
    expect(page.locator("#found li")).not_to_have_count(0)
    height, width = CAMERA_SIZE
    assert re.search(rf"\b{width} . {height}\b", page.inner_text("#meter"))
    shot(page, "camera")

    page.click("#stop")
    expect(page.locator("#stop")).to_be_hidden()
    page.wait_for_timeout(1000)
    ended = flights.ended
    page.wait_for_timeout(1000)
    assert flights.ended == ended > 5
    assert flights.most == 2
    expect(page.locator("video")).to_have_count(0)


def test_a_video_plays_pauses_and_follows_the_sliders(playground: Playground, video_file: Path) -> None:
    page = playground.page
    page.set_input_files("#file", video_file)
    rate(playground)
    expect(page.locator("#found li")).not_to_have_count(0)

    page.click("#pause")
    expect(page.locator("#pause")).to_have_text("Resume")
    page.wait_for_timeout(500)
    playground.slide("conf", 1)
    expect(page.locator("#summary")).to_have_text("No objects.")

    playground.slide("conf", 0.25)
    page.click("#pause")
    expect(page.locator("#found li")).not_to_have_count(0)
    drop(playground, picture("detect"))  # a picture takes the video's place
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator("#canvas")).to_have_attribute("aria-label", re.compile(r"^detect\.png\."))


def test_a_dropped_video_plays(playground: Playground, video_file: Path) -> None:
    drop(playground, video_file, "video/webm")

    rate(playground)


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_files_that_are_no_pictures_are_named(playground: Playground, tmp_path: Path) -> None:
    page = playground.page
    page.set_input_files("#file", write(tmp_path, "notes.txt", b"no picture"))
    expect(page.locator("#error")).to_contain_text("“notes.txt” is not a picture that this browser can show.")
    page.set_input_files("#file", write(tmp_path, "empty.mp4", b"no video"))
    expect(page.locator("#error")).to_contain_text("“empty.mp4” is not a video that this browser can play.")
    shot(page, "error")

    playground.upload("detect")

    expect(page.locator("#error")).to_be_empty()


def test_the_servers_refusals_are_sentences(playground: Playground, tmp_path: Path) -> None:
    page = playground.page
    content = picture("detect").read_bytes()
    page.set_input_files("#file", write(tmp_path, "large.png", content + bytes(35 * MIB)))
    expect(page.locator("#error")).to_contain_text("The server refuses a file of this size.")
    page.set_input_files(
        "#file",
        write(
            tmp_path,
            "cut.gif",
            b"GIF89a\x01\x00\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;",
        ),
    )
    expect(page.locator("#error")).to_contain_text("The server can't read this picture: ")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        pytest.param(None, "The server does not answer.", id="gone"),
        pytest.param(
            {"status": 503, "body": '{"error": "Exceeds maximum queue size"}'}, "Try again in a moment", id="busy"
        ),
        pytest.param({"status": 502, "body": "<html>"}, "The server answered with status 502", id="proxy"),
        pytest.param({"status": 200, "body": "{}"}, "This is no answer of Triton's", id="other-server"),
    ],
)
def test_a_server_in_trouble_is_told_and_the_next_answer_clears_it(
    playground: Playground, answer: Any, sentence: str
) -> None:
    page = playground.page
    page.route("**/infer", lambda route: route.abort() if answer is None else route.fulfill(**answer))
    page.set_input_files("#file", picture("detect"))
    expect(page.locator("#error")).to_contain_text(sentence)
    page.unroute("**/infer")

    playground.slide("conf", 0.3)

    playground.wait_for_answer()


FAILS = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', '%s'); }"
NO_CAMERAS = "Object.defineProperty(navigator, 'mediaDevices', {value: undefined})"


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        pytest.param(NO_CAMERAS, "only to pages with https", id="http"),
        pytest.param(FAILS % "NotAllowedError", "The camera is blocked", id="blocked"),
        pytest.param(FAILS % "NotFoundError", "This machine has no camera", id="none"),
        pytest.param(FAILS % "NotReadableError", "Another program may be using it", id="taken"),
    ],
)
def test_a_camera_that_does_not_start_says_why(playground: Playground, broken: str, sentence: str) -> None:
    playground.page.evaluate(f"() => {{ {broken} }}")

    playground.page.click("#camera")

    expect(playground.page.locator("#error")).to_contain_text(sentence)


SLOW_CAMERA = """() => {
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  window.tracks = [];
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    await new Promise((resolve) => (window.allow = resolve));
    const stream = await ask(wanted);
    window.tracks.push(...stream.getTracks());
    return stream;
  };
}"""


def test_a_camera_that_starts_after_something_else_was_opened_is_closed(playground: Playground) -> None:
    page = playground.page
    page.evaluate(SLOW_CAMERA)
    page.click("#camera")
    playground.upload("detect")

    page.evaluate("window.allow()")

    expect(page.locator("video")).to_have_count(0)
    assert page.evaluate("window.tracks.map((track) => track.readyState)") == ["ended"]
    expect(page.locator("#canvas")).to_have_attribute("aria-label", re.compile(r"^detect\.png\."))


def test_a_camera_that_is_unplugged_is_told(playground: Playground) -> None:
    page = playground.page
    page.evaluate(SLOW_CAMERA)
    page.click("#camera")
    page.evaluate("window.allow()")
    rate(playground)

    page.evaluate("window.tracks[0].dispatchEvent(new Event('ended'))")

    expect(page.locator("#error")).to_contain_text("The camera has stopped.")
    expect(page.locator("#stop")).to_be_hidden()
