"""Frames that an interrupted run has left: which of them are as they were written, and belong to this one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from masactrl_video.errors import UserError
from masactrl_video.video.png import read_png_text, whole_png

logger = logging.getLogger(__name__)


def drop_damaged(pictures: Sequence[Path]) -> None:
    """Remove pictures of an interrupted run that are not as they were written: they are rendered again."""
    for path in pictures:
        try:
            if path.exists():
                whole_png(path)
        except UserError as error:
            logger.warning("%s: it is rendered again", error)
            path.unlink()


def check_kept(frames: Sequence[Path], made_from: str) -> None:
    """See that the frames of an interrupted run were made from the same clip, source and model."""
    for path in frames:
        if path.exists() and read_png_text(path).get("made-from") != made_from:
            raise UserError(
                f"{path}: it was made from another clip, source or model than are there now under the same names; "
                "--restart begins anew, another --output leaves it as it is"
            )
