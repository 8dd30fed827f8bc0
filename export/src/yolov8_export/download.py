# SPDX-License-Identifier: AGPL-3.0-or-later
"""Get weights by Ultralytics' own download."""

from __future__ import annotations

import logging
from pathlib import Path

from yolov8_export.ultralytics_import import prepare_ultralytics

logger = logging.getLogger(__name__)


def download_weights(name: str, folder: Path) -> Path | None:
    """Fetch Ultralytics' weights of a name into ``folder``; None where that fails."""
    prepare_ultralytics()
    from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES, attempt_download_asset

    if name not in GITHUB_ASSETS_NAMES:
        return None
    try:
        path = Path(attempt_download_asset(str(folder / name)))
    except (OSError, RuntimeError) as exc:  # ConnectionError and what requests raises are OSErrors
        logger.info("download of %s failed: %s", name, exc)
        return None
    return path if path.is_file() else None
