import hashlib
import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from video.made_clips import decoded_hashes, ffmpeg, make_sounding_clip

from masactrl_video.encode.video import encode_video
from masactrl_video.errors import UserError
from masactrl_video.video.clip import open_clip
from masactrl_video.video.frame import Selection
from masactrl_video.video.png import png_bytes

SUFFIXES = [".mp4", ".mov", ".mkv", ".webm", ".gif"]
TICK_SECONDS = {".mp4": 1 / 90_000, ".mov": 1 / 90_000, ".mkv": 0.001, ".webm": 0.001, ".gif": 0.01}


def picture(n: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """A smooth coloured picture with a bright square that moves with n."""
    rows, columns = np.mgrid[0:height, 0:width]
    image = np.stack([columns * 255 / width, rows * 255 / height, np.full_like(rows, 90)], -1).astype(np.uint8)
    image[8:24, 2 * n : 2 * n + 16] = (250, 240, 30)
    return image


def frames_of(count: int, width: int = 64, height: int = 48) -> list[bytes]:
    return [png_bytes(picture(n, width, height)) for n in range(count)]


def described(path: Path) -> str:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(path)]
    return subprocess.run(command, capture_output=True, text=True).stderr


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def check_times(path: Path, durations: Sequence[float], tolerance_seconds: float) -> None:
    timeline = open_clip(path).timeline()
    starts = [0.0, *accumulate(durations)]
    assert [timing.start_seconds for timing in timeline] == pytest.approx(starts[:-1], abs=tolerance_seconds)
    last = timeline[-1]
    assert last.start_seconds + last.duration_seconds == pytest.approx(starts[-1], abs=tolerance_seconds)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(25), Fraction(8)])
def test_a_constant_rate_is_kept_to_the_last_frame(tmp_path: Path, suffix: str, rate: Fraction) -> None:
    durations = [float(1 / rate)] * 12
    output = tmp_path / f"out{suffix}"
    encode_video(frames_of(12), durations, output)
    exact = suffix in (".mp4", ".mov")
    check_times(output, durations, 1e-6 if exact else TICK_SECONDS[suffix])
    if exact:
        assert open_clip(output).info.average_frame_rate == pytest.approx(float(rate), abs=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("last_seconds", [0.02, 0.5])
def test_varying_times_are_kept_to_the_last_frame(tmp_path: Path, suffix: str, last_seconds: float) -> None:
    durations = [0.04, 0.1, 0.033333, 0.02, 0.25, 0.041708, last_seconds]
    output = tmp_path / f"out{suffix}"
    encode_video(frames_of(7), durations, output)
    check_times(output, durations, TICK_SECONDS[suffix])


def test_varying_times_claim_no_level_that_players_refuse(tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    encode_video(frames_of(3), [0.04, 0.1, 0.05], output)
    avc_configuration = output.read_bytes().partition(b"avcC")[2]
    assert avc_configuration[3] <= 40, "H.264 level times ten"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_frame_comes_back_once_at_its_size_and_in_its_colours(tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"out{suffix}"
    encode_video(frames_of(10, 70, 50), [0.1] * 10, output)
    decoded = [frame.pixels for frame in open_clip(output)]
    assert [frame.shape for frame in decoded] == [(50, 70, 3)] * 10
    assert min(psnr(frame, picture(n, 70, 50)) for n, frame in enumerate(decoded)) > 29
    flat = [frame[12:20, 2 * n + 4 : 2 * n + 12].reshape(-1, 3).mean(0) for n, frame in enumerate(decoded)]
    assert np.abs(np.array(flat) - (250, 240, 30)).max() < 6


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_colours_are_tagged_and_parameters_noted(tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"out{suffix}"
    parameters = {"prompt": "a 'red' bear; \\ = ö", "seed": "7"}
    encode_video(frames_of(2), [0.1, 0.1], output, metadata=parameters)
    text = described(output)
    assert "yuv420p(tv, bt709" in text
    note = re.search(r"comment\s+: (.*)", text, re.IGNORECASE)
    assert note is not None
    assert json.loads(note[1]) == parameters


def test_odd_sizes_need_a_format_without_colour_subsampling(tmp_path: Path) -> None:
    frames, output = frames_of(2, 51, 33), tmp_path / "out.mp4"
    with pytest.raises(UserError, match=r"51x33 .* yuv444p"):
        encode_video(frames, [0.1, 0.1], output)
    encode_video(frames, [0.1, 0.1], output, pix_fmt="yuv444p")
    assert open_clip(output).frame(1).pixels.shape == (33, 51, 3)


def first_beep_seconds(path: Path) -> float:
    samples = path.with_suffix(".raw")
    ffmpeg("-i", path, "-af", "aresample=async=1:first_pts=0", "-ac", "1", "-ar", "8000", "-f", "s16le", samples)
    return float(np.flatnonzero(np.abs(np.fromfile(samples, np.int16).astype(float)) > 3000)[0] / 8000)


@pytest.mark.parametrize(("source", "audio_codec"), [("a.mp4", "aac"), ("a.mkv", "libopus"), ("a.mov", "pcm_s16le")])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize("start_seconds", [0.0, 0.5])
def test_sound_stays_with_its_picture(
    tmp_path: Path, source: str, audio_codec: str, suffix: str, start_seconds: float
) -> None:
    sounding = make_sounding_clip(tmp_path / source, audio_codec=audio_codec)
    output = tmp_path / f"out{suffix}"
    frames = frames_of(8)
    encode_video(frames, [0.25] * 8, output, audio_from=sounding, audio_start_seconds=start_seconds)
    assert first_beep_seconds(output) == pytest.approx(1 - start_seconds, abs=0.025)
    duration = re.search(r"Duration: 00:00:([\d.]+)", described(output))
    assert duration is not None
    assert float(duration[1]) == pytest.approx(2, abs=0.06), "sound ends with a whole packet"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
@pytest.mark.parametrize("skipped", [0, 1])
def test_sound_stays_with_its_picture_in_a_clip_that_was_trimmed_without_encoding(
    tmp_path: Path, suffix: str, skipped: int
) -> None:
    """The beep starts with frame 10 of the whole clip, which has a key frame every 6 frames."""
    sounding = make_sounding_clip(tmp_path / "whole.mp4", options=("-g", "6"))
    whole, cut = decoded_hashes(sounding), tmp_path / f"cut{suffix}"
    ffmpeg("-ss", 0.8, "-i", sounding, "-c", "copy", cut)
    clip = open_clip(cut, Selection(skipped))
    frames = list(clip)
    position = whole.index(hashlib.md5(frames[0].pixels.tobytes()).hexdigest())
    durations = [timing.duration_seconds for timing in clip.timeline()]
    pictures = [png_bytes(frame.pixels) for frame in frames]
    start_seconds, output = frames[0].start_seconds, tmp_path / "out.mp4"
    encode_video(pictures, durations, output, audio_from=cut, audio_start_seconds=start_seconds)
    assert position >= 6
    assert first_beep_seconds(output) == pytest.approx(1 - position / 10, abs=0.025)


@pytest.mark.parametrize(("picture_late", "sound_late"), [(0.0, 0.3), (0.3, 0.0)])
def test_sound_of_mpeg_ts_keeps_its_distance_to_the_picture(
    tmp_path: Path, picture_late: float, sound_late: float
) -> None:
    sounding, path = make_sounding_clip(tmp_path / "whole.mp4"), tmp_path / "late.ts"
    inputs = ("-itsoffset", picture_late, "-i", sounding, "-itsoffset", sound_late, "-i", sounding)
    ffmpeg(*inputs, "-map", "0:v", "-map", "1:a", "-c", "copy", path)
    clip, output = open_clip(path), tmp_path / "out.mp4"
    pictures = [png_bytes(frame.pixels) for frame in clip]
    timeline = clip.timeline()
    durations, start_seconds = [timing.duration_seconds for timing in timeline], timeline[0].start_seconds
    encode_video(pictures, durations, output, audio_from=path, audio_start_seconds=start_seconds)
    assert first_beep_seconds(output) == pytest.approx(1 + sound_late - picture_late, abs=0.03)


def test_sound_is_copied_where_the_container_takes_it(tmp_path: Path) -> None:
    sounding = make_sounding_clip(tmp_path / "a.mkv", audio_codec="libmp3lame")
    frames = frames_of(4)
    for suffix, codec in ((".mp4", "mp3"), (".webm", "opus")):
        encode_video(frames, [0.1] * 4, tmp_path / f"out{suffix}", audio_from=sounding)
        assert f"Audio: {codec}" in described(tmp_path / f"out{suffix}")


def test_gif_says_that_sound_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sounding = make_sounding_clip(tmp_path / "a.mp4")
    encode_video(frames_of(2), [0.1, 0.1], tmp_path / "out.gif", audio_from=sounding)
    assert "holds no sound" in caplog.text


def test_existing_output_is_kept_unless_overwriting_is_allowed(tmp_path: Path) -> None:
    frames, output = frames_of(2), tmp_path / "out.mp4"
    output.write_text("mine")
    with pytest.raises(UserError, match="exists"):
        encode_video(frames, [0.1, 0.1], output)
    assert output.read_text() == "mine"
    encode_video(frames, [0.1, 0.1], output, overwrite=True)
    assert len(open_clip(output)) == 2


def test_what_another_program_put_there_meanwhile_is_kept(tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"

    def pictures() -> Iterator[bytes]:
        yield from frames_of(2)
        output.write_text("mine")

    with pytest.raises(UserError, match="exists"):
        encode_video(pictures(), [0.1, 0.1], output)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_failing_leaves_nothing_behind_and_says_why(tmp_path: Path) -> None:
    frames, output = frames_of(2), tmp_path / "out.mp4"
    with pytest.raises(UserError, match="Unknown encoder 'nonesuch'"):
        encode_video(frames, [0.1, 0.1], output, codec="nonesuch")
    assert not any(tmp_path.iterdir())


def test_what_is_raised_while_a_picture_is_waited_for_leaves_nothing_behind(tmp_path: Path) -> None:
    def pictures() -> Iterator[bytes]:
        yield from frames_of(3)
        raise KeyError("stopped")

    with pytest.raises(KeyError, match="stopped"):
        encode_video(pictures(), [0.1] * 4, tmp_path / "out.mp4")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("count", [0, 2, 4])
def test_another_number_of_pictures_than_durations_is_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(ValueError, match=r"no pictures|zip"):
        encode_video(frames_of(count), [0.1] * 3, tmp_path / "out.mp4")
    assert not any(tmp_path.iterdir())


def test_unknown_suffix_is_refused_with_the_allowed_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.mp4, \.mov, \.mkv, \.webm, \.gif"):
        encode_video(frames_of(1), [0.1], tmp_path / "out.xyz")


def test_frames_of_different_sizes_are_refused(tmp_path: Path) -> None:
    frames = [*frames_of(1), *frames_of(1, 70, 50)]
    with pytest.raises(UserError, match="one size"):
        encode_video(frames, [0.1, 0.1], tmp_path / "out.mp4")


def test_a_name_with_quotes_spaces_and_percent_signs_works(tmp_path: Path) -> None:
    frames = frames_of(2)
    encode_video(frames, [0.1, 0.1], tmp_path / "it's out %d.mp4")
    assert len(open_clip(tmp_path / "it's out %d.mp4")) == 2


def test_frames_too_short_for_the_container_are_refused(tmp_path: Path) -> None:
    frames = frames_of(3)
    with pytest.raises(UserError, match=r"frame 1 lasts 0\.0040 s"):
        encode_video(frames, [0.1, 0.004, 0.1], tmp_path / "out.gif")


@pytest.mark.parametrize(("rate", "count", "delays_ms"), [(60, 6, [20] * 5), (50, 6, [20] * 6), (30, 3, None)])
def test_a_gif_has_no_delay_that_browsers_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rate: int, count: int, delays_ms: list[int] | None
) -> None:
    output = tmp_path / "out.gif"
    encode_video(frames_of(count), [1 / rate] * count, output)
    with Image.open(output) as gif:
        delays = [frame.info["duration"] for frame in ImageSequence.Iterator(gif)]
    assert min(delays) >= 20
    assert sum(delays) == pytest.approx(1000 * count / rate, abs=5)
    if delays_ms is not None:
        assert delays == delays_ms
    said = "1 of 6 frames are left out of the .gif: players do not show one for less than 0.02 s"
    assert (said in caplog.text) == (len(delays) < count)
