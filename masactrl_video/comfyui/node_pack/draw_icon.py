"""Draws icon.png: a source's figure, and two frames that look at it. Run it in this folder."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

SIDE, FINE = 256, 4
NIGHT, CORAL, PAPER = "#1d2433", "#f2784b", "#f4efe6"


def draw() -> Image.Image:
    """RGB, drawn four times as large and made small, so that edges are smooth."""
    picture = Image.new("RGB", (SIDE * FINE, SIDE * FINE), NIGHT)
    pen = ImageDraw.Draw(picture)

    def frame(left: int, top: int, side: int, lean: int, colour: str) -> None:
        box = [left * FINE, top * FINE, (left + side) * FINE, (top + side) * FINE]
        pen.rounded_rectangle(box, radius=side * FINE // 8, fill=colour)
        x, y, unit = left + side / 2, top + side / 2, side / 10
        head = [x + lean * unit - 1.3 * unit, y - 3.6 * unit, x + lean * unit + 1.3 * unit, y - unit]
        pen.ellipse([place * FINE for place in head], fill=NIGHT)
        body = [
            (x + lean * unit, y - unit),
            (x, y + unit),
            (x - 2 * unit, y + 3.4 * unit),
            (x + 2 * unit, y + 3.4 * unit),
        ]
        for end in body[2:]:
            pen.line([place * FINE for point in (body[0], body[1], end) for place in point], NIGHT, int(unit * FINE))

    for end in ((190, 66), (190, 190)):
        pen.line([80 * FINE, 128 * FINE, end[0] * FINE, end[1] * FINE], CORAL, 7 * FINE)
    frame(20, 68, 120, 0, CORAL)
    frame(152, 24, 84, 1, PAPER)
    frame(152, 148, 84, -1, PAPER)
    return picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS).quantize(32).convert("P")


if __name__ == "__main__":
    draw().save(Path(__file__).with_name("icon.png"), optimize=True)
