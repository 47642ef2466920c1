"""A server of the page in a process of its own, and a browser that nothing leaves the machine from."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PLACES = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")


def chromium() -> str | None:
    """Where a browser is; None where there is none."""
    return next((found for place in PLACES if place and (found := shutil.which(place))), None)


def missing() -> str:
    """Why no browser can be driven; empty where one can."""
    absent = [name for name in ("gradio", "playwright", "axe_playwright_python") if not importlib.util.find_spec(name)]
    if absent:
        return f"{', '.join(absent)} not installed: pip install -e '.[web,browser]'"
    return "" if chromium() else "no Chromium on the path; CHROMIUM may name one"


needs_browser = pytest.mark.skipif(bool(missing()), reason=missing() or "there is a browser")


class Server:
    """`masactrl-video web` in a process of its own."""

    def __init__(self, folder: Path, home: Path, *flags: str) -> None:
        own = {f"MASACTRL_VIDEO_{name}": str(home / name.lower()) for name in ("CACHE", "CHARACTERS")}
        environment = {**os.environ, **own, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        words = [sys.executable, "-m", "masactrl_video.cli.main", "web", "--folder", str(folder), *flags]
        self.process = subprocess.Popen(
            words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.folder = folder
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if found := re.search(r"http://\S+", line):
                self.url = found[0]
                return
        raise RuntimeError("".join(said))

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self.process.kill()
        self.process.communicate()

    def end(self) -> None:
        """End it as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=60)


@contextmanager
def opened_browser() -> Iterator[Any]:
    """A Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser: Any, url: str, **options: Any) -> Any:
    """The page in a tab; it fails where it asks for anything that is not on this server."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
    page = context.new_page()
    page.set_default_timeout(180_000)
    page.left = []
    own = re.match(r"https?://[^/]+", url)
    assert own is not None
    page.on(
        "request", lambda sent: None if sent.url.startswith((own[0], "data:", "blob:")) else page.left.append(sent.url)
    )
    page.goto(url)
    page.wait_for_selector("#clip-make")
    return page


def choose_tab(page: Any, name: str) -> None:
    """Go to a tab, also where it is in the menu of those that have no room."""
    tab = page.get_by_role("tab", name=name, exact=True)
    if not tab.is_visible():
        page.locator(".overflow-menu button").first.click()
        page.locator(".overflow-dropdown").get_by_text(name, exact=True).click()
    else:
        tab.click()


def set_number(page: Any, tab: str, label: str, value: str) -> None:
    """Type a number into a field of the tab that is shown."""
    field = page.get_by_role("tabpanel").get_by_label(label, exact=False).locator("visible=true").first
    field.fill(value)
    field.press("Tab")
