"""Pictures of every tab, wide and narrow, light and dark: `python tests/web/screenshots.py FOLDER [--front PICTURE]`.

A clip is made first, so that there is something to see.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image
from web.browser import Server, choose_tab, missing, opened, opened_browser

TABS = ("Clip", "Stills", "Poses", "Characters", "Comic", "Runs", "Doctor")
SIZES_PX = {1280: "light", 390: "dark"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for the pictures")
    parser.add_argument("--front", type=Path, help="also the Clip tab alone, as people see it first, as JPEG")
    arguments = parser.parse_args()
    if missing():
        sys.exit(missing())
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, opened_browser() as browser:
        server = Server(Path(home) / "runs", Path(home))
        try:
            made = make_clip(browser, server)
            for width_px, scheme in SIZES_PX.items():
                page = opened(browser, made, color_scheme=scheme)
                page.set_viewport_size({"width": width_px, "height": 900})
                for name in TABS:
                    shoot(page, name, arguments.folder / f"{name.lower()}-{width_px}.png")
                    if arguments.front and name == "Clip" and scheme == "light":
                        front(page, arguments.front)
        finally:
            server.end()


def make_clip(browser: Any, server: Server) -> str:
    """Make the example clip; returns the address that shows it."""
    page = opened(browser, server.url)
    page.click("#take-example")
    page.wait_for_selector("#clip-preview img")
    page.click("#clip-make")
    page.wait_for_selector(".mv-result video", timeout=180_000)
    address: str = page.url
    page.context.close()
    return address


def shoot(page: Any, name: str, path: Path) -> None:
    """The whole of a tab."""
    choose_tab(page, name)
    if name == "Clip":
        page.click("#take-example")
        page.wait_for_selector("#clip-preview img")
        page.wait_for_selector(".mv-result video")
    if name == "Doctor":
        page.click("#doctor-look")
        page.wait_for_selector("#doctor-found table")
    page.wait_for_timeout(700)
    page.screenshot(path=str(path), full_page=True)


def front(page: Any, path: Path) -> None:
    """What is seen of the Clip tab without scrolling."""
    shot = path.with_suffix(".png")
    page.screenshot(path=str(shot))
    Image.open(shot).convert("RGB").resize((1000, 703), Image.Resampling.LANCZOS).save(path, quality=82, optimize=True)
    shot.unlink()


if __name__ == "__main__":
    main()
