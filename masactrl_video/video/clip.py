"""A clip: selected frames of a video file or of a folder of images, streamed one at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError, counted
from masactrl_video.video.decord_reader import VideoFile
from masactrl_video.video.frame import ClipInfo, Frame, Selection, Timing
from masactrl_video.video.image_folder import ImageFolder
from masactrl_video.video.local_file import local_path

DEFAULT_FRAME_RATE = 24.0
"""Of a folder of images, which has no times of its own."""


class FrameSource(Protocol):
    """Where a clip's frames come from."""

    info: ClipInfo
    timings: tuple[Timing, ...]
    """Of every frame, before selection."""

    def read(self, positions: range) -> Iterator[NDArray[np.uint8]]:
        """The frames at the given ascending positions, RGB (height, width, 3), one at a time."""


class Clip:
    """The selected frames of a video file or a folder of images.

    Iterating decodes from the start and holds one frame at a time; it can be repeated.
    """

    def __init__(self, source: FrameSource, selection: Selection) -> None:
        self._source = source
        self._positions = selection.positions(len(source.timings))
        if not self._positions:
            raise UserError(
                f"{selection} leaves none of the {counted(len(source.timings), 'frame')} of {source.info.path}"
            )

    @property
    def info(self) -> ClipInfo:
        """Facts about the whole clip, before selection."""
        return self._source.info

    def __len__(self) -> int:
        """Number of selected frames: as many as iterating gives."""
        return len(self._positions)

    def timeline(self) -> list[Timing]:
        """When each selected frame is shown; nothing is decoded."""
        return [self._timing(position) for position in self._positions]

    def __iter__(self) -> Iterator[Frame]:
        """Decode the selected frames in order.

        Raises:
            UserError: a frame cannot be decoded.
        """
        for timing, pixels in zip(self.timeline(), self._source.read(self._positions), strict=True):
            yield Frame(*timing, pixels)

    def check(self) -> None:
        """Decode the selected frames and keep none: damage is found before hours of work, not after.

        Frames that a decoder has patched up are warned of.

        Raises:
            UserError: a frame cannot be decoded.
        """
        for _ in self._source.read(self._positions):
            pass
        if isinstance(self._source, VideoFile):
            self._source.warn_of_patches(self._positions)

    def frame(self, n: int) -> Frame:
        """The n-th selected frame, from 0; everything before it is decoded on the way.

        Raises:
            UserError: there is no such frame, or it cannot be decoded.
        """
        if not 0 <= n < len(self):
            raise UserError(f"there is no frame {n} in {self.info.path}: its selected frames are 0 to {len(self) - 1}")
        position = self._positions[n]
        return Frame(*self._timing(position), next(self._source.read(range(position, position + 1))))

    def _timing(self, position: int) -> Timing:
        """Lasts until the next selected frame would come, also when the cap leaves that one out."""
        stretch = self._source.timings[position : position + self._positions.step]
        return stretch[0]._replace(duration_seconds=math.fsum(timing.duration_seconds for timing in stretch))


def open_clip(
    path: Path,
    selection: Selection | None = None,
    frame_rate: float | None = None,
    *,
    allow_partial: bool = False,
    video_stream: int | None = None,
    as_numbers: bool = False,
) -> Clip:
    """Open a video or a folder of images; nothing is decoded yet, but where the times of frames need it.

    Args:
        path: a local file or folder.
        selection: which frames are taken; all when None.
        frame_rate: frames a second of a folder of images, `DEFAULT_FRAME_RATE` when None; a video has its own times.
        allow_partial: of a video that is cut off or damaged, take the frames up to the first that cannot be decoded;
            of a folder, the images up to the first that cannot be read.
        video_stream: of a video with several streams, which is taken, from 0, cover art not counted; when None the
            default one.
        as_numbers: of images that are masks or guidance: their numbers are no colours, so no colour profile is applied.

    Raises:
        UserError: the path, the file, the selection or the frame rate cannot be used.
    """
    path = local_path(path)
    source: FrameSource
    selection = selection or Selection()
    if path.is_dir():
        if video_stream is not None:
            raise UserError(f"--video-stream is for a video, but {path} is a folder of images; leave it out")
        rate = DEFAULT_FRAME_RATE if frame_rate is None else frame_rate
        source = ImageFolder(path, rate, as_numbers=as_numbers, allow_partial=allow_partial)
    elif frame_rate is not None:
        raise UserError(f"a frame rate was given, but {path} is a video with times of its own; leave the rate out")
    else:
        source = VideoFile(path, selection, allow_partial=allow_partial, video_stream=video_stream)
    return Clip(source, selection)
