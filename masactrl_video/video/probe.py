"""What ffmpeg knows about a video file without decoding it: times of the frames, size, rotation, sound."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from masactrl_video.errors import UserError
from masactrl_video.video.ffmpeg_program import check_ffmpeg, ffmpeg_program
from masactrl_video.video.file_kind import find_damage
from masactrl_video.video.frame import Timing

READABLE_FORMATS = "mov,mp4,matroska,webm,gif"
"""ffmpeg's names of the containers that are read. Playlists and concat scripts are not: they open further files."""

LOCAL_VIDEO_ONLY = ("-protocol_whitelist", "file", "-format_whitelist", READABLE_FORMATS)
"""ffmpeg's options before a video that may be anybody's."""

LOCAL_MEDIA_ONLY = (
    "-protocol_whitelist",
    "file",
    "-format_whitelist",
    f"{READABLE_FORMATS},wav,mp3,aac,flac,ogg",
)
"""ffmpeg's options before any input that may be sound alone."""

_DISCARD = 0x4  # AV_PKT_FLAG_DISCARD: the packet is decoded, but an edit list keeps its frame from being shown
_UNKNOWN = -(2**63)  # AV_NOPTS_VALUE


@dataclass(frozen=True)
class VideoProbe:
    """The first video stream of a file."""

    timings: tuple[Timing, ...]
    """Of every frame that is shown, in order; exact, from the packets."""
    stored_width_px: int
    stored_height_px: int
    pixel_aspect_ratio: Fraction
    """Width of a stored pixel divided by its height; 1 where the file does not say."""
    rotation_degrees: int
    """Clockwise turn that the file asks players for: 0, 90, 180 or 270."""
    has_audio: bool
    damage: str
    """What of the file is missing or cannot be read, in words; empty where nothing is known to be."""
    cut_frame: int | None
    """Position of the frame at which a file that is cut off ends: its own data may be cut."""
    remarks: tuple[str, ...]
    """See `ClipInfo.remarks`."""


def probe_video(path: Path) -> VideoProbe:
    """Read the packets of the file at an absolute path.

    decord's own timestamps are not used: they are 32-bit, start at 0 whatever the clip's start is,
    and count the frames that an edit list hides.

    Raises:
        UserError: the file is no readable video, has no frames, or has more than one video stream.
    """
    damage = find_damage(path)
    listing, log = _run_ffmpeg(path, damage)
    streams, _, reading = log.partition("\nStream mapping:")
    _check_single_stream(path, streams)
    shown = packets(listing)
    is_cut, damage = bool(damage), damage or _said_of_damage(reading)
    if damage and not shown:
        raise _nothing_left(path, damage)
    header = dict(re.findall(r"^#(\w+) 0: (.*)$", listing, re.MULTILINE))
    width_px, height_px = map(int, header["dimensions"].split("x"))
    if not width_px * height_px:
        raise UserError(f"{path} names no size of its frames that could be; repair it: ffmpeg -i in.mp4 out.mp4")
    return VideoProbe(
        timings=_timings(path, shown, Fraction(header["tb"])),
        stored_width_px=width_px,
        stored_height_px=height_px,
        pixel_aspect_ratio=Fraction(header.get("sar", "1/1").replace("0/1", "1/1")),
        rotation_degrees=_rotation_degrees(path, streams),
        has_audio=_has_audio(streams),
        damage=damage,
        cut_frame=sorted(shown).index(shown[-1]) if is_cut else None,
        remarks=tuple(text for pattern, text in _REMARKS if re.search(pattern, streams, re.MULTILINE)),
    )


_VIDEO_LINE = r"^  Stream #0:\d+.*?: Video: .*"
_REMARKS = (
    (
        _VIDEO_LINE + r"/(smpte2084|arib-std-b67)",
        "it has high dynamic range (HDR), which is not mapped to the screen's: colours are paler than a player shows; "
        "where they matter convert it first, e.g. with ffmpeg's zscale and tonemap filters",
    ),
    (
        _VIDEO_LINE + r"\((.*, )?(top|bottom) (first|coded first)",
        "it is interlaced, and frames are taken as they are stored: what moves has combs; to remove them, "
        "ffmpeg -i in.mp4 -vf bwdif out.mp4",
    ),
    (
        _VIDEO_LINE + r" (yuva\w+|argb|rgba|abgr|gbrap\w*|ya8|rgba64\w+)[(,]|^ +alpha_mode +: 1$",
        "it has transparency, which is dropped: the colours below it are taken",
    ),
)


def sound_codecs(path: Path) -> tuple[str, ...]:
    """ffmpeg's names of the codecs of a media file's audio tracks, in order; empty where ffmpeg cannot read it."""
    streams = _ffmpeg(*LOCAL_MEDIA_ONLY, "-i", str(path.absolute())).stderr
    return tuple(re.findall(r"^  Stream #0:\d+.*?: Audio: (\w+)", streams, re.MULTILINE))


def _has_audio(streams: str) -> bool:
    return re.search(r"^  Stream #0:\d+.*?: Audio: ", streams, re.MULTILINE) is not None


def _ffmpeg(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [ffmpeg_program(), "-hide_banner", "-nostdin", *arguments]
    return subprocess.run(command, capture_output=True, text=True, errors="replace")


def _said_of_damage(reading: str) -> str:
    """The first error that ffmpeg met while it read the packets; it calls that a success."""
    found = re.search(r"^\[in#0\S* @ \w+\] \[error\] (.*)$", reading, re.MULTILINE)
    return found[1] if found else ""


def _run_ffmpeg(path: Path, damage: str) -> tuple[str, str]:
    # framecrc lists one packet a line; with "-c copy" nothing is decoded. 0:V leaves cover art out.
    copy = ["-map", "0:V:0", "-c", "copy", "-f", "framecrc", "-"]
    result = _ffmpeg("-loglevel", "level+info", *LOCAL_VIDEO_ONLY, "-i", str(path), *copy)
    result.stderr = re.sub(r"^\[info\] ", "", result.stderr, flags=re.MULTILINE)
    if result.returncode == 0:
        return result.stdout, result.stderr
    check_ffmpeg()  # one that is too old fails with words about the video
    if damage:
        raise _nothing_left(path, damage)
    if "matches no streams" in result.stderr:
        raise UserError(f"{path} holds no video stream")
    reason = re.sub(r"^(\[[^\]]*\] )+", "", result.stderr.strip().rpartition("\n")[2])
    raise UserError(f"{path} is not a video that can be read ({reason}); allowed are MP4, MOV, MKV, WebM and GIF")


def _nothing_left(path: Path, damage: str) -> UserError:
    return UserError(f"{path} is cut off or damaged ({damage}), and not one frame is left: get it anew")


def _check_single_stream(path: Path, streams: str) -> None:
    found = re.findall(r"^  Stream #0:\d+.*?: Video: .*$", streams, re.MULTILINE)
    if sum("(attached pic)" not in line for line in found) > 1:
        raise UserError(f"{path} holds several video streams; keep one: ffmpeg -i in.mp4 -map 0:v:0 -c copy out.mp4")


def _rotation_degrees(path: Path, streams: str) -> int:
    match = re.search(r"Display Matrix: rotation of (-?[\d.]+) degrees", streams)
    degrees = round(-float(match[1])) % 360 if match else 0  # ffmpeg counts anticlockwise
    if degrees % 90:
        raise UserError(f"{path} asks for a rotation of {degrees} degrees; only 0, 90, 180 and 270 can be shown")
    return degrees


def _timings(path: Path, packets: list[tuple[int, int]], tick_seconds: Fraction) -> tuple[Timing, ...]:
    if not packets:
        raise UserError(f"{path} holds no frames")
    shown = sorted(packets)
    ticks = [start for start, _ in shown]
    ticks.append(ticks[-1] + _last_duration(shown, tick_seconds))
    gaps = [after - before for before, after in pairwise(ticks)]
    if ticks[0] == _UNKNOWN or min(gaps) <= 0:
        raise UserError(f"{path} has frames without a time of their own; repair it: ffmpeg -i in.mp4 out.mkv")
    return tuple(
        Timing(index, float(start * tick_seconds), float(gap * tick_seconds))
        for index, (start, gap) in enumerate(zip(ticks, gaps, strict=False))
    )


def packets(listing: str) -> list[tuple[int, int]]:
    """(presentation time, duration) in ticks of the packets that are shown, in file order."""
    rows = [line.split(",") for line in listing.splitlines() if not line.startswith("#")]
    flags = [next((int(field.split("=")[1], 16) for field in row if field.startswith(" F=")), 0) for row in rows]
    return [(int(row[2]), int(row[3])) for row, flag in zip(rows, flags, strict=True) if not flag & _DISCARD]


def _last_duration(packets: list[tuple[int, int]], tick_seconds: Fraction) -> int:
    """The last packet's own duration; Matroska may leave it out, then that of the frame before, then 1/25 s."""
    if packets[-1][1] > 0:
        return packets[-1][1]
    return packets[-1][0] - packets[-2][0] if len(packets) > 1 else max(1, round(Fraction(1, 25) / tick_seconds))
