"""An ffmpeg that is missing, cannot be run or is too old is said with its version, before anything is done with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from masactrl_video.errors import UserError
from masactrl_video.video.ffmpeg_program import check_ffmpeg


def program(path: Path, says: str) -> Path:
    """A program that answers with a line."""
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("version", "number"),
    [
        ("4.2.2-static https://johnvansickle.com/ffmpeg/", "4.2.2-static"),
        ("4.4.2-0ubuntu0.22.04.1", "4.4.2-0ubuntu0.22.04.1"),
        ("n5.0", "n5.0"),
    ],
)
def test_one_that_is_too_old_is_named_with_the_version_that_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, number: str
) -> None:
    old = program(tmp_path / "ffmpeg", f"ffmpeg version {version} Copyright (c) 2000-2022 the FFmpeg developers")
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(old))
    with pytest.raises(UserError, match=rf"{old} is version {number}, 6\.1 or later is needed; .*IMAGEIO_FFMPEG_EXE"):
        check_ffmpeg()


@pytest.mark.parametrize("version", ["6.1", "6.1.1-0+deb13u1", "n7.1", "10.0", "N-109468-gd39b34123d"])
def test_one_that_is_new_enough_or_between_releases_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program(tmp_path / "ffmpeg", f"ffmpeg version {version} Copyright")))
    assert check_ffmpeg() == version


@pytest.mark.parametrize(
    ("content", "rights", "words"),
    [
        (None, 0, "is no program that may be run"),
        ("text", 0o644, "is no program that may be run"),
        ("\0\1\2", 0o755, "cannot be run"),
        ("#!/bin/sh\necho hello\n", 0o755, "does not answer as ffmpeg does"),
    ],
)
def test_what_is_no_ffmpeg_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, rights: int, words: str
) -> None:
    path = tmp_path / "ffmpeg"
    if content is not None:
        path.write_text(content)
        path.chmod(rights)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(path))
    with pytest.raises(UserError, match=f"ffmpeg: {path} {words}.*; use the one that imageio-ffmpeg brings"):
        check_ffmpeg()
