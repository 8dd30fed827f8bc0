# SPDX-License-Identifier: Apache-2.0
"""The category ids of COCO."""

_UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
"""Ids of categories that COCO named and never annotated."""

COCO_CATEGORY_IDS = tuple(number for number in range(1, 91) if number not in _UNUSED)
"""COCO's category id of each of its 80 classes, by class id: what ``to_coco(category_ids=...)`` takes."""
