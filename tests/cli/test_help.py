"""Help and version come at once, without the libraries that take seconds."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import masactrl_video
from masactrl_video.cli.main import COMMANDS

HEAVY = {"torch", "diffusers", "transformers", "cv2", "decord", "controlnet_aux", "numpy", "PIL"}
PROGRAM = """
import sys
from masactrl_video.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print("modules:", *sys.modules)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["render", "--help"], ["cache", "list", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "usage: masactrl-video" in out
    assert HEAVY & set(out.rpartition("modules:")[2].split()) == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run: Callable[..., Any], command: str) -> None:
    ran = run(command, "--help")
    assert ran.status == 0
    assert COMMANDS[command] in " ".join(ran.out.split())


@pytest.mark.parametrize("command", ["synthesize", "edit", "sweep", "compare", "comic"])
def test_pictures_have_the_speed_options_that_do_something_there(run: Callable[..., Any], command: str) -> None:
    text = run(command, "--help").out
    assert all(flag in text for flag in ("--taesd", "--vae-tiling", "--compile", "--channels-last", "--offload"))
    assert ("--reuse-deep-features" in text) == (command not in ("compare", "comic"))
    assert not any(flag in text for flag in ("--skip-uncond", "--cache-memory"))


def test_the_version_is_the_packages(run: Callable[..., Any]) -> None:
    assert run("--version").out.strip() == masactrl_video.__version__


def test_help_says_what_holds_without_a_flag(run: Callable[..., Any]) -> None:
    text = " ".join(run("render", "--help").out.split())
    assert "denoising steps (default: 50; in preset demo: 20)" in text
    assert "keep the clip's sound (default: yes)" in text
    assert "bars) or resize (stretch) (default: crop)" in text
