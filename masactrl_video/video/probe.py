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
from masactrl_video.video.ffmpeg_reader import decoding_command
from masactrl_video.video.file_kind import READABLE, ends_in_index, find_damage, is_clear_webp, names_all_frames
from masactrl_video.video.frame import Timing
from masactrl_video.video.streams import LOCAL_VIDEO_ONLY, READABLE_FORMATS, VideoStream, choose_stream, late_seconds

LOCAL_MEDIA_ONLY = (
    "-protocol_whitelist",
    "file",
    "-format_whitelist",
    f"{READABLE_FORMATS},wav,mp3,aac,flac,ogg",
)
"""ffmpeg's options before any input that may be sound alone."""

_KEY = 0x1  # AV_PKT_FLAG_KEY
_DISCARD = 0x4  # AV_PKT_FLAG_DISCARD: the packet is decoded, but an edit list keeps its frame from being shown
_UNKNOWN = -(2**63)  # AV_NOPTS_VALUE


@dataclass(frozen=True)
class VideoProbe:
    """One video stream of a file."""

    stream: VideoStream
    timings: tuple[Timing, ...]
    """Of every frame that is shown, in order; exact, from the packets or from the decoded frames."""
    is_plain: bool
    """Whether each packet is a frame that is shown as it is stored, so that any reader gives the same frames."""
    stored_width_px: int
    stored_height_px: int
    pixel_aspect_ratio: Fraction
    """Width of a stored pixel divided by its height; 1 where the file does not say."""
    rotation_degrees: int
    """Clockwise turn that the file asks players for: 0, 90, 180 or 270."""
    has_audio: bool
    damage: str
    """What of the file is missing or cannot be read, in words; empty where nothing is known to be."""
    pictures_are_whole: bool
    """Whether the damage, if there is any, is none of the pictures: all frames are there."""
    remarks: tuple[str, ...]
    """See `ClipInfo.remarks`."""


def probe_video(path: Path, video_stream: int | None = None) -> VideoProbe:
    """Read the packets of the file at an absolute path; where a packet may be no frame, decode them all.

    decord's own timestamps are not used: they are 32-bit, start at 0 whatever the clip's start is,
    and count the frames that an edit list hides.

    Args:
        video_stream: which of several, from 0, cover art not counted; when None the default one.

    Raises:
        UserError: the file is no readable video, has no frames, or no such stream.
    """
    missing = find_damage(path)
    listing, streams, reading, stream = _list_packets(path, video_stream, missing)
    shown = packets(listing)
    said = _said_of_damage(path, reading)
    damage = missing or said
    if damage and not shown:
        raise _nothing_left(path, damage)
    header = listing_header(listing)
    width_px, height_px = map(int, header["dimensions"].split("x"))
    if not width_px * height_px:
        raise UserError(f"{path} names no size of its frames that could be: get it anew")
    is_plain = stream.may_be_plain and (bool(damage) or _packets_are_frames(listing))
    remarks = [text for pattern, text in _REMARKS if re.search(pattern, _pictures_said(path, stream), re.MULTILINE)]
    if not is_plain:
        listing, log = _list_frames(path, stream)
        shown = packets(listing)
        remarks += _left_out(log)
        if "[error]" in log and len(times := dict(shown)) < len(shown):  # what a decoder makes of damage
            remarks.append(f"frames that come at the time of another are left out: {len(shown) - len(times)}")
            shown = list(times.items())
    if stream.num_streams > 1 and video_stream is None:
        remarks.append(_several_streams(stream))
    return VideoProbe(
        stream=stream,
        timings=_timings(path, shown, Fraction(listing_header(listing).get("tb", "1")), stream),
        is_plain=is_plain,
        stored_width_px=width_px - stream.edges_px[0],
        stored_height_px=height_px - stream.edges_px[1],
        pixel_aspect_ratio=Fraction(header.get("sar", "1/1").replace("0/1", "1/1")),
        rotation_degrees=_rotation_degrees(path, stream.said),
        has_audio=_has_audio(streams),
        damage=damage,
        pictures_are_whole=not said and (not damage or names_all_frames(path)),
        remarks=tuple(remarks),
    )


def _pictures_said(path: Path, stream: VideoStream) -> str:
    """What ffmpeg says of the stream; it calls every animated WebP transparent."""
    is_opaque = stream.container == "webp_anim" and not is_clear_webp(path)
    return stream.said.replace("argb", "rgb24") if is_opaque else stream.said


def _several_streams(stream: VideoStream) -> str:
    return (
        f"it holds {stream.num_streams} video streams, and number {stream.position} is taken, as by players; "
        f"--video-stream takes another, 0 to {stream.num_streams - 1}"
    )


_ANEW = 'ffmpeg -i in.mp4 -map 0:V -map "0:a?" -c:a copy -crf 16'
"""What every remedy begins with: all pictures again, in high quality, and all sound as it is."""

_VIDEO_LINE = r"^  Stream #0:\d+.*?: Video: .*"
_REMARKS = (
    (
        _VIDEO_LINE + r"/(smpte2084|arib-std-b67)",
        "it has high dynamic range (HDR), which is not mapped to the screen's: colours are paler than a player shows; "
        f"where they matter convert it first: {_ANEW} -vf zscale=t=linear:npl=100,tonemap=hable,"
        "zscale=p=bt709:t=bt709:m=bt709:r=tv,format=yuv420p out.mkv",
    ),
    (
        _VIDEO_LINE + r"\((.*, )?(top|bottom) (first|coded first)",
        "it is interlaced, and frames are taken as they are stored: what moves has combs; to remove them, "
        f"{_ANEW} -vf bwdif=send_frame out.mkv",
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


def late_audio_seconds(path: Path) -> float:
    """What must be added to the times of a file's sound where ffmpeg reads nothing else of it: see `late_seconds`."""
    streams = _ffmpeg(*LOCAL_MEDIA_ONLY, "-i", str(path.absolute())).stderr
    return late_seconds(streams, _AUDIO_LINE.findall(streams))


def _has_audio(streams: str) -> bool:
    return _AUDIO_LINE.search(streams) is not None


_AUDIO_LINE = re.compile(r"^  Stream #0:\d+.*?: Audio: .*$", re.MULTILINE)


def _ffmpeg(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [ffmpeg_program(), "-hide_banner", "-nostdin", *arguments]
    return subprocess.run(command, capture_output=True, text=True, errors="replace")


def _said_of_damage(path: Path, reading: str) -> str:
    """The first error that ffmpeg met while it read the packets; it calls that a success."""
    found: list[str] = re.findall(rf"{DAMAGE_SAID}(.*)$", reading, re.MULTILINE)
    if found and ends_in_index(path):
        found = [error for error in found if not error.startswith(_OF_AN_EARLY_END)]
    return found[0] if found else ""


_OF_AN_EARLY_END = ("File ended prematurely", "Truncating packet")

DAMAGE_SAID = (
    r"^(?:\[in#0\S* @ \w+\] \[error\] |\[in#0/mov\S* @ \w+\] \[warning\] (?=Packet corrupt)"
    r"|\[error\] (?=Truncating packet))"
)
"""How a line of ffmpeg begins, at log level "level+info", that tells of damage in a file's structure.

Of a broadcast single packets are often damaged; those are left out, which is said.
"""


def _list_packets(path: Path, video_stream: int | None, damage: str) -> tuple[str, str, str, VideoStream]:
    """The packets of a stream, what ffmpeg says of all streams, what it says while it reads, and the stream."""
    listing, log = _run_ffmpeg(path, video_stream or 0, damage)
    streams, _, reading = log.partition("\nStream mapping:")
    stream = choose_stream(path, streams, video_stream)
    if stream is None:
        raise UserError(f"{path} holds no video stream")
    if stream.position != (video_stream or 0):
        return _list_packets(path, stream.position, damage)
    return listing, streams, reading, stream


def _run_ffmpeg(path: Path, position: int, damage: str) -> tuple[str, str]:
    # framecrc lists one packet a line; with "-c copy" nothing is decoded. 0:V leaves cover art out.
    copy = ["-map", f"0:V:{position}", "-c", "copy", "-copyinkf", "-f", "framecrc", "-"]
    result = _ffmpeg("-loglevel", "level+info", *LOCAL_VIDEO_ONLY, "-i", str(path), *copy)
    said = re.sub(r"^\[info\] ", "", result.stderr, flags=re.MULTILINE)
    if result.returncode == 0:
        return result.stdout, said
    check_ffmpeg()  # one that is too old fails with words about the video
    if damage:
        raise _nothing_left(path, damage)
    if "matches no streams" in said and choose_stream(path, said, position) is None:
        raise UserError(f"{path} holds no video stream")
    reason = re.sub(r"^(\[[^\]]*\] )+", "", said.strip().rpartition("\n")[2])
    raise UserError(f"{path} is not a video that can be read ({reason}); allowed are {READABLE}")


def _packets_are_frames(listing: str) -> bool:
    """Whether nothing speaks against it: hidden packets, a start between key frames, pictures before the first one."""
    rows = _rows(listing)
    starts = [start for start, _, _ in rows]
    return (
        bool(rows)
        and not any(flags & _DISCARD for _, _, flags in rows)
        and bool(rows[0][2] & _KEY)
        and _UNKNOWN not in starts
        and starts[0] == min(starts)
        and len(set(starts)) == len(starts)
    )


def _list_frames(path: Path, stream: VideoStream) -> tuple[str, str]:
    """A list like that of the packets, of all frames, decoded; and what ffmpeg said."""
    small = ("-vf", "crop=min(iw\\,16):min(ih\\,16):0:0", "-f", "framecrc")  # a whole frame takes time to sum up
    command = decoding_command(path, stream, small, strict=False)
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    return done.stdout, done.stderr


def _left_out(log: str) -> list[str]:
    dropped = len(re.findall(r"Packet corrupt .* dropping it", log))
    are = "is" if dropped == 1 else "are"
    return [f"{dropped} of its packets {are} damaged and left out"] if dropped else []


def listing_header(listing: str) -> dict[str, str]:
    """What framecrc says of the stream before its packets."""
    return dict(re.findall(r"^#(\w+) 0: (.*)$", listing, re.MULTILINE))


def _nothing_left(path: Path, damage: str) -> UserError:
    return UserError(f"{path} is cut off or damaged ({damage}), and not one frame is left: get it anew")


def _rotation_degrees(path: Path, streams: str) -> int:
    match = re.search(r"Display Matrix: rotation of (-?[\d.]+) degrees", streams)
    degrees = round(-float(match[1])) % 360 if match else 0  # ffmpeg counts anticlockwise
    if degrees % 90:
        raise UserError(f"{path} asks for a rotation of {degrees} degrees; only 0, 90, 180 and 270 can be shown")
    return degrees


def _timings(
    path: Path, packets: list[tuple[int, int]], tick_seconds: Fraction, stream: VideoStream
) -> tuple[Timing, ...]:
    if not packets:
        raise UserError(f"{path} holds no frames")
    shown = sorted(packets)
    ticks = [start for start, _ in shown]
    ticks.append(ticks[-1] + _last_duration(shown, tick_seconds, stream))
    gaps = [after - before for before, after in pairwise(ticks)]
    if ticks[0] == _UNKNOWN or min(gaps) <= 0:
        raise UserError(f"{path} has frames without a time of their own; repair it: {_ANEW} out.mkv")
    return tuple(
        Timing(index, float(start * tick_seconds), float(gap * tick_seconds))
        for index, (start, gap) in enumerate(zip(ticks, gaps, strict=False))
    )


def packets(listing: str) -> list[tuple[int, int]]:
    """(presentation time, duration) in ticks of the packets that are shown, in file order."""
    return [(start, duration) for start, duration, flags in _rows(listing) if not flags & _DISCARD]


def _rows(listing: str) -> list[tuple[int, int, int]]:
    """Presentation time, duration and flags of all packets; framecrc names no flags where a packet is a key frame."""
    rows = [line.split(",") for line in listing.splitlines() if not line.startswith("#")]
    flags = [next((int(field.split("=")[1], 16) for field in row if field.startswith(" F=")), _KEY) for row in rows]
    return [(int(row[2]), int(row[3]), flag) for row, flag in zip(rows, flags, strict=True)]


def _last_duration(packets: list[tuple[int, int]], tick_seconds: Fraction, stream: VideoStream) -> int:
    """The last packet's own duration.

    Matroska may leave it out, and in AVI each is a tick: then that of the frame before, then 1/25 s.
    """
    if packets[-1][1] > 0 and (stream.container != "avi" or len(packets) == 1):
        return packets[-1][1]
    return packets[-1][0] - packets[-2][0] if len(packets) > 1 else max(1, round(Fraction(1, 25) / tick_seconds))
