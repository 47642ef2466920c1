"""A page drawn: panels in their places, frames, captions and balloons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from masactrl_video.page.layout import Rect
from masactrl_video.page.placing import PlacedText
from masactrl_video.page.shapes import shapes_of
from masactrl_video.page.story import PageStyle
from masactrl_video.page.text import lettering_of
from masactrl_video.video.fit import plan_fit

_SMOOTH = 4
"""Balloons are drawn so many times larger and scaled down, for smooth edges."""

_INK, _PAPER, _NARRATOR = (0, 0, 0), (255, 255, 255), (255, 247, 214)

Picture = NDArray[np.uint8]


def compose_page(panels: Sequence[tuple[Rect, Picture, Sequence[PlacedText]]], style: PageStyle) -> Picture:
    """A page RGB uint8 (height, width, 3).

    Args:
        panels: place, rendered picture (height, width, 3) of any size, and texts of each panel. A picture of another
            shape than its place is scaled to cover it, and what hangs over is cut on both sides alike.
    """
    page = Image.new("RGB", (style.width, style.height), style.background)
    for place, picture, texts in panels:
        panel = lettered(fitted(picture, place), texts, style)
        page.paste(panel, (place.left, place.top))
        if style.border:
            box = (place.left, place.top, place.right - 1, place.bottom - 1)
            ImageDraw.Draw(page).rectangle(box, outline=_INK, width=style.border)
    return np.array(page)


def fitted(picture: Picture, place: Rect) -> Picture:
    """A picture at the size of its place."""
    fit = plan_fit(
        picture.shape[1],
        picture.shape[0],
        mode="crop",
        target_width_px=place.width,
        target_height_px=place.height,
        size_factor=1,
        native_area_px=place.width * place.height,
    )
    return fit.apply(picture)


def lettered(picture: Picture, texts: Sequence[PlacedText], style: PageStyle) -> Image.Image:
    """A panel with its captions and balloons; what would lie outside the panel is cut."""
    panel = Image.fromarray(picture)
    for placed in texts:
        if placed.kind == "caption":
            _draw_caption(panel, placed, style)
        else:
            _draw_balloon(panel, placed, style)
        _write(panel, placed, style)
    return panel


def _draw_caption(panel: Image.Image, placed: PlacedText, style: PageStyle) -> None:
    rect, line = placed.rect, max(2, style.border * 3 // 5)
    box = (rect.left, rect.top, rect.right - 1, rect.bottom - 1)
    ImageDraw.Draw(panel).rectangle(box, fill=_NARRATOR, outline=_INK, width=line)


def _draw_balloon(panel: Image.Image, placed: PlacedText, style: PageStyle) -> None:
    """Ink first, a little larger than each part, then paper over all parts: one outline around body and tail."""
    line = max(2, style.border * 3 // 5) * _SMOOTH
    size = (panel.width * _SMOOTH, panel.height * _SMOOTH)
    ink, paper = Image.new("L", size), Image.new("L", size)
    for polygon in shapes_of(placed):
        points = [(x * _SMOOTH, y * _SMOOTH) for x, y in polygon]
        ImageDraw.Draw(ink).polygon(points, fill=255)
        ImageDraw.Draw(ink).line([*points, *points[:2]], fill=255, width=2 * line, joint="curve")
        ImageDraw.Draw(paper).polygon(points, fill=255)
    for color, mask in ((_INK, ink), (_PAPER, paper)):
        panel.paste(color, (0, 0), mask.resize(panel.size, Image.Resampling.BOX))


def _write(panel: Image.Image, placed: PlacedText, style: PageStyle) -> None:
    draw, text, rect = ImageDraw.Draw(panel), placed.text, placed.rect
    lettering = lettering_of(style, text.size_px)
    ascent, descent = lettering.metrics_px
    middle_x, top = (rect.left + rect.right) / 2, (rect.top + rect.bottom - text.height_px) / 2
    for number, line in enumerate(text.lines):
        baseline = top + number * text.line_px + (text.line_px + ascent - descent) / 2
        lettering.write(draw, (middle_x, baseline), line, _INK, "m")
