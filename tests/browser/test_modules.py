# SPDX-License-Identifier: Apache-2.0
"""The page's modules agree with the contract: masks, and the newest input that wins."""

from __future__ import annotations

import numpy as np
import pytest

from tests.browser.conftest import Playground
from yolov8_contract import rle

RUNS = """async (text) => (await import("/results.js")).runs(text)"""
FILLED = """async ([text, width, height]) => {
  const { runs } = await import("/results.js");
  const { maskPaths } = await import("/draw.js");
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.fill(maskPaths(runs(text), height).inside);
  const pixels = context.getImageData(0, 0, width, height).data;
  return Array.from({ length: width * height }, (_, at) => pixels[4 * at + 3]);
}"""
NEWEST = """async () => {
  const { Newest } = await import("/newest.js");
  const waiting = [], shown = [], failed = [];
  const run = (input) => new Promise((resolve, reject) => waiting.push({ input, resolve, reject }));
  const prepare = async (input) => {
    if (input === "bad") throw "unreadable";
    return input;
  };
  const fail = (one) => failed.push(one);
  const queue = new Newest({ prepare, run, show: (one) => shown.push(one), fail, limit: 2 });
  const settle = () => new Promise((resolve) => setTimeout(resolve, 0));
  const offer = async (...inputs) => {
    for (const input of inputs) queue.offer(input);
    await settle();
  };
  await offer(1);
  await offer(2);
  await offer(3, 4, 5);  // 3 is prepared while 1 and 2 are run, and 5 replaces 4
  const first = waiting.map((one) => one.input);
  waiting[1].resolve("two");
  await settle();
  waiting[0].resolve("one");  // a newer answer is shown already
  await settle();
  waiting[2].reject("three");
  await settle();
  await offer("bad");
  const second = waiting.map((one) => one.input);
  await offer(6);
  queue.clear();
  waiting[3].resolve("five");
  await settle();
  return { first, second, shown, failed };
}"""


def masks() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    drawn = [
        rng.random((height, width)) < share
        for height, width, share in [
            (7, 5, 0.5),
            (1, 9, 0.5),
            (9, 1, 0.5),
            (40, 60, 0.02),
            (40, 60, 0.98),
            (33, 21, 0.5),
        ]
    ]
    return [*drawn, np.zeros((4, 6), bool), np.ones((4, 6), bool), np.ones((900, 1100), bool)]  # fmt: skip


def counts_of(mask: np.ndarray) -> np.ndarray:
    flat = mask.T.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], ends, [flat.size]]))
    return np.concatenate([[0], counts]) if flat[0] else counts


@pytest.mark.parametrize("number", range(9))
def test_masks_are_read_and_filled_to_the_pixel(playground: Playground, number: int) -> None:
    mask = masks()[number]
    counts = counts_of(mask)
    (text,) = rle.encode([counts.astype(np.int64)])

    assert playground.page.evaluate(RUNS, text.decode()) == counts.tolist()
    height, width = mask.shape
    filled = playground.page.evaluate(FILLED, [text.decode(), width, height])
    assert (np.array(filled).reshape(mask.shape) == mask * 255).all()


def test_the_newest_input_wins_and_no_answer_follows_a_newer_one(playground: Playground) -> None:
    assert playground.page.evaluate(NEWEST) == {
        "first": [1, 2],
        "second": [1, 2, 3, 5],
        "shown": ["two"],
        "failed": ["three", "unreadable"],
    }
