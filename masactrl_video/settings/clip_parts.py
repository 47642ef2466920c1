"""A clip: which of its frames are taken, and at what size; the first parts of `Settings`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from masactrl_video.settings.fields import FIT_FRAMES, READ_CLIPS, SELECT_FRAMES, Part, option
from masactrl_video.settings.home import MAY_BE_AT_HOME
from masactrl_video.settings.names import FitMode

_selection = partial(option, "clip", changes="source", commands=SELECT_FRAMES)
_size = partial(option, "clip", changes="source", commands=FIT_FRAMES)


class FrameSettings(Part):
    """Which frames of a clip are taken."""

    clip: Annotated[Path, MAY_BE_AT_HOME] = option(
        "clip",
        "video (MP4, MOV, MKV, WebM, AVI, MPEG-TS, GIF, …), folder of images, or pose JSON",
        changes="source",
        commands=READ_CLIPS,
        by_hand=True,
        keeps_panels=True,
    )
    skip_first_frames: int = _selection("frames left out at the start", 0, ge=0)
    select_every_nth: int = _selection("take every n-th frame; the duration stays", 1, ge=1)
    frame_load_cap: int | None = _selection("take at most this many frames", None, ge=1)
    frame_rate: float | None = _selection("frames a second of images or pose JSON (24 if not given)", None, gt=0)
    video_stream: int | None = _selection(
        "of a video with several streams take this one, from 0 (if not given, the default one)", None, ge=0
    )
    allow_partial: bool = _selection(
        "of a damaged video or folder, render what is before the damage", False, changes="file"
    )


class SizeSettings(Part):
    """The size of frames and pictures, and how they are brought to it."""

    fit: FitMode = _size(
        "how frames get the model's size: crop (scale to cover, cut both sides alike), pad (scale to fit inside, black "
        "bars) or resize (stretch)",
        "crop",
        commands=FIT_FRAMES | {"pose retarget"},
    )
    width: int | None = _size("width in px; without width and height: the clip's shape, the model's area", None, ge=1)
    height: int | None = _size("height in px", None, ge=1)
