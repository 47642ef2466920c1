"""The data's way: a folder imports only from those before it, and what must start at once loads nothing heavy."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import masactrl_video

PACKAGE = Path(masactrl_video.__file__).parent

ORDER = [
    "errors",
    "files",
    "settings",
    "video",
    "guidance",
    "demo",
    "model",
    "source",
    "attention",
    "cache",
    "characters",
    "render",
    "encode",
    "page",
    "stages",
    "evaluate",
    "cli",
]

IMPORTS_ONLY = {"encode": {"errors", "files", "settings", "video"}, "page": {"errors", "files", "settings", "video"}}
IMPORTED_ONLY_BY = {"demo": {"model", "evaluate", "cli"}}

HEAVY = {"torch", "diffusers", "transformers", "cv2", "decord"}


def imported_parts(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Line and part of this package of every import, also of those inside functions.

    Args:
        tree: a parsed file.
        package: names of the package it lies in, where relative imports start: ("masactrl_video", "cache").
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = list(package[: len(package) - node.level + 1]) if node.level else []
            base = start + (node.module.split(".") if node.module else [])
            modules = [[*base, alias.name] for alias in node.names]
        else:
            continue
        for module in modules:
            if module[0] == "masactrl_video" and len(module) > 1 and not module[1].startswith("__"):
                yield node.lineno, module[1]


def complaint(importer: str, imported: str) -> str | None:
    """Why one part may not import from another; None when it may."""
    if imported == importer:
        return None
    for part in (importer, imported):
        if part not in ORDER:
            return f"{part} has no place in the order"
    if ORDER.index(imported) > ORDER.index(importer):
        return f"{importer} comes before {imported}"
    if imported not in IMPORTS_ONLY.get(importer, {imported}):
        return f"{importer} may import only {', '.join(sorted(IMPORTS_ONLY[importer]))}"
    if importer not in IMPORTED_ONLY_BY.get(imported, {importer}):
        return f"{imported} may be imported only by {', '.join(sorted(IMPORTED_ONLY_BY[imported]))}"
    return None


def complaints(package: Path) -> list[str]:
    found = []
    for path in sorted(package.rglob("*.py")):
        relative = path.relative_to(package)
        if len(relative.parts) == 1 and relative.stem.startswith("__"):
            continue  # the package's own front door may show anything
        names = (package.name, *relative.parent.parts)
        for line, imported in imported_parts(ast.parse(path.read_text(encoding="utf-8")), names):
            if why := complaint(Path(relative.parts[0]).stem, imported):
                found.append(f"{package.name}/{relative.as_posix()}:{line}: imports {imported}, but {why}")
    return found


def test_folders_import_only_from_those_before_them() -> None:
    assert (PACKAGE / "errors.py").is_file()
    assert complaints(PACKAGE) == []


@pytest.mark.parametrize(
    ("path", "code", "expected"),
    [
        ("video/a.py", "import masactrl_video.cli.main", "video/a.py:1: imports cli, but video comes before cli"),
        ("video/a.py", "def f():\n    from masactrl_video import cache", "video/a.py:2: imports cache"),
        ("video/a.py", "from ..render.frames import b", "video/a.py:1: imports render"),
        ("video/__init__.py", "from .. import render", "video/__init__.py:1: imports render"),
        ("demo/world/a.py", "from ...cli import main", "demo/world/a.py:1: imports cli"),
        ("encode/a.py", "from masactrl_video.cache.store import b", "encode may import only errors, files, settings"),
        ("render/a.py", "import masactrl_video.demo.world", "demo may be imported only by cli, evaluate, model"),
        ("drawer/a.py", "from masactrl_video.errors import UserError", "drawer has no place in the order"),
        ("cache/a.py", "from . import b\nfrom .c import d\nfrom masactrl_video.errors import UserError", None),
        ("render/a.py", "from masactrl_video import __version__\nfrom masactrl_video.cache import b", None),
    ],
)
def test_an_import_against_the_order_is_named_with_file_and_line(
    tmp_path: Path, path: str, code: str, expected: str | None
) -> None:
    file = tmp_path / "masactrl_video" / path
    file.parent.mkdir(parents=True)
    file.write_text(code)
    found = complaints(tmp_path / "masactrl_video")
    assert len(found) == (0 if expected is None else 1)
    assert (expected or "") in "".join(found)


@pytest.mark.parametrize(
    "module", ["masactrl_video", "masactrl_video.cli.main", "masactrl_video.cli.render", "masactrl_video.cache.manage"]
)
def test_starting_loads_no_heavy_library(module: str, tmp_path: Path) -> None:
    report = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"import {module}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
    ).stderr
    loaded = {line.rpartition("|")[2].strip() for line in report.splitlines() if line.startswith("import time:")}
    assert module in loaded
    assert not HEAVY & loaded
