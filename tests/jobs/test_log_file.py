"""The log beside a result."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import masactrl_video
from masactrl_video.errors import UserError
from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.jobs.run.folder import Outputs

Render = Callable[..., Outputs]


def test_it_has_versions_settings_stages_with_times_and_the_end(rendered: Outputs) -> None:
    lines = rendered.log.read_text().splitlines()
    assert lines[0].startswith(f"--- masactrl-video {masactrl_video.__version__}, python 3.")
    settings = "\n".join(line for line in lines[1:] if line[:2] != "20" and not line.startswith("---"))
    assert yaml.safe_load(settings) == yaml.safe_load(rendered.config.read_text())
    for stage in ("load", "guidance", "source", "render", "encode"):
        assert sum(f"INFO    {stage} took" in line for line in lines) == 1
    assert lines[-1].startswith("--- done after ")


def test_warnings_are_in_the_log_and_in_the_report(render: Render, tmp_path: Path) -> None:
    outputs = render(tmp_path / "out.mp4", masa_steps=[])
    (warning, *_) = json.loads(outputs.report.read_text())["warnings"]
    assert "no step or no layer is controlled" in warning
    assert f"WARNING {warning}" in outputs.log.read_text()


def test_what_is_not_read_of_a_prompt_is_in_the_log(render: Render, tmp_path: Path) -> None:
    long = "blue " * 40 + "castle"
    outputs = render(tmp_path / "out.mp4", prompt="a (bear:1.3) BREAK dancing", negative_prompt=long)
    marks, left_out = json.loads(outputs.report.read_text())["warnings"][:2]
    assert marks.startswith("prompt: (bear:1.3), BREAK: marks of other programs")
    assert left_out.startswith("negative_prompt: the text encoder reads ") and "castle" in left_out
    log = outputs.log.read_text()
    assert (log.count(f"WARNING {marks}"), log.count(f"WARNING {left_out}")) == (1, 1)


def test_a_run_that_stops_says_why_and_the_next_one_goes_on_below(
    render: Render, demo: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("masactrl_video.jobs.encode.encode_result", stop)
        with pytest.raises(KeyboardInterrupt):
            render(tmp_path / "out.mp4")
    log = (tmp_path / "out" / "log.txt").read_text()
    assert log.splitlines()[-1] == "--- stopped: KeyboardInterrupt"
    again = render(tmp_path / "out.mp4").log.read_text()
    assert again.startswith(log)
    assert again.count("--- masactrl-video") == 2


def test_a_run_that_is_refused_leaves_no_log(render: Render, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        render(tmp_path / "out.mp4", width=100)
    assert list(tmp_path.iterdir()) == []


def test_names_of_files_cannot_write_lines_of_their_own(
    demo: Callable[..., object], clip: Path, tmp_path: Path, models: Callable[..., object]
) -> None:
    evil = tmp_path / "a\n2026-01-01 ERROR   forged\x1b[2J.mp4"
    evil.write_bytes(clip.read_bytes())
    settings = demo(clip=evil)
    outputs = render_clip(settings, tmp_path / "out.mp4", model=models(settings))  # type: ignore[arg-type]
    assert not any(line.startswith("2026-01-01 ERROR") for line in outputs.log.read_text().splitlines())
    assert "\x1b" not in outputs.log.read_text()
