"""Frames of a video file, decoded in order by decord."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.video.frame import ClipInfo
from masactrl_video.video.partial import read_frames, readable_frames
from masactrl_video.video.picture_file import check_size
from masactrl_video.video.probe import VideoProbe, probe_video

# Where a frame cannot be decoded, decord shall raise, not repeat another one. The limit is a share of the frames;
# 0 would mean "repeat without a word".
_NO_REPEATED_FRAMES = 1e-9


class VideoFile:
    """A video file as a source of frames."""

    def __init__(self, path: Path, *, allow_partial: bool = False) -> None:
        """Read the times and the size of the video at an absolute path; nothing is decoded.

        Args:
            allow_partial: take what can be read of a file that is cut off or damaged: its frames up to the first that
                cannot be decoded. Finding that one decodes the whole file.

        Raises:
            UserError: it cannot be read, or not as a whole and `allow_partial` is off.
        """
        probe = probe_video(path)
        check_size(path, probe.stored_width_px, probe.stored_height_px)
        self._decoded_size = _turned(probe.stored_width_px, probe.stored_height_px, probe.rotation_degrees)
        self.timings, self.info = probe.timings, _clip_info(path, probe)
        self._is_partial = False
        if allow_partial:
            self._keep_readable(probe)
        elif probe.damage:
            raise UserError(
                f"{path} is cut off or damaged ({probe.damage}): {len(self.timings)} frames "
                f"({self.info.duration_seconds:.3f} seconds) are left; --allow-partial takes those of them that can be "
                "decoded"
            )

    def _keep_readable(self, probe: VideoProbe) -> None:
        count = readable_frames(self.info.path)
        count = count if probe.cut_frame is None else min(count, probe.cut_frame)
        if count == 0:
            raise UserError(f"{self.info.path}: not one of its frames can be decoded: get it anew")
        if count < len(self.timings) or probe.damage:
            self._is_partial = True
            remark = f"it is damaged or cut off: only its first {count} frames can be read, and are all that is taken"
            left = replace(probe, timings=probe.timings[:count], remarks=(remark, *probe.remarks))
            self.timings, self.info = left.timings, _clip_info(self.info.path, left)

    def read(self, positions: range) -> Iterator[NDArray[np.uint8]]:
        """Decode from the start and give the frames at the ascending `positions`, RGB (height, width, 3).

        decord's random access is not used: after an edit list it returns other frames than asked for.

        Raises:
            UserError: a frame cannot be decoded.
        """
        if self._is_partial:
            yield from self._read_partial(positions)
            return
        decord = _decord()
        try:
            decoder = decord.VideoReader(str(self.info.path), fault_tol=_NO_REPEATED_FRAMES)
        except decord.DECORDError:
            raise self._damaged(positions[0]) from None
        done = 0
        for position in positions:
            try:
                if position > done:
                    decoder.skip_frames(position - done)
                pixels = decoder.next().asnumpy()
            except (decord.DECORDError, decord.DECORDLimitReachedError, StopIteration):
                raise self._damaged(position) from None
            done = position + 1
            yield self._as_shown(pixels, position)

    def _read_partial(self, positions: range) -> Iterator[NDArray[np.uint8]]:
        done = -1
        for done, pixels in zip(positions, read_frames(self.info.path, self._decoded_size, positions), strict=False):
            yield self._as_shown(pixels, done)
        if done != positions[-1]:
            raise self._damaged(done + 1)

    def _as_shown(self, pixels: NDArray[np.uint8], position: int) -> NDArray[np.uint8]:
        """Stretch pixels that are not square; decord has turned the frame already."""
        height_px, width_px, _ = pixels.shape
        # decord pads rows to 64 bytes; where the width is small (48, 32, …) it takes the padding for more channels
        pixels = pixels.reshape(height_px, -1)[:, : width_px * 3].reshape(height_px, width_px, 3)
        if (width_px, height_px) != self._decoded_size:
            raise self._damaged(position)
        shown_size = (self.info.width_px, self.info.height_px)
        return pixels if self._decoded_size == shown_size else _stretched(pixels, shown_size)

    def _damaged(self, position: int) -> UserError:
        return UserError(
            f"frame {position} of {self.info.num_frames} of {self.info.path} cannot be decoded: the file is damaged "
            f"or cut off; --allow-partial takes the frames before it, or repair it (ffmpeg -i in.mp4 out.mp4)"
        )


def _decord() -> Any:
    """The library, once frames are wanted: what a clip is can be said without it, at once."""
    # decord's wheel brings a BLAS of its own: where it is loaded before torch, torch's matrix products crash
    import torch  # noqa: F401

    # isort: split
    import decord

    decord.logging.set_level(decord.logging.QUIET)  # what goes wrong is said once, by us
    return decord


def _clip_info(path: Path, probe: VideoProbe) -> ClipInfo:
    shown_width_px = round(probe.stored_width_px * probe.pixel_aspect_ratio)
    width_px, height_px = _turned(shown_width_px, probe.stored_height_px, probe.rotation_degrees)
    last = probe.timings[-1]
    duration_seconds = last.start_seconds + last.duration_seconds - probe.timings[0].start_seconds
    return ClipInfo(
        path=path,
        kind="video",
        width_px=width_px,
        height_px=height_px,
        rotation_degrees=probe.rotation_degrees,
        num_frames=len(probe.timings),
        average_frame_rate=len(probe.timings) / duration_seconds,
        duration_seconds=duration_seconds,
        has_audio=probe.has_audio,
        remarks=probe.remarks,
    )


def _turned(width_px: int, height_px: int, rotation_degrees: int) -> tuple[int, int]:
    return (height_px, width_px) if rotation_degrees in (90, 270) else (width_px, height_px)


def _stretched(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    import cv2

    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
