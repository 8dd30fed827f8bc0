# SPDX-License-Identifier: Apache-2.0
"""The page works by keyboard, on small and large screens, in dark and light, and for screen readers."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import CHOSEN, CUT, FILES, Playground, shot
from yolov8_triton import Client

CONTROLS = ["model", "open", "camera", "conf", "iou", "max_det", "agnostic", "reset", "tab-curl", "copy", "snippet"]
SCREENS = {"phone": (320, 640), "tablet": (820, 1180), "laptop": (1280, 900), "4k": (3840, 2160)}


def focused(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(
        """() => {
          const one = document.activeElement;
          return {id: one.id, tag: one.tagName, outline: getComputedStyle(one).outlineStyle, text: one.textContent};
        }"""
    )
    return found


def tab_to(page: Page, **wanted: str) -> dict[str, Any]:
    for _ in range(60):
        page.keyboard.press("Tab")
        at = focused(page)
        if wanted.items() <= at.items():
            return at
    raise AssertionError(f"the Tab key does not lead to {wanted}")


def test_everything_can_be_done_by_keyboard_alone(playground: Playground) -> None:
    page = playground.page
    page.keyboard.press("Tab")
    assert focused(page)["text"] == "Skip to the picture"
    tab_to(page, id="model")
    page.keyboard.type("shapes-pose")
    expect(page.locator("#about")).to_contain_text("pose")
    for task in ("obb", "detect"):
        page.keyboard.press("ArrowUp")
        expect(page.locator("#about")).to_contain_text(task)
    for _ in range(3):
        tab_to(page, tag="BUTTON")
    page.keyboard.press("Enter")  # the first sample
    playground.wait_for_answer()
    tab_to(page, id="conf")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#conf-value")).to_have_text("0.30")
    tab_to(page, id="agnostic")
    page.keyboard.press("Space")
    expect(page.locator("#agnostic")).to_be_checked()
    expect(page.locator("#found li")).not_to_have_count(0)
    while not focused(page)["text"].startswith(("circle", "square", "triangle")):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#found button").first).to_have_attribute("aria-pressed", "true")
    tab_to(page, id="tab-curl")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tab-python")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#snippet")).to_contain_text("agnostic=True")


def test_the_tab_key_reaches_every_control_and_shows_where_it_is(playground: Playground) -> None:
    playground.upload("detect")
    playground.page.evaluate("document.activeElement.blur()")
    seen = {}
    for _ in range(40):
        playground.page.keyboard.press("Tab")
        at = focused(playground.page)
        seen[at["id"]] = at["outline"]

    assert set(CONTROLS) <= set(seen)
    assert {seen[name] for name in CONTROLS} <= {"solid", "auto"}


def serious(page: Page) -> list[str]:
    response = Axe().run(page).response
    return [
        f"{one['id']}: {node['html']}"
        for one in response["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
class TestOnEachScreen:
    @pytest.fixture
    def settings(self, screen: str, scheme: str) -> dict[str, Any]:
        width, height = SCREENS[screen]
        small = screen == "phone"
        return {
            "viewport": {"width": width, "height": height},
            "device_scale_factor": 2 if small else 1,
            "color_scheme": scheme,
            "bypass_csp": True,  # axe is injected
        }

    def test_it_fits_and_axe_finds_nothing_serious(self, playground: Playground, screen: str, scheme: str) -> None:
        page = playground.page
        playground.upload("detect")
        page.click("#filter summary")
        page.click("#found button")
        shot(page, f"{screen}-{scheme}")

        width, room = page.evaluate("[document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]")
        box = page.locator("#canvas").bounding_box()
        assert width <= room
        assert box is not None
        assert box["width"] > 0.8 * min(SCREENS[screen][0], 400) * 0.8
        assert serious(page) == []


def test_a_screen_reader_hears_the_result_and_the_error(playground: Playground) -> None:
    playground.upload("detect")
    page = playground.page

    expect(page.get_by_role("status")).to_contain_text("objects: ")
    expect(page.get_by_role("img", name="detect.png.")).to_be_visible()
    for name in ("Confidence above", "Overlap of one class at most (IoU)", "Objects at most"):
        expect(page.get_by_role("slider", name=name)).to_be_visible()
    page.set_input_files("#file", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"no"})
    expect(page.get_by_role("alert")).to_contain_text("a.txt")


def prepared(playground: Playground) -> None:
    playground.upload("detect")
    playground.slide("conf", 0.4)
    playground.page.click("#filter summary")
    for value in ("0", "1"):
        playground.page.check(f"#classes input[value='{value}']")
    playground.page.check("#agnostic")


def copied(playground: Playground, tab: str) -> str:
    """Choose a tab, press Copy and return what the clipboard holds."""
    page = playground.page
    page.click(f"#tab-{tab}")
    expect(page.locator("#snippet")).to_contain_text("0.4")
    page.click("#copy")
    expect(page.locator("#copy")).to_have_text("Copied")
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=FILES, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_copied_requests_work_as_they_stand(playground: Playground) -> None:
    prepared(playground)
    with playground.client("detect") as client:
        expected = client.detect(FILES / "detect.png", conf=0.4, classes=[0, 1], agnostic=True)

    by_curl = json.loads(run("bash", "-c", copied(playground, "curl")))
    (number,) = (one["data"] for one in by_curl["outputs"] if one["name"] == "num_detections")
    assert number == [len(expected)]
    by_python = run(sys.executable, "-c", copied(playground, "python"))
    assert by_python.splitlines() == [str(one) for one in expected.to_dict()["objects"]]
    head = copied(playground, "json").encode()
    request = urllib.request.Request(
        f"{playground.url}v2/models/shapes-detect/infer",
        data=head + (FILES / "detect.png").read_bytes(),
        headers={"Inference-Header-Content-Length": str(len(head))},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer)["outputs"] == by_curl["outputs"]


def test_a_picture_is_cut_into_tiles_where_the_model_does_that(playground: Playground) -> None:
    page = playground.page
    file = playground.upload("detect")
    expect(page.locator("#slicing")).to_be_hidden()
    page.select_option("#model", CUT)
    playground.wait_for_answer()

    page.get_by_label("Cut into tiles").check()

    expect(page.locator("#snippet")).to_contain_text('"slice":')
    playground.wait_for_answer()
    with Client(playground.grpc_url, model=CUT) as client:
        tile = max(client.info().imgsz)
        whole, cut = (client.detect(file, **options).to_dict()["objects"] for options in ({}, {"slice": tile}))
    assert cut != whole
    page.click("#tab-answer")
    expect(page.locator("#snippet")).to_contain_text(str(cut[0]["confidence"]))
    assert json.loads(page.inner_text("#snippet"))["objects"] == cut


def test_a_file_name_with_spaces_works_in_the_shell(playground: Playground) -> None:
    playground.page.get_by_role("button", name="a scene & more.png").click()
    playground.wait_for_answer()

    assert "IMAGE='a scene & more.png'" in playground.page.inner_text("#snippet")


def test_the_address_remembers_the_model(playground: Playground) -> None:
    playground.choose("obb")
    expect(playground.page.locator("#about")).to_contain_text("obb")

    playground.page.reload()

    expect(playground.page.locator("#model")).to_have_value("shapes-obb")


def test_a_server_that_keeps_its_list_of_models_to_itself_takes_a_name(playground: Playground) -> None:
    page = playground.page
    page.route("**/v2/repository/index", lambda route: route.fulfill(status=403, body="<html>"))
    page.reload()
    page.get_by_label("Name of a model").fill("nothing")
    page.keyboard.press("Enter")
    expect(page.locator("#error")).to_contain_text("nothing")

    page.get_by_label("Name of a model").fill("shapes-pose")
    page.keyboard.press("Enter")

    expect(page.locator("#about")).to_contain_text("pose")
    playground.page.get_by_role("button", name="Drawn scene 1").click()
    playground.wait_for_answer()


def test_a_model_that_chooses_its_objects_offers_no_overlap(playground: Playground) -> None:
    page = playground.page
    playground.upload("detect")
    playground.slide("iou", 0.3)
    playground.wait_for_answer()

    page.select_option("#model", CHOSEN)

    expect(page.locator("#iou")).to_be_hidden()
    expect(page.locator("#agnostic")).to_be_hidden()
    playground.slide("conf", 0.4)
    playground.wait_for_answer()
    with Client(playground.grpc_url, model=CHOSEN) as client:
        expect(page.locator("#found li")).to_have_count(len(client.detect(FILES / "detect.png", conf=0.4)))
    playground.choose("detect")
    expect(page.locator("#iou")).to_be_visible()
