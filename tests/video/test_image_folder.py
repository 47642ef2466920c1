from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


def test_truncated_image_is_refused_when_it_is_read(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "1.png")
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:2000])
    with pytest.raises(UserError, match=r"1\.png"):
        list(open_clip(tmp_path))


def test_sixteen_bit_image_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 6), np.uint16)).save(tmp_path / "1.png")
    with pytest.raises(UserError, match="8 bits"):
        open_clip(tmp_path)


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_impossible_frame_rate_is_refused(tmp_path: Path, rate: float) -> None:
    fill(tmp_path, ["1.png"])
    with pytest.raises(UserError, match="above 0"):
        open_clip(tmp_path, frame_rate=rate)
