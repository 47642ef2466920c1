"""Names in any letters, on terminals and pipes of any encoding: no traceback, and nothing lost."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli.conftest import Ran
from PIL import Image

from masactrl_video.encode.video import encode_video
from masactrl_video.video.clip import open_clip
from masactrl_video.video.png import png_bytes, read_png, read_png_text, write_png

SHORT = ("--num-inference-steps", "2", "--masa-step", "1")
NO_UTF8 = pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are always letters")


@pytest.fixture
def ran_with(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, bytes]]:
    """Status and output of a command whose stdout knows the letters of one encoding, as a pipe on Windows does."""

    def ran(encoding: str, *arguments: object) -> tuple[int, bytes]:
        pipe = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(pipe, encoding=encoding, errors="strict"))
        status = run(*arguments).status
        sys.stdout.flush()
        return status, pipe.getvalue()

    return ran


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_letters_that_a_pipe_does_not_know_are_replaced(
    ran_with: Callable[..., tuple[int, bytes]],
    tmp_path: Path,
    clip: Path,
    encoding: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, "видео.mp4")
    status, said = ran_with(encoding, "probe", "видео.mp4")
    assert status == 0
    assert b"?????.mp4: video, 48x48 px" in said
    status, said = ran_with(encoding, "pose", "convert", "waving", "-o", "поза.json")
    assert (status, said[:10]) == (0, b"????.json:")
    assert Path("поза.json").is_file()
    assert ran_with(encoding, "encode", "видео.mp4", "--frames", "нет", "-o", "выход.mp4") == (2, b"")
    assert ran_with(encoding, "render", "--help")[0] == 0


@pytest.mark.long
@NO_UTF8
def test_a_render_whose_names_are_no_letters_is_whole(
    run: Callable[..., Ran], tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest itself cannot send messages with such names to another process of its own
    monkeypatch.setattr(logging.getLogger("masactrl_video"), "propagate", False)
    source, output = Path(os.fsdecode(os.fsencode(tmp_path) + b"/clip\xff.mp4")), tmp_path / os.fsdecode(b"out\xff.mp4")
    shutil.copy(clip, source)
    done = run("render", source, "-o", output, *SHORT, "--frame-load-cap", "1", "--json")
    assert done.status == 0, done.err
    events = [json.loads(line) for line in done.out.splitlines()]
    assert events[-1]["result"]["video"] == str(output), "the name comes back as it is"
    folder = output.with_suffix("")
    settings = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    assert settings["clip"] == str(source)
    assert json.loads(read_png_text(folder / "frames" / "000000.png")["masactrl-video"])["clip"] == str(source)
    assert json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert "udcff.mp4" in (folder / "log.txt").read_text(encoding="utf-8").lower()
    again = run("render", "--config", folder / "config.yaml", "-o", tmp_path / "again.mp4")
    assert again.status == 0, again.err
    assert read_png(tmp_path / "again" / "frames" / "000000.png").tobytes() == (
        read_png(folder / "frames" / "000000.png").tobytes()
    )


@NO_UTF8
def test_parameters_of_names_that_are_no_letters_are_json_in_a_video_and_a_picture(tmp_path: Path) -> None:
    name = os.fsdecode(b"clip\xff.mp4")
    picture = png_bytes(read_black(tmp_path))
    encode_video([picture], [0.1], tmp_path / "out.mp4", metadata={"masactrl-video": json.dumps({"clip": name})})
    encode_video([picture], [0.1], tmp_path / "raw.mp4", metadata={"clip": name})
    assert rb"clip\udcff.mp4" in (tmp_path / "raw.mp4").read_bytes()
    write_png(tmp_path / "a.png", read_black(tmp_path), {"masactrl-video": json.dumps({"clip": name})})
    assert json.loads(read_png_text(tmp_path / "a.png")["masactrl-video"]) == {"clip": name}
    assert len(open_clip(tmp_path / "out.mp4")) == 1


def read_black(folder: Path) -> Any:
    Image.new("RGB", (16, 16)).save(folder / "black.png")
    return read_png(folder / "black.png")


@NO_UTF8
def test_a_comic_whose_name_is_no_letters_is_bound(run: Callable[..., Ran], tmp_path: Path) -> None:
    story = tmp_path / "story.yaml"
    story.write_text(
        "characters: {hero: {prompt: a bear}}\npanels: [{prompt: a bear}]\n"
        "settings: {num_inference_steps: 2, masa_step: 1}\n"
    )
    output = tmp_path / os.fsdecode(b"page\xff.pdf")
    done = run("comic", story, "-o", output)
    assert done.status == 0, done.err
    assert output.read_bytes().startswith(b"%PDF")


def test_a_prompt_that_is_no_letters_is_refused(run: Callable[..., Ran], tmp_path: Path, clip: Path) -> None:
    done = run("render", clip, "-o", tmp_path / "o.mp4", "--prompt", os.fsdecode(b"a bear\xff"))
    assert done.status == 2
    assert "it holds bytes that are no letters in UTF-8" in done.err
    assert len(done.err.splitlines()) == 1
