# SPDX-License-Identifier: Apache-2.0
"""COCO results: which ids images and classes get, and which annotations are refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.answers import LABELS
from tests.unit.client.cli.test_cli_images import ask, picture
from tests.unit.client.conftest import Serve
from yolov8_contract.task import Task
from yolov8_triton import COCO_CATEGORY_IDS, InvalidParameterError
from yolov8_triton._cli.coco_results import CocoResults, TruthImages

TRUTH = {
    "images": [{"id": 7, "file_name": "photo.png"}, {"id": 8, "file_name": "val/000000000139.png"}],
    "categories": [{"id": 60, "name": "bus"}, {"id": 30, "name": "person"}],
    "annotations": [],
}


CATEGORIES = [{"id": number, "name": name} for number, name in enumerate(LABELS, 1)]


def images(*names: str) -> list[dict[str, Any]]:
    return [{"id": number, "file_name": name} for number, name in enumerate(names, 1)]


def truth_file(folder: Path, images: object = (), categories: object = CATEGORIES) -> Path:
    path = folder / "truth.json"
    path.write_text(json.dumps({"images": images, "categories": categories}))
    return path


def results(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_text())
    return rows


def test_coco_results_take_ids_from_the_annotations(serve: Serve, photo: Path, tmp_path: Path) -> None:
    other = picture(tmp_path / "000000000139.png")
    (tmp_path / "truth.json").write_text(json.dumps(TRUTH))
    fake = serve(count=3)

    done = ask(fake, photo, other, "--coco", tmp_path / "new" / "out.json", "--coco-truth", tmp_path / "truth.json")

    assert done.exit_code == 0
    rows = results(tmp_path / "new" / "out.json")
    assert [(row["image_id"], row["category_id"]) for row in rows] == [(7, 30), (7, 60), (8, 30), (8, 60)]
    assert rows[0]["bbox"] == [5.0, 10.0, 20.0, 30.0]
    assert "warning: classes without a category of the same name are left out: stop sign" in done.stderr


@pytest.mark.parametrize("task", [Task.DETECT, Task.SEGMENT, Task.POSE, Task.OBB], ids=lambda task: task.value)
def test_coco_results_without_annotations_take_ids_from_names_and_classes(
    serve: Serve, tmp_path: Path, task: Task
) -> None:
    path = picture(tmp_path / "000000000139.png")

    ask(serve(task), path, "--coco", tmp_path / "out.json", verb=task.value)

    assert [(row["image_id"], row["category_id"]) for row in results(tmp_path / "out.json")] == [(139, 0), (139, 1)]


def test_coco_classes_have_coco_ids(serve: Serve, tmp_path: Path) -> None:
    path = picture(tmp_path / "12.png")
    fake = serve()
    labels = ["person", *map(str, range(1, 79)), "toothbrush"]
    fake.configs["yolov8n"].parameters["labels"].string_value = json.dumps(labels)

    ask(fake, path, "--coco", tmp_path / "out.json")

    assert [row["category_id"] for row in results(tmp_path / "out.json")] == list(COCO_CATEGORY_IDS[:2])


def test_coco_results_without_objects_are_an_empty_list(serve: Serve, tmp_path: Path) -> None:
    ask(serve(count=0), picture(tmp_path / "12.png"), "--coco", tmp_path / "out.json")

    assert results(tmp_path / "out.json") == []


def test_an_image_that_is_not_in_the_annotations_is_an_error_of_that_image(
    serve: Serve, photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "truth.json").write_text(json.dumps(TRUTH))
    options = ("--coco", tmp_path / "out.json", "--coco-truth", tmp_path / "truth.json")

    done = ask(serve(), picture(tmp_path / "unknown.png"), photo, *options)

    assert done.exit_code == 1
    assert "unknown.png: " in done.stderr
    assert "has no image of this name" in done.stderr
    assert {row["image_id"] for row in results(tmp_path / "out.json")} == {7}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--coco", "out.json"], "give the annotations with --coco-truth", id="name-is-not-a-number"),
        pytest.param(["--coco-truth", "empty.json"], "it needs --coco", id="truth-alone"),
        pytest.param(["--coco", "out.json", "--coco-truth", "empty.json"], "not COCO annotations", id="no-annotations"),
        pytest.param(["--coco", "out.json", "--coco-truth", "none.json"], "none.json", id="missing"),
    ],
)
def test_wrong_coco_options_are_wrong_usage(
    serve: Serve, photo: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(photo.parent)
    Path("empty.json").write_text("{}")

    done = ask(serve(), photo, *options)

    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert not list(photo.parent.glob("out.json*"))


def test_images_of_one_name_in_two_folders_have_their_own_ids(serve: Serve, tmp_path: Path) -> None:
    paths = [picture(tmp_path / folder / "frame1.png") for folder in ("b", "a", "c/a")]
    truth = truth_file(tmp_path, images("a/frame1.png", "b/frame1.png", "c/a/frame1.png"))

    done = ask(serve(count=1), *paths, "--coco", tmp_path / "out.json", "--coco-truth", truth)

    assert (done.exit_code, done.stderr) == (0, "")
    assert [row["image_id"] for row in results(tmp_path / "out.json")] == [2, 1, 3]


@pytest.mark.parametrize(
    ("names", "path", "found"),
    [
        pytest.param(["frame.jpg"], "x/frame.jpg", [1], id="name-alone"),
        pytest.param(["val2017/frame.jpg"], "val/frame.jpg", [1], id="one-of-that-name-in-another-folder"),
        pytest.param(["a/f.jpg", "b/f.jpg"], "b/f.jpg", [2], id="folder-decides"),
        pytest.param(["p/a/f.jpg", "q/a/f.jpg"], "q/a/f.jpg", [2], id="two-folders-decide"),
        pytest.param(["p/a/f.jpg", "q/a/f.jpg"], "a/f.jpg", [1, 2], id="too-short"),
        pytest.param(["a/f.jpg", "b/f.jpg"], "c/f.jpg", [1, 2], id="neither-folder"),
        pytest.param(["f.jpg", "a/f.jpg"], "a/f.jpg", [2], id="longer-wins"),
        pytest.param(["f.jpg", "a/f.jpg"], "b/f.jpg", [1], id="no-other-folder-wins"),
        pytest.param(["f.jpg", "train/a/f.jpg"], "a/f.jpg", [2], id="more-in-common-wins"),
        pytest.param(["f.jpg", "f.jpg"], "f.jpg", [1, 2], id="twice"),
        pytest.param(["./a//f.jpg", "b/../c/f.jpg"], "c/f.jpg", [2], id="roundabout"),
        pytest.param(["a\\f.jpg", "b\\f.jpg"], "b/f.jpg", [2], id="backslashes"),
        pytest.param(["https://host/a/f.jpg", "https://host/b/f.jpg"], "b/f.jpg", [2], id="addresses"),
        pytest.param(["/data/a/f.jpg", "/data/b/f.jpg"], "b/f.jpg", [2], id="absolute"),
        pytest.param(["a/f.jpg"], "a/F.jpg", [], id="another-name"),
        pytest.param(["xf.jpg"], "f.jpg", [], id="ends-with-the-name"),
        pytest.param(["e\u0301/\u00e9.jpg"], "\u00e9/e\u0301.jpg", [1], id="letters-written-in-two-ways"),
        pytest.param(["\u00e9.jpg", "e\u0301.jpg"], "\u00e9.jpg", [1, 2], id="both-ways"),
    ],
)
def test_the_longest_path_in_common_decides(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, names: list[str], path: str, found: list[int]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert sorted(TruthImages(images(*names)).find(path)) == found


def test_a_relative_path_has_the_folders_of_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "b")

    assert list(TruthImages(images("a/f.jpg", "b/f.jpg")).find("f.jpg")) == [2]


def test_an_ambiguous_image_is_an_error_of_that_image(serve: Serve, tmp_path: Path) -> None:
    paths = [picture(tmp_path / folder / "frame1.png") for folder in ("c", "a")]
    truth = truth_file(tmp_path, images("a/frame1.png", "b/frame1.png"))

    done = ask(serve(count=1), *paths, "--coco", tmp_path / "out.json", "--coco-truth", truth)

    assert done.exit_code == 1
    assert f"{paths[0]}: {truth} has 2 images that it may be, such as 'a/frame1.png' (id 1) and 'b/" in done.stderr
    assert [row["image_id"] for row in results(tmp_path / "out.json")] == [1]


@pytest.mark.parametrize("with_truth", [True, False])
def test_two_images_never_share_an_id(serve: Serve, tmp_path: Path, with_truth: bool) -> None:
    paths = [picture(tmp_path / folder / "0012.png") for folder in ("a", "b")]
    options = ["--coco-truth", truth_file(tmp_path, images("0012.png"))] if with_truth else []

    done = ask(serve(count=1), *paths, "--coco", tmp_path / "out.json", *options)

    number = 1 if with_truth else 12
    assert done.exit_code == 1
    assert done.stderr == (
        f"error: {paths[1]}: its image id would be {number}, which already has results, those of {paths[0]}\n"
    )
    assert [row["image_id"] for row in results(tmp_path / "out.json")] == [number]


ONE = {"id": 1, "file_name": "a.jpg"}
PERSON = {"id": 1, "name": "person"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("no json", "not COCO annotations", id="no-json"),
        pytest.param("", "not COCO annotations", id="empty"),
        pytest.param("[" * 200_000, "not COCO annotations", id="deep"),
        pytest.param("\xff", "not COCO annotations", id="no-text"),
        *(
            pytest.param(json.dumps(value), "expected 'images' and 'categories'", id=f"root-{type(value).__name__}")
            for value in ([], "text", 7, None, True, {}, {"images": []})
        ),
    ],
)
def test_a_file_of_another_format_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "truth.json").write_bytes(content.encode("latin-1"))

    with pytest.raises(InvalidParameterError, match=f"truth.json: .*{message}"):
        CocoResults(tmp_path / "out.json", tmp_path / "truth.json", LABELS)


@pytest.mark.parametrize(
    ("images", "categories", "message"),
    [
        *(
            pytest.param(value, [PERSON], "images: expected a list", id=f"images-{value}")
            for value in (None, {}, "text", 7)
        ),
        *(pytest.param([ONE], value, "categories: expected a list", id=f"categories-{value}") for value in (None, {})),
        *(
            pytest.param([ONE, value], [PERSON], r"images\[1\]: expected an object", id=f"image-{value}")
            for value in (None, 7, "text", [])
        ),
        *(
            pytest.param(
                [{**ONE, "id": value}], [PERSON], r"images\[0\].id: expected a whole number", id=f"id-{value!r}"
            )
            for value in ("7", "frame", None, 1.5, 1.0, True, -1, [], {}, float("nan"), float("inf"))
        ),
        *(
            pytest.param(
                [{**ONE, "file_name": value}], [PERSON], r"images\[0\].file_name: expected a text", id=f"name-{value!r}"
            )
            for value in (7, None, "", [], {})
        ),
        pytest.param([{"id": 1}], [PERSON], r"images\[0\].file_name: expected a text, got None", id="no-name"),
        pytest.param([{"file_name": "a"}], [PERSON], r"images\[0\].id: .* got None", id="no-id"),
        pytest.param(
            [ONE, {**ONE, "file_name": "b.jpg"}],
            [PERSON],
            r"images\[1\].id: .* got 1, the id of 'a.jpg'",
            id="id-twice",
        ),
        *(
            pytest.param(
                [ONE], [{**PERSON, "id": value}], r"categories\[0\].id: expected a whole", id=f"class-{value!r}"
            )
            for value in ("person", None, 1.5, False, -1, [])
        ),
        pytest.param([ONE], [{"id": 1}], r"categories\[0\].name: expected a text", id="class-without-name"),
        pytest.param([ONE], [None], r"categories\[0\]: expected an object, got None", id="class-null"),
        pytest.param(
            [ONE],
            [PERSON, {"id": 2, "name": "person"}],
            r"categories\[1\].name: expected a name of its own, got 'person', which id 1 has, too",
            id="class-twice",
        ),
        pytest.param(
            [ONE],
            [PERSON, {"id": 1, "name": "bus"}],
            r"categories\[1\].id: expected a number of its own, got 1, the id of 'person'",
            id="class-id-twice",
        ),
    ],
)
def test_odd_annotations_are_refused_with_the_place(
    tmp_path: Path, images: object, categories: object, message: str
) -> None:
    with pytest.raises(InvalidParameterError, match=f"^--coco-truth: {message}"):
        CocoResults(tmp_path / "out.json", truth_file(tmp_path, images, categories), LABELS)

    assert not list(tmp_path.glob("out.json*"))


def test_the_command_line_says_so_in_one_line(serve: Serve, tmp_path: Path) -> None:
    truth = truth_file(tmp_path, [{**ONE, "id": "frame"}])

    done = ask(serve(), picture(tmp_path / "a.jpg"), "--coco", tmp_path / "out.json", "--coco-truth", truth)

    assert done.exit_code == 2
    assert done.stderr == "error: --coco-truth: images[0].id: expected a whole number of at least 0, got frame\n"


def test_what_is_written_twice_and_the_same_is_no_contradiction(tmp_path: Path) -> None:
    truth = truth_file(tmp_path, [ONE, ONE], [PERSON, PERSON, *CATEGORIES[1:]])

    with CocoResults(tmp_path / "out.json", truth, LABELS):
        pass

    assert results(tmp_path / "out.json") == []


def test_a_category_that_the_model_lacks_may_have_its_name_twice(tmp_path: Path) -> None:
    truth = truth_file(tmp_path, [ONE], [*CATEGORIES, {"id": 8, "name": "tree"}, {"id": 9, "name": "tree"}])

    with CocoResults(tmp_path / "out.json", truth, LABELS):
        pass


def test_results_for_a_folder_are_refused_before_the_first_request(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    fake = serve(count=1)

    done = ask(fake, picture(tmp_path / "1.png"), "--coco", tmp_path / "folder")

    assert done.exit_code == 2
    assert done.stderr.startswith("error: --coco: expected a file to write, got the folder ")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("*.part"))


def test_a_file_that_can_not_be_replaced_leaves_no_other(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), CocoResults(tmp_path / "out.json", None, LABELS):
        (tmp_path / "out.json").mkdir()

    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize("kind", ["link-to-nothing", "link"])
def test_results_go_through_a_link(kind: str, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "out.json"
    target.parent.mkdir()
    if kind == "link":
        target.write_text("old")
    link = tmp_path / "link.json"
    link.symlink_to(target)

    with CocoResults(link, None, LABELS):
        pass

    assert link.is_symlink()
    assert results(target) == []


def test_results_never_replace_a_pipe_or_a_device(serve: Serve, photo: Path, tmp_path: Path) -> None:
    """As root, exchanging the file would have removed a device such as /dev/null."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    fake = serve()

    for path in (pipe, link):
        done = ask(fake, photo, "--coco", path)

        assert done.exit_code == 2
        assert f"--coco: expected a file to write, got the device or pipe {str(path)!r}" in done.stderr
    assert pipe.is_fifo()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link", "photo.png", "pipe"]
    assert not fake.requests


def test_results_never_overwrite_the_annotations(serve: Serve, photo: Path, tmp_path: Path) -> None:
    truth = truth_file(tmp_path, images("photo.png"))
    before = truth.read_bytes()
    (tmp_path / "link.json").symlink_to(truth)

    for path in (truth, tmp_path / "link.json", tmp_path / "." / "truth.json"):
        done = ask(serve(), photo, "--coco", path, "--coco-truth", truth)

        assert done.exit_code == 2
        assert "--coco: the results would overwrite the annotations" in done.stderr
    assert truth.read_bytes() == before


def test_results_never_overwrite_an_image(serve: Serve, tmp_path: Path) -> None:
    image = picture(tmp_path / "1.png")
    before = image.read_bytes()

    done = ask(serve(), image, "--coco", image)

    assert done.exit_code == 2
    assert "--coco: the results would overwrite the image" in done.stderr
    assert image.read_bytes() == before
    assert [*tmp_path.iterdir()] == [image]


@pytest.mark.parametrize("names", [(), ("Person", " bus")], ids=["none", "others"])
def test_categories_without_a_class_of_the_model_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    """The results would be an empty list, which says that nothing was found."""
    truth = truth_file(tmp_path, images("f.jpg"), [{"id": id_, "name": name} for id_, name in enumerate(names)])

    with pytest.raises(InvalidParameterError, match=r"no category .* of a class of the model, such as 'person'"):
        CocoResults(tmp_path / "out.json", truth, LABELS)
