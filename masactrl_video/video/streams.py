"""What ffmpeg says of a file's video streams before it reads their packets, and which of them is taken."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from masactrl_video.errors import UserError

READABLE_FORMATS = "mov,mp4,matroska,webm,gif,avi,mpegts,mpeg,flv,asf,ogg,webp_anim,apng"
"""ffmpeg's names of the containers that are read. Playlists and concat scripts are not: they open further files."""

LOCAL_VIDEO_ONLY = ("-protocol_whitelist", "file", "-format_whitelist", READABLE_FORMATS)
"""ffmpeg's options before a video that may be anybody's."""

_COVER = re.compile(r"\((attached pic|timed thumbnails)\)")
_PICTURE = re.compile(r": Video: (\w+).*?, (\w+)(?:\(([^)]*)\))?, (\d+)x(\d+)")

# One packet is one frame, and the packet's time is the frame's, unless `probe_video` sees a sign of something else.
_PACKETS_ARE_FRAMES = ("h264", "hevc", "vp9", "av1", "prores", "mjpeg", "gif")
_PLAIN_CONTAINERS = ("mov", "matroska", "gif")

# Streams that are cut out of a broadcast begin anywhere. What comes before the first key frame cannot be decoded, and
# some decoders call that damage.
_FROM_KEY_FRAME = "noise=drop='not(st(0,ld(0)+key))'"
_BROADCAST = ("mpegts", "mpeg")

_FIELDS = re.compile(r"progressive|(top|bottom) (first|coded first)")
_RANGES = {"tv": "limited", "pc": "full"}
_MATRICES = ("bt709", "smpte170m", "smpte240m", "bt470bg", "fcc")  # all else is said with two slashes


@dataclass(frozen=True)
class Colours:
    """How pixels are stored and what the file says of their colours, in ffmpeg's words; empty where it says nothing."""

    pixel_format: str = ""
    range: str = ""
    """limited or full."""
    matrix: str = ""
    primaries: str = ""
    transfer: str = ""


@dataclass(frozen=True)
class VideoStream:
    """One of a file's video streams."""

    position: int
    """Among its video streams, from 0, cover art not counted: ffmpeg's 0:V:n."""
    num_streams: int
    """How many there are to choose from."""
    container: str
    """ffmpeg's name of it, of several the first."""
    said: str
    """ffmpeg's lines about this stream."""
    late_seconds: float
    """What must be added to the times that ffmpeg gives to this stream, where it reads no other: see `late_seconds`."""

    @property
    def map(self) -> tuple[str, str]:
        """ffmpeg's option that takes it."""
        return "-map", f"0:V:{self.position}"

    def decoding_options(self, first_packets: int | None = None) -> tuple[str, ...]:
        """ffmpeg's options before a file whose frames are decoded: all, or those in so many packets of the stream."""
        late = ("-itsoffset", f"{self.late_seconds:.6f}") if self.late_seconds else ()
        dropped = [] if first_packets is None else [f"noise=drop='gte(n,{first_packets})'"]
        dropped += [_FROM_KEY_FRAME] if self.container in _BROADCAST else []
        return (*LOCAL_VIDEO_ONLY, *(("-bsf:v", ",".join(dropped)) if dropped else ()), *late)

    @property
    def codec(self) -> str:
        """Its name, and its profile where it has one: h264 (High)."""
        match = re.search(r": Video: (\w+)(?: \(([^()/]+)\))?", self.said)
        return "" if match is None else match[1] + (f" ({match[2]})" if match[2] else "")

    @property
    def colours(self) -> Colours:
        """What the file says of them."""
        _, pixels, words, _, _ = _described(self.said)
        said = [word for word in words.split(", ") if word and not _FIELDS.fullmatch(word)]
        ranges = [_RANGES[word] for word in said if word in _RANGES]
        spaces = [word for word in said if word not in _RANGES][:1]
        # one word stands for all three
        names = spaces[0].split("/") if spaces and "/" in spaces[0] else spaces * 3
        matrix, primaries, transfer = ("" if name == "unknown" else name for name in names or ("", "", ""))
        return Colours(pixels, ranges[0] if ranges else "", matrix, primaries, transfer)

    @property
    def may_be_plain(self) -> bool:
        """Whether packets are frames in files of this kind."""
        codec = _described(self.said)[0]
        is_interlaced = re.search(r"(top|bottom) (first|coded first)", self.said) is not None
        return self.container in _PLAIN_CONTAINERS and codec in _PACKETS_ARE_FRAMES and not is_interlaced

    @property
    def is_turned(self) -> bool:
        """Whether it is to be shown turned, mirrored or without its edges."""
        return "Display Matrix" in self.said or self.edges_px != (0, 0)

    @property
    def edges_px(self) -> tuple[int, int]:
        """How much of the stored width and height the container hides, which ffmpeg cuts off."""
        match = re.search(r"Frame Cropping: (\d+)/(\d+)/(\d+)/(\d+)", self.said)
        left, right, above, below = map(int, match.groups()) if match else (0, 0, 0, 0)
        return left + right, above + below

    @property
    def assumed_matrix(self) -> str | None:
        """ffmpeg's name of the colour matrix that players assume; None where the file says it, or ffmpeg assumes it.

        Without a word in the file, players take BT.709 for HD, and BT.601 for all else; ffmpeg always takes BT.601.
        """
        codec, pixels, words, width_px, height_px = _described(self.said)
        matrices = [word.partition("/")[0] for word in words.split(", ") if "/" in word or word in _MATRICES]
        is_said = any(matrix != "unknown" for matrix in matrices)
        is_yuv = re.match(r"yuv|yuyv|uyvy|nv\d|p\d", pixels) is not None
        is_hd = width_px >= 1280 or height_px > 576
        return "bt709" if is_yuv and is_hd and not is_said and codec not in ("mjpeg", "webp", "webp_anim") else None


def choose_stream(path: Path, streams: str, wanted: int | None) -> VideoStream | None:
    """The video stream at the position `wanted`; when None the first that is marked as default, else the first.

    Args:
        streams: what ffmpeg says of the file.

    Returns:
        None where the file holds no video.

    Raises:
        UserError: there is no such position.
    """
    found = re.findall(r"^  Stream #0:\d+.*(?:\n(?!  Stream #| {0,2}\w).*)*", streams, re.MULTILINE)
    videos = [said for said in found if ": Video: " in said and not _COVER.search(said)]
    container = re.search(r"^Input #0, (\w+)", streams, re.MULTILINE)
    if not videos or container is None:
        return None
    if wanted is None:
        first_lines = [said.partition("\n")[0] for said in videos]
        wanted = next((n for n, line in enumerate(first_lines) if "(default)" in line), 0)
    if not 0 <= wanted < len(videos):
        raise UserError(
            f"--video-stream {wanted}: {path} holds {_count(len(videos))}; allowed is 0"
            + (f" to {len(videos) - 1}" if len(videos) > 1 else "")
        )
    late = late_seconds(streams, [videos[wanted]])
    return VideoStream(wanted, len(videos), container[1], videos[wanted], late)


def late_seconds(streams: str, used: Sequence[str]) -> float:
    """By how much all of the used streams start after the file does, where ffmpeg would leave that out.

    In MPEG-TS and MPEG-PS ffmpeg takes the start of the streams that it uses for 0, in all else that of the file; so
    picture and sound, read one after the other, would lose their distance.

    Args:
        streams: what ffmpeg says of the file.
        used: what it says of each used stream.
    """
    file_start = re.search(r"^  Duration: .*, start: (-?[\d.]+)", streams, re.MULTILINE)
    if file_start is None or not used or not re.search(rf"^Input #0, ({'|'.join(_BROADCAST)}),", streams, re.MULTILINE):
        return 0.0
    starts = [re.search(r", start (-?[\d.]+)", said) for said in used]
    return max(0.0, min(float((start or file_start)[1]) for start in starts) - float(file_start[1]))


def _count(streams: int) -> str:
    return f"{streams} video streams" if streams > 1 else "one video stream"


def _described(said: str) -> tuple[str, str, str, int, int]:
    """Codec, pixel format, what is said of colours and fields, width and height; empty and 0 where it is not said."""
    match = _PICTURE.search(said)
    return (match[1], match[2], match[3] or "", int(match[4]), int(match[5])) if match else ("", "", "", 0, 0)
