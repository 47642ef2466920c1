"""Panels with their texts, drawn, and pages as files."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from PIL.PdfParser import PdfParser

from masactrl_video.errors import UserError
from masactrl_video.page.compose import compose_page, fitted, lettered
from masactrl_video.page.files import write_cbz, write_page, write_pdf
from masactrl_video.page.layout import Rect
from masactrl_video.page.placing import PlacedText, place_texts
from masactrl_video.page.shapes import shapes_of
from masactrl_video.page.story import PageStyle, Panel

STYLE = PageStyle(width=500, height=600, margin=30, gutter=10, border=4, text_size=18, min_text_size=10)
SIZE = (300, 260)
GREEN = np.broadcast_to(np.uint8([0, 200, 0]), (64, 64, 3))


def placed(heads: Any = None, **panel: Any) -> list[PlacedText]:
    heads = {"bear": (0.5, 0.7)} if heads is None else heads
    return place_texts(Panel(prompt="x", **panel), SIZE, STYLE, heads, "panel 1")


def test_caption_and_balloons_lie_inside_the_panel_and_apart() -> None:
    texts = placed(caption="One morning.", balloons=["Hello!", "Who is there?", {"text": "Me.", "at": "bottom-left"}])
    for number, one in enumerate(texts):
        assert 0 <= one.rect.left < one.rect.right <= SIZE[0]
        assert 0 <= one.rect.top < one.rect.bottom <= SIZE[1]
        assert (one.rect.width, one.rect.height) > (one.text.width_px, one.text.height_px)
        for other in texts[:number]:
            assert one.rect.top >= other.rect.bottom or one.rect.left >= other.rect.right or number == 3
    assert texts[1].rect.left < texts[2].rect.left  # by turns left and right


def test_tails_point_at_who_speaks() -> None:
    heads = {"bear": (0.2, 0.8), "frog": (0.8, 0.8)}
    said = [{"text": "A", "by": "bear"}, {"text": "B", "by": "frog"}, {"text": "C"}, {"text": "D", "tail": [0.5, 0.9]}]
    bear, frog, nobody, given = placed(heads, balloons=said)
    assert (bear.tail, frog.tail, nobody.tail) == ((60, 208), (240, 208), None)
    assert given.tail == (150, 234)
    assert bear.rect.left < frog.rect.left  # each on its speaker's side
    (tip,) = shapes_of(frog)[1:]
    assert max(y for _, y in tip) < 208  # it stops before the face
    assert max(y for _, y in tip) > frog.rect.bottom


def test_tails_end_where_a_head_of_known_size_begins() -> None:
    panel = Panel(prompt="x", balloons=[{"text": "A", "by": "bear"}])
    (text,) = place_texts(panel, SIZE, STYLE, {"bear": (0.5, 0.8)}, "panel 1", {"bear": 40.0})
    assert text.tail is not None
    assert np.hypot(text.tail[0] - 150, text.tail[1] - 208) == pytest.approx(40)
    assert text.rect.bottom < text.tail[1] < 208


def test_balloons_keep_away_from_heads_where_they_can() -> None:
    (text,) = placed({"bear": (0.2, 0.1)}, balloons=[{"text": "Hello!", "by": "bear"}])
    assert text.rect.left > 0.2 * SIZE[0]


@pytest.mark.parametrize("kind", ["speech", "thought", "shout"])
def test_text_lies_inside_the_body_of_its_balloon(kind: str) -> None:
    (text,) = placed(balloons=[{"text": "somewhat more than a word", "kind": kind, "by": "bear"}])
    body = shapes_of(text)[0]
    assert min(x for x, _ in body) >= text.rect.left - 1e-6 and max(x for x, _ in body) <= text.rect.right + 1e-6
    mask = Image.new("L", SIZE)
    ImageDraw.Draw(mask).polygon(body, fill=255)
    x, y = (text.rect.left + text.rect.right) / 2, (text.rect.top + text.rect.bottom) / 2
    for across in (-0.5, 0.5):
        for down in (-0.5, 0.5):
            assert mask.getpixel((int(x + across * text.text.width_px), int(y + down * text.text.height_px))) == 255


def test_a_lettered_panel_has_ink_and_paper_where_the_balloon_is_and_the_picture_elsewhere() -> None:
    (text,) = placed(balloons=[{"text": "Hello!", "by": "bear"}])
    panel = np.array(lettered(fitted(GREEN, Rect(0, 0, *SIZE)), [text], STYLE))
    inside = panel[text.rect.top : text.rect.bottom, text.rect.left : text.rect.right]
    assert (inside == 255).all(axis=-1).mean() > 0.3
    assert (inside.max(axis=-1) < 60).mean() > 0.05
    assert (panel[-20:] == [0, 200, 0]).all()


@pytest.mark.parametrize(
    ("panel", "words"),
    [
        (
            {"balloons": [{"text": "Hello!", "by": "frog"}]},
            "panel 1, balloon 1: 'frog' is not in this panel; there are: bear",
        ),
        ({"balloons": ["a word " * 60]}, "panel 1, balloon 1: 'a word a word .*does not fit"),
        ({"caption": "a word " * 90}, "panel 1, caption: .*does not fit"),
        (
            {"balloons": [{"text": "A", "at": "top"}, {"text": "B", "at": [0.5, 0.1]}]},
            "balloon 1 and balloon 2 would lie",
        ),
    ],
)
def test_texts_that_cannot_be_placed_are_refused(panel: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        placed(**panel)


def test_a_page_has_margins_frames_and_panels(tmp_path: Path) -> None:
    place = Rect(30, 30, 330, 290)
    page = compose_page([(place, GREEN, [])], STYLE)
    assert page.shape == (600, 500, 3)
    assert (page[:30] == 255).all() and (page[300:] == 255).all()
    assert (page[32, 32:328] == 0).all()
    assert (page[40:280, 40:320] == [0, 200, 0]).all()


def test_pages_are_bound_as_pdf_and_cbz(tmp_path: Path) -> None:
    pages = [tmp_path / f"{n}.png" for n in (1, 2)]
    for path, level in zip(pages, (10, 240), strict=True):
        write_page(path, np.full((60, 40, 3), level, np.uint8), 150)
    write_pdf(tmp_path / "a.pdf", pages, 150, "a")
    write_cbz(tmp_path / "a.cbz", pages)
    write_cbz(tmp_path / "b.cbz", pages)
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    with PdfParser(str(tmp_path / "a.pdf")) as parsed:
        assert len(parsed.pages) == 2
    assert b"19.2 28.8" in pdf  # 40x60 px at 150 to the inch, in points
    with zipfile.ZipFile(tmp_path / "a.cbz") as archive:
        assert archive.namelist() == ["001.png", "002.png"]
        assert archive.read("002.png") == pages[1].read_bytes()
    assert (tmp_path / "a.cbz").read_bytes() == (tmp_path / "b.cbz").read_bytes()
    with Image.open(pages[0]) as page:
        assert page.info["dpi"] == pytest.approx((150, 150), abs=0.1)
