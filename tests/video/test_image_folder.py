from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from masactrl_video.errors import UserError
from masactrl_video.video.clip import open_clip


def fill(folder: Path, names: list[str], size: tuple[int, int] = (6, 4)) -> None:
    for shade, name in enumerate(names):
        Image.new("RGB", size, (shade, 0, 255)).save(folder / name)


def test_images_come_in_natural_order_at_the_given_rate(tmp_path: Path) -> None:
    fill(tmp_path, ["a1.png", "a2.png", "a10.png"])
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / "._a1.png").write_bytes(b"left by another system")
    clip = open_clip(tmp_path, frame_rate=10)
    assert [frame.pixels[0, 0].tolist() for frame in clip] == [[0, 0, 255], [1, 0, 255], [2, 0, 255]]
    assert clip.timeline() == [(0, 0.0, 0.1), (1, 0.1, 0.1), (2, 0.2, 0.1)]
    assert (clip.info.kind, clip.info.width_px, clip.info.height_px) == ("images", 6, 4)


def test_folder_without_a_rate_has_the_default_one(tmp_path: Path) -> None:
    fill(tmp_path, ["1.png"])
    assert open_clip(tmp_path).info.average_frame_rate == 24


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[:, :3] = 255  # stored left half, shown as the upper half
    Image.fromarray(picture).save(tmp_path / "1.png", exif=exif)
    clip = open_clip(tmp_path)
    assert (clip.info.width_px, clip.info.height_px) == (4, 6)
    assert clip.frame(0).pixels.mean(axis=(1, 2)).tolist() == [255, 255, 255, 0, 0, 0]


def test_unlike_sizes_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, ["1.png"])
    fill(tmp_path, ["2.png"], size=(8, 4))
    with pytest.raises(UserError, match=r"2\.png is 8x4, but 1\.png is 6x4"):
        open_clip(tmp_path)


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no images"):
        open_clip(tmp_path)


def test_broken_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_text("no picture")
    with pytest.raises(UserError, match=r"1\.png is not an image"):
        open_clip(tmp_path)


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"1\.png is empty"):
        open_clip(tmp_path)


def test_truncated_image_is_refused_when_it_is_read(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "1.png")
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:2000])
    with pytest.raises(UserError, match=r"1\.png"):
        list(open_clip(tmp_path))


def test_grey_of_16_bits_is_read_as_colour_of_16_bits_is(tmp_path: Path) -> None:
    levels = np.array([[0, 255, 256, 32768, 65279, 65535]] * 4, np.uint16)
    Image.fromarray(levels).save(tmp_path / "1.png")
    Image.fromarray(levels).save(tmp_path / "2.tif")
    Image.fromarray(levels.astype(np.float32) / 65535).save(tmp_path / "3.tif")
    first, second, third = (frame.pixels for frame in open_clip(tmp_path))
    assert first[0].tolist() == [[level] * 3 for level in (0, 0, 1, 128, 254, 255)]
    assert np.array_equal(first, second)
    assert np.abs(third.astype(int) - first).max() <= 1


@pytest.mark.parametrize("numbers", [np.full((4, 6), 1.5, np.float32), np.full((4, 6), -1, np.int32)])
def test_numbers_without_an_agreed_white_are_refused(tmp_path: Path, numbers: np.ndarray) -> None:
    Image.fromarray(numbers).save(tmp_path / "1.tif")
    with pytest.raises(UserError, match=r"1\.tif has grey values from .*; read are 0 to"):
        list(open_clip(tmp_path))


def test_every_suffix_of_the_formats_is_read(tmp_path: Path) -> None:
    names = ["1.png", "2.JPG", "3.jfif", "4.jpe", "5.webp", "6.bmp", "7.dib", "8.TIFF"]
    names += ["9.avif"] if features.check("avif") else []
    for name in names:
        kind = {".dib": "BMP", ".jfif": "JPEG", ".jpe": "JPEG"}.get(Path(name).suffix)
        Image.new("RGB", (6, 4), (9, 9, 9)).save(tmp_path / name, format=kind)
    assert len(list(open_clip(tmp_path))) == len(names)


@pytest.mark.parametrize("name", ["2.heic", "2.EXR", "2.gif", "2.tga"])
def test_pictures_that_are_not_read_are_refused_by_name(tmp_path: Path, name: str) -> None:
    fill(tmp_path, ["1.png"])
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=rf"that are not read \({name}\): convert them"):
        open_clip(tmp_path)


def test_pictures_in_avif_are_refused_by_name_where_pillow_is_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, ["1.png"])
    (tmp_path / "2.avif").write_bytes(b"")
    monkeypatch.setattr(features, "check", lambda name: False)
    with pytest.raises(UserError, match=r"\(2\.avif\)"):
        open_clip(tmp_path)


def test_transparency_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, alpha in {"1.png": 255, "2.png": 0, "3.png": 9}.items():
        Image.new("RGBA", (6, 4), (200, 100, 50, alpha)).save(tmp_path / name)
    clip = open_clip(tmp_path)
    assert clip.info.remarks == ()
    assert [frame.pixels[0, 0].tolist() for frame in clip] == [[200, 100, 50]] * 3
    list(clip)
    (message,) = caplog.messages
    assert "2.png, and maybe others after it: it has transparency" in message
    (tmp_path / "1.png").unlink()
    assert "transparency" in open_clip(tmp_path).info.remarks[0]


def test_pages_after_the_first_are_said(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (6, 4), (shade, 0, 0)) for shade in (1, 2, 3)]
    pages[0].save(tmp_path / "1.tif", save_all=True, append_images=pages[1:])
    assert "3 pages or frames, of which the first" in open_clip(tmp_path).info.remarks[0]


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_impossible_frame_rate_is_refused(tmp_path: Path, rate: float) -> None:
    fill(tmp_path, ["1.png"])
    with pytest.raises(UserError, match="above 0"):
        open_clip(tmp_path, frame_rate=rate)
