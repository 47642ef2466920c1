"""Lines of README and docs are ones that the commands take, links lead somewhere, and the pictures are made by them."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import masactrl_video
from masactrl_video.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
SCRIPT = (ROOT / "examples" / "make_pictures.sh").read_text(encoding="utf-8")
PAGES = [README, *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "bad-input.md")]
"""What people read; bad-input.md is a report of commands that fail."""
LINKING = [*PAGES, ROOT / "CONTRIBUTING.md"]

LARGEST_README_BYTES, LARGEST_PICTURE_BYTES, LARGEST_PICTURES_BYTES = 6_000, 1_500_000, 2_000_000
FIRST_COMMAND = "pip install . && masactrl-video render examples/clip.mp4 -o out.mp4"
PARTS_OF_OTHERS = {"full", "strict"}
"""Flags that belong to pytest and mkdocs."""
TRAINING = "training.md"
"""Its flags belong to the module that trains, and to torchrun."""


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language, also those inside lists."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)


def commands(script: str) -> list[str]:
    """Lines of ours in a script or a bash block."""
    return list(dict.fromkeys(re.findall(r"(?:^|&& )(masactrl-video [^\n]+)", script, re.MULTILINE)))


def spans(page: Path) -> list[str]:
    """Code in sentences and tables."""
    prose = re.sub(r"^ *```.*?^ *```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


def lines_of(page: Path) -> list[str]:
    """Command lines of a page: those in bash blocks, and code in sentences that has more than names of a command."""
    said = [span for span in spans(page) if span.startswith("masactrl-video ") and len(span.split()) > 3]
    return commands("\n".join(blocks(text_of(page), "bash"))) + said


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def parser_of(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False, prog=f"masactrl-video {command}")
    import_module(f"masactrl_video.cli.{command}").add_arguments(parser)
    return parser


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    """All flags, also those of actions below it."""
    found = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {flag for below in action.choices.values() for flag in flags_of(below)}
    return found


ALL_LINES = list(dict.fromkeys((name_of(page), line) for page in PAGES for line in lines_of(page)))


@pytest.mark.parametrize(("page", "line"), ALL_LINES)
def test_every_line_is_one_that_its_command_takes(page: str, line: str) -> None:
    _, command, *arguments = shlex.split(line)
    assert command in COMMANDS
    try:
        parser_of(command).parse_args(arguments)
    except SystemExit as end:
        assert arguments == ["--help"], f"{page}: {line}"
        assert end.code == 0


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_of_commands_is_read(page: Path) -> None:
    typed = [
        line for block in blocks(text_of(page), "bash") for line in block.splitlines() if "masactrl-video " in line
    ]
    assert [line for line in typed if not any(line.endswith(taken) for taken in lines_of(page))] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_and_flag_in_a_sentence_is_there(page: Path) -> None:
    for span in spans(page):
        assert not span.startswith("masactrl-video ") or span.split()[1] in {*COMMANDS, "COMMAND"}, span
    known = {flag for command in COMMANDS for flag in flags_of(parser_of(command))}
    known |= {f"--{flag}" for flag in PARTS_OF_OTHERS}
    flags = {flag for span in spans(page) for flag in re.findall(r"(?:^| )(--[a-z][a-z0-9-]*)", span)}
    assert page.name == TRAINING or sorted(flags - known) == []


def test_the_readme_is_a_door() -> None:
    assert len(README.read_bytes()) <= LARGEST_README_BYTES
    assert blocks(text_of(README), "bash")[0].strip() == FIRST_COMMAND


@pytest.mark.parametrize("page", LINKING, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if re.match(r"\w+:", target):
            continue
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (heading and heading not in headings(file)):
            broken.append(target)
    assert broken == []


def headings(page: Path) -> set[str]:
    """The addresses of a page's headings."""
    found = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one).strip().lower().replace(" ", "-") for one in found}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_on_a_page_is_python_and_takes_public_names(page: Path) -> None:
    for block in blocks(text_of(page), "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module == "masactrl_video":
                assert all(hasattr(masactrl_video, alias.name) for alias in node.names)


def test_the_script_makes_all_pictures_by_lines_of_the_pages() -> None:
    shown = {
        name for page in PAGES for name in re.findall(r"\]\((?:\.\./)?examples/([^)]+\.(?:jpg|webp))\)", text_of(page))
    }
    made = set(re.findall(r"^(?:sheet|moving|shot) (\S+)", SCRIPT, re.MULTILINE))
    assert shown == made
    assert len(shown) >= 9
    assert [line for line in commands(SCRIPT) if line not in {line for _, line in ALL_LINES}] == []


def test_a_picture_stands_below_the_lines_that_make_it() -> None:
    """The lines before it in the script stand on each page that shows it."""
    for part in SCRIPT.split("\n\n")[1:]:
        lines, names = commands(part), re.findall(r"^(?:sheet|moving) (\S+)", part, re.MULTILINE)
        for page in PAGES:
            text = text_of(page)
            if any(f"examples/{name})" in text for name in names):
                assert [line for line in lines if line not in lines_of(page)] == [], name_of(page)


def test_pictures_are_there_and_small() -> None:
    pictures = [path for path in (ROOT / "examples").iterdir() if path.suffix in (".jpg", ".webp")]
    assert max(path.stat().st_size for path in pictures) <= LARGEST_PICTURE_BYTES
    assert sum(path.stat().st_size for path in pictures) <= LARGEST_PICTURES_BYTES
