"""The sheet described for games: as Aseprite, TexturePacker, Phaser 3 and Godot 4 write and read it."""

from __future__ import annotations

import json
from typing import Any

import masactrl_video
from masactrl_video.sprites.sheet import Layout, Place

_APP = "masactrl-video"


def exports(name: str, layout: Layout) -> dict[str, str]:
    """File name → content, for a sheet `NAME.png` beside them."""
    image = f"{name}.png"
    described = {
        f"{name}.aseprite.json": aseprite(image, layout),
        f"{name}.texturepacker.json": texture_packer(image, layout),
        f"{name}.phaser.json": phaser(image, layout),
        f"{name}.phaser-animations.json": phaser_animations(name, layout),
        f"{name}.godot.json": godot(image, layout),
    }
    texts = {file: json.dumps(data, indent=1) + "\n" for file, data in described.items()}
    return texts | {f"{name}.tres": godot_resource(image, layout)}


def aseprite(image: str, layout: Layout) -> dict[str, Any]:
    """As `aseprite --format json-array --list-tags --list-slices --filename-format {frame}` writes it.

    The slice's pivot is where feet stand. Frames are called by their number because Phaser finds them by it.
    """
    frames = [
        {"filename": str(number), **_rectangles(place, layout), "duration": place.row.milliseconds}
        for number, place in enumerate(layout.places())
    ]
    tags, first = [], 0
    for row in layout.rows:
        tags.append({"name": row.name, "from": first, "to": first + row.frames - 1, "direction": "forward"})
        first += row.frames
    side, pivot = layout.cell_px, [round(part * layout.cell_px) for part in layout.anchor]
    key = {
        "frame": 0,
        "bounds": {"x": 0, "y": 0, "w": side, "h": side},
        "pivot": {"x": pivot[0], "y": pivot[1]},
    }
    slices = [{"name": "feet", "color": "#0000ffff", "keys": [key]}]
    return {"frames": frames, "meta": _meta(image, layout) | {"frameTags": tags, "layers": [], "slices": slices}}


def texture_packer(image: str, layout: Layout) -> dict[str, Any]:
    """As TexturePacker's JSON (Hash) with pivots, and with anchors and animations as its PixiJS format."""
    pivot = dict(zip("xy", layout.anchor, strict=True))
    frames = {place.name: _rectangles(place, layout) | {"pivot": pivot, "anchor": pivot} for place in layout.places()}
    animations = {row.name: [place.name for place in layout.places() if place.row is row] for row in layout.rows}
    return {"frames": frames, "animations": animations, "meta": _meta(image, layout)}


def phaser(image: str, layout: Layout) -> dict[str, Any]:
    """For `load.multiatlas`."""
    anchor = dict(zip("xy", layout.anchor, strict=True))
    frames = [{"filename": place.name, **_rectangles(place, layout), "anchor": anchor} for place in layout.places()]
    meta = _meta(image, layout)
    texture = {key: meta[key] for key in ("image", "format", "size")} | {"scale": 1, "frames": frames}
    return {"textures": [texture], "meta": {"app": meta["app"], "version": meta["version"]}}


def phaser_animations(key: str, layout: Layout) -> dict[str, Any]:
    """For `load.animation`, or `anims.fromJSON`; `key` is that of the atlas."""
    animations = [
        {
            "key": row.name,
            "type": "frame",
            "frames": [{"key": key, "frame": place.name} for place in layout.places() if place.row is row],
            "frameRate": row.rate,
            "repeat": -1,
        }
        for row in layout.rows
    ]
    return {"anims": animations, "globalTimeScale": 1}


def godot(image: str, layout: Layout) -> dict[str, Any]:
    """The property `animations` of a SpriteFrames, with the region of each AtlasTexture in the place of its texture.

    `offset` makes an AnimatedSprite2D with `centered` off stand with its feet at its own place.
    """
    animations = [
        {
            "name": row.name,
            "speed": row.rate,
            "loop": True,
            "frames": [
                {"duration": 1.0, "region": {"x": place.x, "y": place.y, "w": layout.cell_px, "h": layout.cell_px}}
                for place in layout.places()
                if place.row is row
            ],
            "lifts": list(row.lifts_px),
        }
        for row in layout.rows
    ]
    across, down = (-part * layout.cell_px for part in layout.anchor)
    return {"atlas": image, "offset": {"x": across, "y": down}, "animations": animations}


def godot_resource(image: str, layout: Layout) -> str:
    """A SpriteFrames of Godot 4, which opens it as it is; the sheet lies beside it."""
    places = list(layout.places())
    lines = [f'[gd_resource type="SpriteFrames" load_steps={len(places) + 2} format=3]', ""]
    lines += [f'[ext_resource type="Texture2D" path="{image}" id="1"]', ""]
    for place in places:
        lines += [f'[sub_resource type="AtlasTexture" id="{place.name}"]', 'atlas = ExtResource("1")']
        lines += [f"region = Rect2({place.x}, {place.y}, {layout.cell_px}, {layout.cell_px})", ""]
    animations = []
    for row in layout.rows:
        frames = ", ".join(
            f'{{\n"duration": 1.0,\n"texture": SubResource("{place.name}")\n}}' for place in places if place.row is row
        )
        animations.append(
            f'{{\n"frames": [{frames}],\n"loop": true,\n"name": &"{row.name}",\n"speed": {float(row.rate)!r}\n}}'
        )
    return "\n".join([*lines, "[resource]", f"animations = [{', '.join(animations)}]", ""])


def _rectangles(place: Place, layout: Layout) -> dict[str, Any]:
    side = layout.cell_px
    return {
        "frame": {"x": place.x, "y": place.y, "w": side, "h": side},
        "rotated": False,
        "trimmed": False,
        "spriteSourceSize": {"x": 0, "y": 0, "w": side, "h": side},
        "sourceSize": {"w": side, "h": side},
    }


def _meta(image: str, layout: Layout) -> dict[str, Any]:
    width, height = layout.size_px
    return {
        "app": _APP,
        "version": masactrl_video.__version__,
        "image": image,
        "format": "RGBA8888",
        "size": {"w": width, "h": height},
        "scale": "1",
    }
