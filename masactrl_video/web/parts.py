"""Parts of the page as HTML: messages, pictures, videos. All that was typed or sent is escaped here."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from masactrl_video.web.preview import data_url


def problem(text: str) -> str:
    """What is wrong, where screen readers say it at once; nothing where nothing is."""
    return f'<div class="mv-problem" role="alert">{escape(text)}</div>' if text else ""


def note(text: str) -> str:
    """A remark."""
    return f'<p class="mv-note">{escape(text)}</p>' if text else ""


def url_of(path: Path) -> str:
    """Where the page finds a file of a job; the time keeps browsers from showing an older one."""
    return f"gradio_api/file={quote(path.as_posix())}?v={path.stat().st_mtime_ns}"


def page_so_far(page: NDArray[np.uint8], number: int) -> str:
    """A page of a comic that is not done."""
    label = f"page {number} so far"
    return (
        f'<figure class="mv-figure mv-page"><img src="{data_url(page, 560)}" alt="{label}">'
        f"<figcaption>{label}</figcaption></figure>"
    )


def video(path: Path, label: str, classes: str = "") -> str:
    """A video that plays in the page."""
    where, text = url_of(path), escape(label)
    return (
        f'<figure class="mv-figure {classes}"><video src="{where}" aria-label="{text}" controls loop muted autoplay '
        f'playsinline preload="metadata"></video><figcaption>{text} · <a href="{where}" download="{escape(path.name)}">'
        "download</a></figcaption></figure>"
    )


def figure(path: Path, label: str, classes: str = "") -> str:
    """A picture with its name."""
    where, text = url_of(path), escape(label)
    return (
        f'<figure class="mv-figure {classes}"><a href="{where}" target="_blank"><img src="{where}" alt="{text}"></a>'
        f"<figcaption>{text}</figcaption></figure>"
    )


def strip(pictures: Sequence[tuple[Path, str]], title: str, *, closed: bool = False) -> str:
    """Small pictures in a row that can be scrolled."""
    return row([(url_of(path), name) for path, name in pictures if path.exists()], title, closed=closed)


def row(pictures: Iterable[tuple[str, str]], title: str, *, closed: bool = False) -> str:
    """The same with their addresses."""
    items = "".join(
        f'<li><img src="{where}" alt="{escape(name)}" loading="lazy"><span>{escape(name)}</span></li>'
        for where, name in pictures
    )
    return (
        f'<details class="mv-strip"{"" if closed else " open"}><summary>{escape(title)}</summary>'
        f'<ul tabindex="0" aria-label="{escape(title)}">{items}</ul></details>'
    )


def picture_url(png: bytes) -> str:
    """A small picture as part of a page."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def download(path: Path) -> str:
    """A link to a file."""
    return f'<p><a href="{url_of(path)}" download="{escape(path.name)}">Download {escape(path.name)}</a></p>'
