"""What is known about a clip before it is rendered, also of a damaged one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from masactrl_video.errors import UserError, counted
from masactrl_video.video.clip import DEFAULT_FRAME_RATE
from masactrl_video.video.decord_reader import clip_info
from masactrl_video.video.frame import ClipInfo
from masactrl_video.video.image_folder import ImageFolder, list_images
from masactrl_video.video.local_file import local_path
from masactrl_video.video.partial import find_readable
from masactrl_video.video.probe import VideoProbe, probe_video
from masactrl_video.video.streams import Colours


@dataclass(frozen=True)
class ClipFacts:
    """A clip, how its pictures are stored, and what of it is damaged."""

    info: ClipInfo
    codec: str = ""
    """ffmpeg's name and the profile; empty for images."""
    colours: Colours = field(default_factory=Colours)
    damage: str = ""
    """In words; empty where none is found."""
    num_readable_frames: int | None = None
    """Those before the damage; None where nothing was decoded."""

    def as_data(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        data = asdict(self)
        return {**data.pop("info"), **data, "path": str(self.info.path)}


def facts_of(path: Path, video_stream: int | None = None, *, decode: bool = True) -> ClipFacts:
    """What is known about a video or a folder of images.

    Args:
        video_stream: of several, from 0; when None the default one.
        decode: look for damage in all frames; otherwise only what a file says of itself is read.

    Raises:
        UserError: it cannot be read, or not one frame of it.
    """
    path = local_path(path)
    if not path.is_dir():
        return _of_video(path, probe_video(path, video_stream), decode)
    if video_stream is not None:
        raise UserError(f"--video-stream is for a video, but {path} is a folder of images; leave it out")
    info = ImageFolder(path, DEFAULT_FRAME_RATE, allow_partial=decode).info
    if not decode:
        return ClipFacts(info)
    files = list_images(path)
    is_damaged = info.num_frames < len(files)
    damage = f"{files[info.num_frames].name} cannot be read" if is_damaged else ""
    return ClipFacts(info, damage=_with_left(damage, info.num_frames, len(files)), num_readable_frames=info.num_frames)


def _of_video(path: Path, probe: VideoProbe, decode: bool) -> ClipFacts:
    total, damage, readable = len(probe.timings), probe.damage, None
    if damage and probe.pictures_are_whole:
        damage += " of its sound"
    if decode:
        found = find_readable(path, probe.stream, probe.timings)
        readable = found.frames
        if not found.is_whole:
            damage = "; ".join(filter(None, [damage, f"frame {readable} cannot be decoded"]))
        damage = _with_left(damage, readable, total)
    return ClipFacts(clip_info(path, probe), probe.stream.codec, probe.stream.colours, damage, readable)


def _with_left(damage: str, readable: int, total: int) -> str:
    return f"{damage}; the first {readable} of {counted(total, 'frame')} can be read" if damage else ""
