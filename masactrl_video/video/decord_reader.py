"""Frames of a video file: decoded by decord where every reader gives the same, else by ffmpeg."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError, counted
from masactrl_video.video.ffmpeg_reader import ffmpeg_frames
from masactrl_video.video.frame import ClipInfo, Selection
from masactrl_video.video.partial import Readable, find_readable
from masactrl_video.video.picture_file import check_size
from masactrl_video.video.probe import VideoProbe, probe_video

logger = logging.getLogger(__name__)

# Where a frame cannot be decoded, decord shall raise, not repeat another one. The limit is a share of the frames;
# 0 would mean "repeat without a word".
_NO_REPEATED_FRAMES = 1e-9


class VideoFile:
    """A video file as a source of frames."""

    def __init__(
        self,
        path: Path,
        selection: Selection | None = None,
        *,
        allow_partial: bool = False,
        video_stream: int | None = None,
    ) -> None:
        """Read the times and the size of the video at an absolute path.

        Args:
            selection: what will be asked for; damage beyond it is only remarked. All when None.
            video_stream: which of several, from 0, cover art not counted; when None the default one.
            allow_partial: take what can be read of a file that is cut off or damaged: its frames up to the first that
                cannot be decoded. Finding that one decodes the whole file.

        Raises:
            UserError: it cannot be read, or not as far as is asked for and `allow_partial` is off.
        """
        probe = probe_video(path, video_stream)
        self._probe = probe
        check_size(path, probe.stored_width_px, probe.stored_height_px)
        self._decoded_size = _turned(probe.stored_width_px, probe.stored_height_px, probe.rotation_degrees)
        self.timings, self.info = probe.timings, clip_info(path, probe)
        self._readable: Readable | None = None
        if probe.damage and probe.pictures_are_whole:
            self._remark(f"{probe.damage} of its sound, which ends early")
        elif allow_partial:
            self._keep_readable(probe)
        elif probe.damage:
            self._ask_before_damage(selection or Selection())

    def _remark(self, remark: str) -> None:
        self.info = replace(self.info, remarks=(remark, *self.info.remarks))

    def _ask_before_damage(self, selection: Selection) -> None:
        """Of a file whose end is unknown, only so many frames may be asked for as are surely there."""
        cap, damage = selection.frame_load_cap, self._probe.damage
        wanted = selection.skip_first_frames + ((cap or 0) - 1) * selection.select_every_nth + 1
        found = None if cap is None else self._find_readable(wanted)
        if found is None or found.frames < wanted:
            left = f"{counted(len(self.timings), 'frame')} ({self.info.duration_seconds:.3f} seconds)"
            raise UserError(
                f"{self.info.path} is cut off or damaged ({damage}), with {left} left; --allow-partial takes those of "
                "them that can be decoded"
            )
        self._readable = found
        self._remark(f"it is cut off or damaged ({damage}); the frames that are taken lie before that")

    def _keep_readable(self, probe: VideoProbe) -> None:
        found = self._find_readable()
        if found.frames == 0:
            raise UserError(f"{self.info.path}: not one of its frames can be decoded: get it anew")
        if found.frames < len(self.timings) or probe.damage:
            self._readable, count = found, found.frames
            left = replace(probe, timings=probe.timings[:count])
            self.timings, self.info = left.timings, clip_info(self.info.path, left)
            taken = "frame can be read, and is" if count == 1 else f"{count} frames can be read, and are"
            self._remark(f"it is damaged or cut off: only its first {taken} all that is taken")

    def _find_readable(self, wanted_frames: int | None = None) -> Readable:
        return find_readable(self.info.path, self._probe.stream, self.timings, wanted_frames)

    def read(self, positions: range) -> Iterator[NDArray[np.uint8]]:
        """Decode from the start and give the frames at the ascending `positions`, RGB (height, width, 3).

        Where a reader cannot go on, it may be for damage further on: then ffmpeg gives the frames before that.

        Raises:
            UserError: a frame cannot be decoded.
        """
        rest = positions
        if self._readable is None:
            for pixels in self._undamaged(positions):
                yield self._as_shown(pixels)
                rest = rest[1:]
            if not rest:
                return
            self._look_for_damage(positions)
        assert self._readable is not None
        due, packets = rest[0], self._readable.packets
        stop = min(rest[-1] + 1, self._readable.frames)
        if due < stop:
            for position, pixels in self._ffmpeg_frames(range(due, stop), packets):
                if position in rest:
                    yield self._as_shown(pixels)
                due = position + 1
        if due <= rest[-1]:
            raise self._damaged(min(due, self._readable.frames))

    def _undamaged(self, positions: range) -> Iterator[NDArray[np.uint8]]:
        """The frames at the positions; ends early at the first sign of damage."""
        if self._suits_decord():
            yield from _decord_frames(self.info.path, positions, self._decoded_size)
            return
        for position, pixels in self._ffmpeg_frames(range(positions[0], positions[-1] + 1)):
            if position in positions:
                yield pixels

    def _ffmpeg_frames(
        self, positions: range, first_packets: int | None = None
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        path, stream = self.info.path, self._probe.stream
        return ffmpeg_frames(path, stream, self.timings, positions, self._decoded_size, first_packets=first_packets)

    def _look_for_damage(self, positions: range) -> None:
        """Readers look ahead and meet damage, here or further on: find out where."""
        self._readable = found = self._find_readable(positions[-1] + 1)
        if positions[-1] < found.frames < len(self.timings) and not found.is_whole:
            text = "%s is damaged: frame %d of %d cannot be decoded; the frames that are taken lie before it"
            logger.warning(text, self.info.path, found.frames, len(self.timings))

    def warn_of_patches(self, positions: range) -> None:
        """Say where frames up to the last of `positions` are damaged, though decord gives them without a word.

        Decoders fill a hole with what was there before, and go on.
        """
        if self._readable is not None or not self._suits_decord():
            return  # ffmpeg, which stops there, has decoded them
        found = self._find_readable(positions[-1] + 1)
        if found.frames <= positions[-1] and not found.is_whole:
            text = (
                "%s is damaged: frame %d of %d is patched up, and later ones may be; --allow-partial takes those before"
            )
            logger.warning(text, self.info.path, found.frames, len(self.timings))

    def _suits_decord(self) -> bool:
        """Whether it gives what ffmpeg gives: it chooses stream and colours by itself, and does not mirror."""
        probe = self._probe
        return (
            probe.is_plain
            and not probe.stream.is_turned
            and probe.stream.num_streams == 1
            and probe.stream.assumed_matrix is None
        )

    def _as_shown(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Stretch pixels that are not square; the frame has been turned already."""
        shown_size = (self.info.width_px, self.info.height_px)
        return pixels if self._decoded_size == shown_size else _stretched(pixels, shown_size)

    def _damaged(self, position: int) -> UserError:
        remedy = "--allow-partial takes the frames before it" if position else "get it anew"
        return UserError(
            f"frame {position} of {self.info.num_frames} of {self.info.path} cannot be decoded: the file is damaged "
            f"or cut off; {remedy}"
        )


def _decord_frames(path: Path, positions: range, size_px: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """The frames at ascending positions; ends early where decord fails.

    Every frame from the start on is decoded: decord's seeking and skipping give other frames than asked for.
    """
    # decord brings a BLAS of its own: where it is loaded before torch, the matrix products of torch crash the process
    import torch  # noqa: F401

    # isort: split
    import decord

    decord.logging.set_level(decord.logging.QUIET)  # what goes wrong is said once, by us
    width_px, height_px = size_px
    try:
        with _plain_name(path) as name:
            decoder = decord.VideoReader(name, fault_tol=_NO_REPEATED_FRAMES)
        for position in range(positions[-1] + 1):
            pixels = decoder.next().asnumpy()
            if pixels.shape[:2] != (height_px, width_px):
                return
            if position in positions:
                # decord pads rows to 64 bytes; where the width is small it takes the padding for more channels
                yield pixels.reshape(height_px, -1)[:, : width_px * 3].reshape(height_px, width_px, 3)
    except (decord.DECORDError, decord.DECORDLimitReachedError, StopIteration):
        return


def clip_info(path: Path, probe: VideoProbe) -> ClipInfo:
    """What is known about all frames of a video."""
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


@contextmanager
def _plain_name(path: Path) -> Iterator[str]:
    """The name of the file at an absolute path, or while the context lasts, where that is no UTF-8, of a link to it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory(prefix="masactrl-video-") as folder:
            link = Path(folder) / "file"
            link.symlink_to(path)
            yield str(link)
    else:
        yield str(path)
