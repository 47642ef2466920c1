"""The sheet, back to its cells, and its descriptions by the fields that each program documents."""

import json
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from masactrl_video.sprites.exports import exports
from masactrl_video.sprites.previews import FORMATS, preview
from masactrl_video.sprites.sheet import Layout, Row, join, split

LAYOUT = Layout((Row("idle", 2, 6.0, (0.0, 0.0)), Row("walk-left", 3, 10.0)), 16, (0.5, 15 / 16))


@pytest.fixture(scope="module")
def cells() -> list[np.ndarray]:
    cells = list(np.random.default_rng(0).integers(0, 256, (5, 16, 16, 4), np.uint8))
    for cell in cells:
        cell[..., 3] = np.where(cell[..., 3] > 99, 255, 0)
        cell[cell[..., 3] == 0] = 0
    return cells


@pytest.fixture(scope="module")
def described() -> dict[str, str]:
    return exports("hero", LAYOUT)


def rectangles(frames: list[dict]) -> list[tuple[int, ...]]:
    for frame in frames:
        assert (frame["rotated"], frame["trimmed"]) == (False, False)
        assert frame["spriteSourceSize"] == {"x": 0, "y": 0, "w": 16, "h": 16}
        assert frame["sourceSize"] == {"w": 16, "h": 16}
    return [tuple(frame["frame"][key] for key in "xywh") for frame in frames]


PLACES = [(0, 0, 16, 16), (16, 0, 16, 16), (0, 16, 16, 16), (16, 16, 16, 16), (32, 16, 16, 16)]
NAMES = ["idle-00", "idle-01", "walk-left-00", "walk-left-01", "walk-left-02"]


def test_the_cells_of_a_sheet_are_those_that_were_joined(cells: list[np.ndarray]) -> None:
    sheet = join(LAYOUT, cells)
    assert sheet.shape == (32, 48, 4)
    assert not sheet[:16, 32:].any()  # no frame there
    for before, after in zip(cells, split(LAYOUT, sheet), strict=True):
        np.testing.assert_array_equal(before, after)


def test_aseprite_reads_frames_tags_and_the_pivot(described: dict[str, str]) -> None:
    data = json.loads(described["hero.aseprite.json"])
    assert rectangles(data["frames"]) == PLACES
    assert [frame["filename"] for frame in data["frames"]] == ["0", "1", "2", "3", "4"]
    assert [frame["duration"] for frame in data["frames"]] == [167, 167, 100, 100, 100]
    meta = data["meta"]
    assert (meta["image"], meta["size"], meta["format"]) == ("hero.png", {"w": 48, "h": 32}, "RGBA8888")
    tags = [(tag["name"], tag["from"], tag["to"], tag["direction"]) for tag in meta["frameTags"]]
    assert tags == [("idle", 0, 1, "forward"), ("walk-left", 2, 4, "forward")]
    assert meta["slices"][0]["keys"][0]["pivot"] == {"x": 8, "y": 15}


def test_texture_packer_has_frames_by_name_with_pivots(described: dict[str, str]) -> None:
    data = json.loads(described["hero.texturepacker.json"])
    assert list(data["frames"]) == NAMES
    assert rectangles(list(data["frames"].values())) == PLACES
    assert data["frames"]["idle-00"]["pivot"] == data["frames"]["idle-00"]["anchor"] == {"x": 0.5, "y": 0.9375}
    assert data["animations"] == {"idle": NAMES[:2], "walk-left": NAMES[2:]}
    assert data["meta"]["scale"] == "1"


def test_phaser_finds_the_frames_of_each_animation_in_the_atlas(described: dict[str, str]) -> None:
    (texture,) = json.loads(described["hero.phaser.json"])["textures"]
    assert rectangles(texture["frames"]) == PLACES
    assert texture["image"] == "hero.png"
    animations = json.loads(described["hero.phaser-animations.json"])["anims"]
    used = [(one["key"], one["frameRate"], one["repeat"], [f["frame"] for f in one["frames"]]) for one in animations]
    assert used == [("idle", 6, -1, NAMES[:2]), ("walk-left", 10, -1, NAMES[2:])]
    assert {frame["key"] for one in animations for frame in one["frames"]} == {"hero"}
    assert {one["type"] for one in animations} == {"frame"}


def test_godot_has_the_animations_of_a_sprite_frames(described: dict[str, str]) -> None:
    data = json.loads(described["hero.godot.json"])
    assert data["atlas"] == "hero.png"
    assert data["offset"] == {"x": -8, "y": -15}
    assert [(one["name"], one["speed"], one["loop"]) for one in data["animations"]] == [
        ("idle", 6, True),
        ("walk-left", 10, True),
    ]
    regions = [tuple(f["region"][key] for key in "xywh") for one in data["animations"] for f in one["frames"]]
    assert regions == PLACES


def test_godot_opens_the_resource_as_text_that_names_what_it_uses(described: dict[str, str]) -> None:
    text = described["hero.tres"]
    assert text.startswith('[gd_resource type="SpriteFrames" load_steps=7 format=3]')
    assert '[ext_resource type="Texture2D" path="hero.png" id="1"]' in text
    made = re.findall(r'\[sub_resource type="AtlasTexture" id="([^"]+)"\]', text)
    assert made == NAMES
    assert re.findall(r'SubResource\("([^"]+)"\)', text) == NAMES
    assert [tuple(map(int, found)) for found in re.findall(r"Rect2\((\d+), (\d+), (\d+), (\d+)\)", text)] == PLACES
    assert re.findall(r'"name": &"([^"]+)",\n"speed": (\S+)', text) == [("idle", "6.0"), ("walk-left", "10.0")]
    assert text.count("{") == text.count("}") and text.count("[") == text.count("]")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_movement_plays_for_ever(cells: list[np.ndarray], kind: str) -> None:
    with Image.open(BytesIO(preview(cells[2:], 100, kind))) as picture:
        assert (picture.n_frames, picture.info["loop"]) == (3, 0)
        for number, cell in enumerate(cells[2:]):
            picture.seek(number)
            shown = np.array(picture.convert("RGBA"))
            np.testing.assert_array_equal(shown[..., 3], cell[..., 3])
            if kind != "gif":
                np.testing.assert_array_equal(shown, cell)
            assert picture.info["duration"] == 100


def test_godot_resource_is_read_by_a_parser_of_its_format(described: dict[str, str]) -> None:
    parser = pytest.importorskip("godot_parser", reason="needs pip install godot_parser")
    read = parser.parse(described["hero.tres"].replace('&"', '"'))  # it knows no names of Godot 4: &"idle"
    assert [sheet.path for sheet in read.get_ext_resources()] == ["hero.png"]
    regions = {one.id: tuple(map(int, one["region"].args)) for one in read.get_sub_resources()}
    animations = read.find_section("resource")["animations"]
    used = [
        (one["name"], one["speed"], one["loop"], [frame["texture"].args[0] for frame in one["frames"]])
        for one in animations
    ]
    assert used == [("idle", 6.0, True, NAMES[:2]), ("walk-left", 10.0, True, NAMES[2:])]
    assert [regions[name] for name in NAMES] == PLACES
