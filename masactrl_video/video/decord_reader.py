"""Frames of a video file, decoded in order by decord."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

# decord's wheel brings a BLAS of its own: where it is loaded before torch, torch's matrix products crash the process
import torch  # noqa: F401

# isort: split
import cv2
import decord
import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.video.frame import ClipInfo, Selection, frames_text
from masactrl_video.video.partial import Readable, find_readable, read_frames
from masactrl_video.video.picture_file import check_size
from masactrl_video.video.probe import VideoProbe, probe_video

logger = logging.getLogger(__name__)

# Where a frame cannot be decoded, decord shall raise, not repeat another one. The limit is a share of the frames;
# 0 would mean "repeat without a word".
_NO_REPEATED_FRAMES = 1e-9


class VideoFile:
    """A video file as a source of frames."""

    def __init__(self, path: Path, selection: Selection | None = None, *, allow_partial: bool = False) -> None:
        """Read the times and the size of the video at an absolute path; a whole one is not decoded.

        Args:
            selection: what will be asked for; damage beyond it is only remarked. All when None.
            allow_partial: take what can be read of a file that is cut off or damaged: its frames up to the first that
                cannot be decoded. Finding that one decodes the whole file.

        Raises:
            UserError: it cannot be read, or not as far as is asked for and `allow_partial` is off.
        """
        probe = probe_video(path)
        check_size(path, probe.stored_width_px, probe.stored_height_px)
        self._decoded_size = _turned(probe.stored_width_px, probe.stored_height_px, probe.rotation_degrees)
        self.timings, self.info = probe.timings, _clip_info(path, probe)
        self._readable: Readable | None = None
        if probe.damage and probe.pictures_are_whole:
            self._remark(probe, f"{probe.damage} of its sound, which ends early")
        elif probe.damage and not allow_partial:
            self._ask_before_damage(probe, selection or Selection())
        elif allow_partial:
            self._keep_readable(probe)

    def _remark(self, probe: VideoProbe, remark: str) -> None:
        self.info = replace(self.info, remarks=(remark, *probe.remarks))

    def _ask_before_damage(self, probe: VideoProbe, selection: Selection) -> None:
        """Of a file whose end is unknown, only so many frames may be asked for as are surely there."""
        cap = selection.frame_load_cap
        wanted = selection.skip_first_frames + ((cap or 0) - 1) * selection.select_every_nth + 1
        found = find_readable(self.info.path, wanted) if cap is not None else None
        if found is None or found.frames < wanted:
            left = f"{frames_text(len(self.timings))} ({self.info.duration_seconds:.3f} seconds)"
            raise UserError(
                f"{self.info.path} is cut off or damaged ({probe.damage}): {left} "
                f"{'is' if len(self.timings) == 1 else 'are'} left; --allow-partial takes those of them that can be "
                "decoded"
            )
        self._readable = found
        self._remark(probe, f"it is cut off or damaged ({probe.damage}); the frames that are taken lie before that")

    def _keep_readable(self, probe: VideoProbe) -> None:
        found = find_readable(self.info.path)
        if found.frames == 0:
            raise UserError(f"{self.info.path}: not one of its frames can be decoded: get it anew")
        if found.frames < len(self.timings) or probe.damage:
            self._readable, count = found, min(found.frames, len(self.timings))
            left = replace(probe, timings=probe.timings[:count])
            self.timings, self.info = left.timings, _clip_info(self.info.path, left)
            frames = "frame" if count == 1 else f"{count} frames"
            is_all = "is all that is" if count == 1 else "are all that is"
            self._remark(probe, f"it is damaged or cut off: only its first {frames} can be read, and {is_all} taken")

    def read(self, positions: range) -> Iterator[NDArray[np.uint8]]:
        """Decode from the start and give the frames at the ascending `positions`, RGB (height, width, 3).

        decord's random access is not used: after an edit list it returns other frames than asked for.

        Raises:
            UserError: a frame cannot be decoded.
        """
        num_read = 0
        if self._readable is None:
            try:
                for pixels in self._read_by_decord(positions):
                    yield pixels
                    num_read += 1
                return
            except (decord.DECORDError, decord.DECORDLimitReachedError):
                self._look_for_damage(positions)
        yield from self._read_before_damage(positions[num_read:])

    def _read_by_decord(self, positions: range) -> Iterator[NDArray[np.uint8]]:
        decord.logging.set_level(decord.logging.QUIET)  # what goes wrong is said once, by us
        decoder = decord.VideoReader(str(self.info.path), fault_tol=_NO_REPEATED_FRAMES)
        done = 0
        for position in positions:
            if position > done:
                decoder.skip_frames(position - done)
            try:
                pixels = decoder.next().asnumpy()
            except StopIteration:
                raise decord.DECORDError(f"no frame {position}") from None
            done = position + 1
            yield self._as_shown(pixels, position)

    def _look_for_damage(self, positions: range) -> None:
        """decord's threads have met damage, here or further on: find out where."""
        self._readable = found = find_readable(self.info.path, positions[-1] + 1)
        if positions[-1] < found.frames < len(self.timings) and not found.is_whole:
            text = "%s is damaged: frame %d of %d cannot be decoded; the frames that are taken lie before it"
            logger.warning(text, self.info.path, found.frames, len(self.timings))

    def _read_before_damage(self, positions: range) -> Iterator[NDArray[np.uint8]]:
        assert self._readable is not None
        readable = range(positions.start, min(positions.stop, self._readable.frames), positions.step)
        num_read = 0
        if readable:
            frames = read_frames(self.info.path, self._decoded_size, readable, self._readable.packets)
            for position, pixels in zip(readable, frames, strict=False):
                yield self._as_shown(pixels, position)
                num_read += 1
        if num_read < len(readable):
            raise self._damaged(readable[num_read])
        if num_read < len(positions):
            raise self._damaged(self._readable.frames)

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
        remedy = "--allow-partial takes the frames before it" if position else "get it anew"
        return UserError(
            f"frame {position} of {self.info.num_frames} of {self.info.path} cannot be decoded: the file is damaged "
            f"or cut off; {remedy}"
        )


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
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
