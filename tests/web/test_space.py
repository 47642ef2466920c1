"""The files of a Space: its front matter, and that its server is one of ours."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from masactrl_video.web import server

ROOT = Path(__file__).resolve().parents[2]
SPACE = ROOT / "examples" / "space"


def test_the_front_matter_names_what_is_there() -> None:
    matter = yaml.safe_load((SPACE / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert matter["sdk"] == "gradio"
    assert (SPACE / matter["app_file"]).is_file()
    assert matter["suggested_hardware"] == "cpu-basic"
    assert len(matter["short_description"]) <= 60
    wanted = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition('web = ["')[2].partition('"]')[0]
    assert Version(matter["sdk_version"]) in Requirement(wanted).specifier


@pytest.mark.parametrize(("space", "host"), [("", "127.0.0.1"), ("somebody/name", "0.0.0.0")])
def test_its_server_is_open_on_a_space_alone(monkeypatch: pytest.MonkeyPatch, space: str, host: str) -> None:
    asked: list[server.ServerOptions] = []
    monkeypatch.setattr(server, "serve", lambda options, said: asked.append(options))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if space:
        monkeypatch.setenv("SPACE_ID", space)
    runpy.run_path(str(SPACE / "app.py"), run_name="__main__")
    found: Any = asked[0]
    assert (found.host, found.share, found.auth) == (host, False, None)
    assert found.is_for_others == bool(space)
