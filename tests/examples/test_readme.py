"""The README's lines are ones that the commands take, and its pictures are made by them."""

from __future__ import annotations

import argparse
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from masactrl_video.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPT = (ROOT / "examples" / "make_pictures.sh").read_text(encoding="utf-8")


def commands(text: str) -> list[str]:
    """Lines and code spans that begin with the command, without what is left open by dots."""
    found = re.findall(r"(?:^|`|&& )(masactrl-video [^`\n]+)", text, re.MULTILINE)
    return [one for one in dict.fromkeys(found) if one.split()[1] in COMMANDS and "|" not in one]


@pytest.mark.parametrize("line", commands(README))
def test_every_line_is_one_that_its_command_takes(line: str) -> None:
    _, command, *arguments = shlex.split(line)
    parser = argparse.ArgumentParser(allow_abbrev=False)
    import_module(f"masactrl_video.cli.{command}").add_arguments(parser)
    parser.parse_args(arguments)


def test_the_script_makes_all_pictures_by_lines_of_the_readme() -> None:
    shown = set(re.findall(r"\]\(examples/([^)]+\.(?:jpg|png))\)", README))
    made = set(re.findall(r"^sheet (\S+)", SCRIPT, re.MULTILINE))
    assert shown == made
    assert len(shown) >= 8
    assert [line for line in commands(SCRIPT) if line not in commands(README)] == []


def test_pictures_are_there_and_small() -> None:
    pictures = [ROOT / "examples" / name for name in re.findall(r"\]\(examples/([^)]+\.(?:jpg|png))\)", README)]
    assert sum(path.stat().st_size for path in pictures) < 1_000_000
