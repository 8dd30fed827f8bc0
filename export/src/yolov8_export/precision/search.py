# SPDX-License-Identifier: AGPL-3.0-or-later
"""Search for the fewest layers that have to stay in FP32, so that an INT8 network keeps a share of FP32's accuracy.

1. The network with all layers in INT8 is judged; if it keeps the share, that is all.
2. The layers are ranked by their own harm: each of them alone computes in FP32 again, and the objects that the network
   then finds in a few calibration images are compared with those of the FP32 network. This needs no annotations.
3. The first 1, 2, 4 ... layers of the ranking stay in FP32 until the share is kept; bisection then finds fewer. Only
   these networks are judged by the evaluation images, some two for each doubling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from yolov8_export.errors import AccuracyError
from yolov8_export.precision.accuracy import Accuracy, LayerSelection
from yolov8_export.runtime import Run

MIN_MULTIPLICATIONS = 0.5
"""The search ends where INT8 would do less than this share of the multiplications: little would be won any more."""

_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class Candidate(Generic[_Made]):
    """A reduced network, and the function that runs it."""

    made: _Made
    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """The layers with weights of a network.

    Attributes:
        multiplications: The number of multiplications of each layer by its name.
        always_fp32: The layers that an engine never quantises.
    """

    multiplications: Mapping[str, int]
    always_fp32: Sequence[str] = ()

    def selection(self, wanted: float, left: Sequence[str], judged: int) -> LayerSelection:
        """Return the record of a network in which some layers are left in FP32."""
        return LayerSelection(
            wanted=wanted,
            fp32_layers=(*self.always_fp32, *left),
            layers=len(self.multiplications),
            int8_multiplications=self.int8_share(left),
            judged=judged,
        )

    def int8_share(self, left: Sequence[str]) -> float:
        """Return the share of the multiplications that INT8 does if some layers are left in FP32."""
        in_fp32 = sum(self.multiplications[name] for name in (*self.always_fp32, *left))
        return 1 - in_fp32 / max(sum(self.multiplications.values()), 1)


def search(
    wanted: float,
    make: Callable[[Sequence[str]], Candidate[_Made]],
    judge: Callable[[Run], Accuracy],
    rank: Callable[[], Sequence[str]],
    layers: Layers,
    note: Callable[[str], None] = lambda _: None,
) -> tuple[_Made, Accuracy]:
    """Return the reduced network with the fewest layers in FP32 that keeps a share of FP32's accuracy.

    Args:
        wanted: The share to be kept, above 0 and at most 1.
        make: Makes the network in which the named layers stay in FP32.
        judge: Compares a network with FP32 on the evaluation images.
        rank: Returns the names of the layers, the most sensitive first; it is called if it is needed.
        layers: The layers of the network.
        note: Is told about each judged network.

    Raises:
        AccuracyError: The share can't be kept, or the images can't tell.
    """
    tried: dict[int, tuple[_Made, Accuracy]] = {}
    ranked: Sequence[str] = ()

    def keeps(count: int) -> bool:
        candidate = make(ranked[:count])
        judged = judge(candidate.run)
        share = judged.share_kept
        if share is None:
            raise AccuracyError("--keep-map: the FP32 network's mAP50-95 is 0 on the evaluation images: give others")
        judged = replace(judged, selection=layers.selection(wanted, ranked[:count], len(tried) + 1))
        tried[count] = candidate.made, judged
        note(f"{share:.2%} kept {judged.selection}")
        return share >= wanted

    if not keeps(0):
        ranked = rank()
        _fewest(keeps, _most(ranked, layers))
    good = [count for count, (_, judged) in tried.items() if (judged.share_kept or 0) >= wanted]
    if not good:
        raise AccuracyError(_failure(wanted, [judged for _, judged in tried.values()]))
    made, judged = tried[min(good)]
    return made, replace(judged, selection=layers.selection(wanted, ranked[: min(good)], len(tried)))


def _fewest(keeps: Callable[[int], bool], most: int) -> None:
    """Try 1, 2, 4 ... layers until the share is kept, then bisect between the last two."""
    below = 0
    for count in _doubled(most):
        if keeps(count):
            above = count
            while above - below > 1:
                middle = (above + below) // 2
                above, below = (middle, below) if keeps(middle) else (above, middle)
            return
        below = count


def _doubled(most: int) -> Iterator[int]:
    count = 1
    while count < most:
        yield count
        count *= 2
    if most:
        yield most


def _most(ranked: Sequence[str], layers: Layers) -> int:
    """Return the number of layers that may stay in FP32."""
    shares = [layers.int8_share(ranked[: count + 1]) for count in range(len(ranked))]
    return sum(share >= MIN_MULTIPLICATIONS for share in shares)


def _failure(wanted: float, judged: Sequence[Accuracy]) -> str:
    best = max(judged, key=lambda one: one.share_kept or 0)
    what = "images whose best class stays" if best.kind == "top1" else "FP32's mAP50-95"
    return (
        f"--keep-map {wanted:g}: INT8 reaches {best.share_kept or 0:.2%} of {what} at most, {best.selection}; "
        f"INT8 that does less than {MIN_MULTIPLICATIONS:.0%} of them wins little. Nothing was written: calibrate with "
        "more images like those to be served, ask for less, or keep a higher --precision; a CPU without VNNI can't do "
        "INT8 well"
    )
