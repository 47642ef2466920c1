"""Colour profiles of pictures: numbers become what a screen shows; masks stay numbers."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, features
from PIL.PngImagePlugin import PngInfo

from masactrl_video.video.clip import open_clip
from masactrl_video.video.image_folder import read_picture

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
D50 = (0.9642, 1.0, 0.8249)
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
SRGB_XYZ = np.array([(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)]).T
COLOURS = np.array([[(10, 200, 60), (128, 128, 128), (90, 160, 120), (0, 0, 0), (255, 255, 255), (200, 90, 80)]])


def profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A version 2 display profile (ICC.1:2001-04)."""
    tags = {b"desc": _text(b"test"), b"cprt": b"text\0\0\0\0none\0", b"wtpt": _xyz(D50), **tags}
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        data += b"\0" * (-len(data) % 4)
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02100000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + b"\0" * 28 + struct.pack(">3i", *_fixed(D50))
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _text(text: bytes) -> bytes:
    return b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" + b"\0" * 78


def _fixed(xyz: tuple[float, ...]) -> list[int]:
    return [round(number * 65536) for number in xyz]


def _xyz(xyz: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *_fixed(xyz))


def _gamma(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def adobe_rgb() -> bytes:
    names = zip((b"rXYZ", b"gXYZ", b"bXYZ"), ADOBE_RGB, strict=True)
    return profile(
        b"RGB ", {name: _xyz(xyz) for name, xyz in names} | {name: _gamma(2.2) for name in (b"rTRC", b"gTRC", b"bTRC")}
    )


def as_shown(adobe: np.ndarray) -> np.ndarray:
    """Adobe RGB in sRGB, by the formulas."""
    linear = (adobe / 255) ** 2.2 @ np.array(ADOBE_RGB) @ np.linalg.inv(SRGB_XYZ).T
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


KINDS = ["png", "tif", "webp", "jpg", *(["avif"] if features.check("avif") else [])]


@pytest.mark.parametrize("kind", KINDS)
def test_a_wide_profile_is_converted(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"a.{kind}"
    large = COLOURS.astype(np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    exact = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}, "avif": {"quality": 100}}
    Image.fromarray(large).save(file, icc_profile=adobe_rgb(), **exact.get(kind, {}))
    shown = read_picture(file)
    middles = shown.pixels[8, 8::16].astype(int)
    assert np.abs(middles - as_shown(COLOURS)[0]).max() <= (2 if kind in ("png", "tif", "webp") else 6)
    assert (shown.remarks, shown.profile) == ((), "test")
    numbers = read_picture(file, as_numbers=True).pixels[8, 8::16].astype(int)
    assert np.abs(numbers - COLOURS[0]).max() <= (0 if kind in ("png", "tif", "webp") else 4)


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_pictures_with_a_palette_or_transparency_are_converted_too(tmp_path: Path, mode: str) -> None:
    plain, other = Image.fromarray(COLOURS.astype(np.uint8)), tmp_path / "other.png"
    plain.save(tmp_path / "plain.png", icc_profile=adobe_rgb())
    (plain.quantize(6) if mode == "P" else plain.convert(mode)).save(other, icc_profile=adobe_rgb())
    expected = read_picture(tmp_path / "plain.png").pixels.astype(int)
    assert np.abs(read_picture(other).pixels - expected).max() <= 1


def test_the_screens_own_profile_changes_no_number(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=SRGB)
    assert np.array_equal(read_picture(tmp_path / "a.png").pixels, pixels)
    assert read_picture(tmp_path / "a.png").profile == ""


def test_grey_profiles_are_applied(tmp_path: Path) -> None:
    grey = np.array([[0, 64, 128, 255]], np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png", icc_profile=profile(b"GRAY", {b"kTRC": _gamma(1.0)}))
    shown = read_picture(tmp_path / "a.png").pixels[0]
    assert np.abs(shown[:, 0].astype(int) - [0, 137, 188, 255]).max() <= 1  # linear light
    Image.fromarray(grey.astype(np.uint16) * 257).save(
        tmp_path / "b.png", icc_profile=profile(b"GRAY", {b"kTRC": _gamma(1.0)})
    )
    assert np.array_equal(read_picture(tmp_path / "b.png").pixels[0], shown)


@pytest.mark.parametrize("broken", [b"no profile", SRGB[:200], profile(b"GRAY", {b"kTRC": _gamma(1.0)})])
def test_a_profile_that_cannot_be_used_is_said(tmp_path: Path, broken: bytes) -> None:
    Image.fromarray(COLOURS.astype(np.uint8)).save(tmp_path / "a.png", icc_profile=broken)
    shown = read_picture(tmp_path / "a.png")
    assert np.array_equal(shown.pixels, COLOURS)
    assert "a colour profile that cannot be read" in shown.remarks[0]


def test_print_colours_without_a_profile_are_said(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    shown = read_picture(tmp_path / "a.jpg")
    assert np.abs(shown.pixels[0, 0].astype(int) - [255, 0, 0]).max() < 8
    assert "for print (CMYK)" in shown.remarks[0]
    assert read_picture(tmp_path / "a.jpg", as_numbers=True).remarks == ()


def _print_profile() -> bytes:
    """CMYK in which black is the only ink that shows (a table of 2 steps for each ink, to lightness)."""
    ramp = bytes(range(256))
    inks = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    table = b"".join(bytes([255 * (1 - k), 128, 128]) for _, _, _, k in inks)
    identity = struct.pack(">9i", *(65536 if n % 4 == 0 else 0 for n in range(9)))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + table + ramp * 3
    made = profile(b"CMYK", {b"A2B0": lut})
    return made[:12] + b"prtr" + made[16:20] + b"Lab " + made[24:]


def test_print_colours_go_through_their_profile(tmp_path: Path) -> None:
    inks = Image.new("CMYK", (16, 8), (255, 255, 0, 0))
    inks.paste((0, 0, 0, 255), (8, 0, 16, 8))
    for name in ("a.tif", "a.jpg"):
        inks.save(tmp_path / name, icc_profile=_print_profile())
        shown = read_picture(tmp_path / name)
        assert shown.remarks == ()
        assert np.abs(shown.pixels[4, ::15].astype(int) - [[255] * 3, [0] * 3]).max() <= 6


def test_adobe_rgb_by_exif_alone_is_said(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif)
    assert "Adobe RGB by its EXIF data" in read_picture(tmp_path / "a.jpg").remarks[0]


def test_a_gamma_of_its_own_is_said(tmp_path: Path) -> None:
    for gamma, said in ((1.0, True), (0.45455, False)):
        chunk = PngInfo()
        chunk.add(b"gAMA", struct.pack(">I", round(gamma * 100000)))
        Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=chunk)
        assert bool(read_picture(tmp_path / "a.png").remarks) is said


def test_frames_are_converted_and_masks_are_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for name in ("1.png", "2.png"):
        Image.fromarray(COLOURS.astype(np.uint8)).save(tmp_path / name, icc_profile=adobe_rgb())
    frames = [frame.pixels for frame in open_clip(tmp_path)]
    assert all(np.abs(frame - as_shown(COLOURS)).max() <= 2 for frame in frames)
    assert len([text for text in caplog.messages if "converted from the profile 'test' to sRGB" in text]) == 1
    assert all((frame.pixels == COLOURS).all() for frame in open_clip(tmp_path, as_numbers=True))
