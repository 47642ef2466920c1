"""Draws a picture of each example workflow beside it, from the places of its nodes. Run it in this folder.

A folder of what the workflows gave in ComfyUI may be named: pictures whose names begin as a workflow's Save Image says
are put under its drawing.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

WIDTH, FINE, MARGIN, GAP = 800, 2, 40, 4
NODE = (280, 120)
NIGHT, PAPER, WIRE, OURS, OTHERS = "#1d2433", "#f4efe6", "#8fa1c7", "#f2784b", "#3a4664"


def draw(workflow: dict[str, Any]) -> Image.Image:
    """RGB: boxes with the names of the nodes, ours in another colour, and the wires between them."""
    places = {node["id"]: tuple(node["pos"]) for node in workflow["nodes"]}
    left, top = (min(place[axis] for place in places.values()) for axis in (0, 1))
    right, low = (max(place[axis] + NODE[axis] for place in places.values()) for axis in (0, 1))
    scale = (WIDTH - 2 * MARGIN) * FINE / (right - left)
    size = (WIDTH * FINE, round((low - top) * scale) + 2 * MARGIN * FINE)
    picture = Image.new("RGB", size, NIGHT)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=27 * scale)

    def at(x: float, y: float) -> tuple[float, float]:
        return (x - left) * scale + MARGIN * FINE, (y - top) * scale + MARGIN * FINE

    for _, start, _, end, *_ in workflow["links"]:
        wire = (
            at(places[start][0] + NODE[0], places[start][1] + NODE[1] / 2),
            at(places[end][0], places[end][1] + NODE[1] / 2),
        )
        pen.line(wire, WIRE, 2 * FINE)
    for node in workflow["nodes"]:
        x, y = places[node["id"]]
        colour = OURS if node["type"].startswith("MasaCtrl") else OTHERS
        pen.rounded_rectangle([*at(x, y), *at(x + NODE[0], y + NODE[1])], radius=14 * scale, fill=colour)
        name = node.get("title") or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", node["type"].removeprefix("MasaCtrl"))
        words = "\n".join(line for part in name.split(": ") for line in textwrap.wrap(part, 18))
        ink, middle = NIGHT if colour == OURS else PAPER, at(x + NODE[0] / 2, y + NODE[1] / 2)
        pen.multiline_text(middle, words, ink, font, anchor="mm", align="center")
    return picture.resize((size[0] // FINE, size[1] // FINE), Image.Resampling.LANCZOS)


def given(workflow: dict[str, Any], outputs: Path) -> list[Image.Image]:
    """What a workflow gave, from left to right, as far as it lies in a folder."""
    nodes = sorted((node for node in workflow["nodes"] if node["type"] == "SaveImage"), key=lambda node: node["pos"])
    names = [node["widgets_values"][0] for node in nodes]
    return [Image.open(path).convert("RGB") for name in names for path in sorted(outputs.glob(f"{name}_*.png"))]


def beneath(drawing: Image.Image, pictures: list[Image.Image]) -> Image.Image:
    """The drawing with rows of pictures under it, all of one height: as high as they fit side by side, up to 200."""
    if not pictures:
        return drawing
    ratio = sum(picture.width / picture.height for picture in pictures)
    high = min(200, int((WIDTH - GAP * (len(pictures) - 1)) / ratio)) if len(pictures) <= 8 else WIDTH // 8 - GAP
    rows: list[list[Image.Image]] = [[]]
    for picture in pictures:
        small = picture.resize((round(high * picture.width / picture.height), high), Image.Resampling.LANCZOS)
        if sum(each.width + GAP for each in rows[-1]) + small.width > WIDTH:
            rows.append([])
        rows[-1].append(small)
    whole = Image.new("RGB", (WIDTH, drawing.height + (high + GAP) * len(rows)), NIGHT)
    whole.paste(drawing)
    for number, row in enumerate(rows):
        x = (WIDTH - sum(each.width + GAP for each in row) + GAP) // 2
        for each in row:
            whole.paste(each, (x, drawing.height + number * (high + GAP)))
            x += each.width + GAP
    return whole


if __name__ == "__main__":
    for path in sorted((Path(__file__).parent / "example_workflows").glob("*.json")):
        workflow = json.loads(path.read_text(encoding="utf-8"))
        pictures = given(workflow, Path(sys.argv[1])) if len(sys.argv) > 1 else []
        beneath(draw(workflow), pictures).save(path.with_suffix(".jpg"), quality=85)
