"""The data's way: a folder imports only from those before it, and what must start at once loads nothing heavy."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import imageio_ffmpeg
import pytest
from PIL import Image

import masactrl_video

PACKAGE = Path(masactrl_video.__file__).parent

ORDER = [
    "errors",
    "plugins",
    "progress",
    "storage",
    "settings",
    "video",
    "page",
    "poses",
    "poses/detectors",
    "sprites",
    "demo",
    "model/backbones",
    "model",
    "model/sampling",
    "model/loading",
    "model/backbones/unet",
    "model/backbones/joint",
    "model/backbones/flux",
    "model/backbones/flux2",
    "model/backbones/sd3",
    "model/backbones/zimage",
    "model/backbones/qwen",
    "model/backbones/chroma",
    "model/backbones/pixart",
    "model/backbones/wan",
    "attention",
    "attention/baselines",
    "cache",
    "controls",
    "sources/characters",
    "sources",
    "render",
    "engines",
    "encode",
    "measure",
    "jobs/run",
    "jobs",
    "jobs/comic",
    "jobs/measure",
    "evaluate",
    "web",
    "comfyui",
    "cli",
]
"""Folders, nested ones by their path; what a folder that is not named here holds belongs to the folder above it."""

IMPORTS_ONLY = {
    "encode": {"errors", "storage", "settings", "video"},
    "page": {"errors", "storage", "settings", "video"},
    "measure": {"errors", "progress", "settings", "video", "poses"},
}
IMPORTED_ONLY_BY = {"demo": {"model/loading", "controls", "evaluate", "web", "cli"}}

ONE_ARCHITECTURE = re.compile(
    r"down_blocks|mid_block|up_blocks|\battn[12]\b|UNet2DConditionModel|added_cond_kwargs|attn_processor"
    r"|additional_residual|^unet$|StableDiffusion|ControlNetModel|T2IAdapter|CLIPText|cross_attention_dim"
)
"""Words of Stable Diffusion's architecture, and of the networks that fit only it."""

MAY_NAME_IT = (
    "demo",
    "model/backbones/unet",
    "model/backbones/flux",
    "model/backbones/flux2",
    "model/backbones/joint",
    "model/backbones/sd3",
    "model/backbones/zimage",
    "model/backbones/qwen",
    "model/backbones/chroma",
    "model/backbones/pixart",
    "model/backbones/wan",
    "attention/baselines",
    "comfyui",
)

HEAVY = {"torch", "diffusers", "transformers", "cv2", "decord", "scipy.signal"}

AT_ONCE = {
    "no such clip": "render none.mp4 -o o.mp4",
    "a text called a clip": "render text.mp4 -o o.mp4",
    "an empty folder": "render empty -o o.mp4",
    "an output of no known kind": "render clip.mp4 -o o.xyz",
    "no frame is left": "render clip.mp4 -o o.mp4 --skip-first-frames 99",
    "no such source frame": "render clip.mp4 -o o.mp4 --source-frame 99",
    "no such model": "render clip.mp4 -o o.mp4 --model ./none",
    "no such network": "render clip.mp4 -o o.mp4 --controlnet pose=./none --guidance pose",
    "no such LoRA": "render clip.mp4 -o o.mp4 --lora none.safetensors",
    "a LoRA that is none": "render clip.mp4 -o o.mp4 --lora bad.safetensors",
    "no such character": "render clip.mp4 -o o.mp4 --character none",
    "a source image that is none": "render clip.mp4 -o o.mp4 --source-image text.mp4",
    "poses that are none": "render clip.mp4 -o o.mp4 --guidance pose --pose-json bad.json",
    "poses of another length": "render clip.mp4 -o o.mp4 --guidance pose --pose-json one.json",
    "guidance of another length": "render clip.mp4 -o o.mp4 --guidance canny --guidance-video canny=frames",
    "no pose sequence": "animate bad.json -o o.mp4",
    "no clip for stage 1": "frames none.mp4 -o o",
    "no clip for stage 2": "guidance none.mp4 -o o",
    "no clip for stage 3": "source record none.mp4 -o o.png",
    "no picture for a character": "source make bear --source-image none.png",
    "no folder of frames": "encode --frames none clip.mp4 -o o.mp4",
    "a story that is none": "comic bad.yaml -o o.png",
    "no such model of a story": "comic story.yaml -o o.png",
    "no such model of pictures": "synthesize --source-prompt a --prompt b --model ./none -o o",
    "no picture to change": "edit none.png --prompt b -o o",
    "no picture for a sweep": "sweep --source-image none.png --prompt b --rows masa_step=1,2 -o o",
    "a width that the model cannot have": "render clip.mp4 -o o.mp4 --width 30",
    "a height of stills that the model cannot have": "synthesize --source-prompt a --prompt b -o o --height 100",
    "no such denoising step": "render clip.mp4 -o o.mp4 --num-inference-steps 4 --masa-steps 4 5",
    "no such device": "render clip.mp4 -o o.mp4 --device bogus",
    "no picture to compare": "compare --source-image none.png --prompt b -o o",
    "no clip to probe": "probe none.mp4",
    "a page for everybody": "web --share",
    "a page at no port": "web --port 70000",
    "nothing to measure": "measure none.mp4 -o o",
    "nothing to measure against": "measure clip.mp4 --input none.mp4 -o o",
    "a bound of no figure": "measure clip.mp4 --fail-below bad.yaml -o o",
}
"""Bad input → a command that must say so before any of HEAVY is loaded."""

ALSO_AT_ONCE = {
    "probe": "probe clip.mp4",
    "doctor": "doctor",
    "smooth": "pose smooth waving -o o.json",
    "schema": "schema render",
    "tween": "pose tween waving standing -o o.json",
    "convert": "pose convert waving -o o.json --canvas 96x64",
    "retarget": "pose retarget waving -o o.json --length right-thigh=90",
    "cache": "cache list",
    "characters": "source list",
}
"""Commands that work without any of HEAVY."""

_SERVE = """
import contextlib, io, json, os, sys
from masactrl_video.cli.main import main
for line in sys.stdin:
    words, folder, environment = json.loads(line)
    os.chdir(folder)
    os.environ.update(environment)
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            status = main(words)
        except SystemExit as end:
            status = end.code
    loaded = sorted(set(sys.argv[1].split(",")) & set(sys.modules))
    print(json.dumps([status, said.getvalue().splitlines(), loaded]), flush=True)
"""


class LightInterpreter:
    """Runs one command after another in an interpreter of its own; once a heavy library is there, in a new one."""

    def __init__(self, heavy: set[str] = HEAVY) -> None:
        self._heavy = heavy
        self._process: subprocess.Popen[str] | None = None

    def run(self, command: str, folder: Path, environment: dict[str, str]) -> tuple[int, list[str], list[str]]:
        """Exit status, lines on stderr, and which heavy libraries the command has loaded."""
        if self._process is None:
            words = [sys.executable, "-c", _SERVE, ",".join(self._heavy)]
            own = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "HF_HUB_OFFLINE": "1"}
            self._process = subprocess.Popen(
                words, text=True, env=own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([command.split(), str(folder), environment]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(self._process.communicate()[1])
        status, lines, loaded = json.loads(answer)
        if loaded:
            self.end()
        return status, lines, loaded

    def end(self) -> None:
        """No command runs any more."""
        if self._process is not None:
            self._process.communicate()
            self._process = None


@pytest.fixture(scope="module")
def light() -> Iterator[LightInterpreter]:
    interpreter = LightInterpreter()
    yield interpreter
    interpreter.end()


def room(names: Sequence[str]) -> str:
    """The folder of the order that a module lies in: the deepest that is named there, else the outermost."""
    paths = ["/".join(names[:depth]) for depth in range(len(names), 0, -1)]
    return next((path for path in paths if path in ORDER), names[0])


def imported_rooms(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Line and folder of this package of every import, also of those inside functions.

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
                yield node.lineno, room(module[1:])


def complaint(importer: str, imported: str) -> str | None:
    """Why one folder may not import from another; None when it may."""
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
        for line, imported in imported_rooms(ast.parse(path.read_text(encoding="utf-8")), names):
            if why := complaint(room(relative.with_suffix("").parts), imported):
                found.append(f"{package.name}/{relative.as_posix()}:{line}: imports {imported}, but {why}")
    return found


def named_in_code(tree: ast.AST) -> Iterator[str]:
    """Names, attributes, arguments and texts of a file; not its comments, docstrings and the parameters it takes."""
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg
        elif isinstance(node, ast.Name) and node.id != "unet":  # what `record_source` and `use_source` call theirs
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts:
            yield node.value


def test_one_architecture_is_named_in_its_own_folder_alone() -> None:
    found = {
        path
        for file in sorted(PACKAGE.rglob("*.py"))
        if not (path := file.relative_to(PACKAGE).as_posix()).startswith(tuple(f"{room}/" for room in MAY_NAME_IT))
        if any(map(ONE_ARCHITECTURE.search, named_in_code(ast.parse(file.read_text(encoding="utf-8")))))
    }
    assert not found


TYPED = ("model/backbones", "attention", "render/plan.py")
"""Where a public signature says what is meant: the seam to the architectures, and what a plan is sent as."""


def untyped(tree: ast.Module) -> Iterator[str]:
    """Public functions and methods of public classes whose signature names `Any`; what is only passed on may."""
    scopes = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_"))]
    for node in (node for scope in scopes for node in scope.body):
        if isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name.startswith("__")):
            taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            said = [each for each in (*(argument.annotation for argument in taken), node.returns) if each is not None]
            if any(isinstance(part, ast.Name) and part.id == "Any" for each in said for part in ast.walk(each)):
                yield f"{node.name} in line {node.lineno}"


def test_public_signatures_at_the_seams_say_what_they_take() -> None:
    files = [file for file in sorted(PACKAGE.rglob("*.py")) if file.relative_to(PACKAGE).as_posix().startswith(TYPED)]
    found = [f"{file.name}: {name}" for file in files for name in untyped(ast.parse(file.read_text(encoding="utf-8")))]
    assert not found


def test_folders_import_only_from_those_before_them() -> None:
    assert (PACKAGE / "errors.py").is_file()
    assert complaints(PACKAGE) == []


def test_bars_are_drawn_by_the_command_line_alone() -> None:
    files = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if "import tqdm" in path.read_text("utf-8")]
    assert [path.as_posix() for path in files if path.parts[0] != "cli"] == []


@pytest.mark.parametrize(
    ("path", "code", "expected"),
    [
        ("video/a.py", "import masactrl_video.cli.main", "video/a.py:1: imports cli, but video comes before cli"),
        ("video/a.py", "def f():\n    from masactrl_video import cache", "video/a.py:2: imports cache"),
        ("video/a.py", "from ..render.frames import b", "video/a.py:1: imports render"),
        ("video/__init__.py", "from .. import render", "video/__init__.py:1: imports render"),
        ("demo/world/a.py", "from ...cli import main", "demo/world/a.py:1: imports cli"),
        ("encode/a.py", "from masactrl_video.cache.store import b", "encode may import only errors, settings, storage"),
        ("render/a.py", "import masactrl_video.demo.world", "demo may be imported only by cli, controls, evaluate"),
        ("jobs/run/a.py", "from masactrl_video.jobs.encode import b", "jobs/run comes before jobs"),
        ("jobs/a.py", "from masactrl_video.jobs.run.folder import b", None),
        ("attention/new/a.py", "from masactrl_video.attention.plan import b", None),
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


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "empty").mkdir()
    (folder / "frames").mkdir()
    for index in range(3):
        Image.new("RGB", (32, 32)).save(folder / "frames" / f"{index}.png")
    clip = ["-f", "lavfi", "-i", "testsrc=s=32x32:r=6:d=1", "-pix_fmt", "yuv420p", str(folder / "clip.mp4")]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *clip], check=True)
    (folder / "text.mp4").write_text("no video")
    (folder / "bad.json").write_text('{"people": 3')
    person = {"pose_keypoints_2d": [10, 10, 1] * 18}
    (folder / "one.json").write_text(json.dumps([{"people": [person], "canvas_width": 32, "canvas_height": 32}]))
    (folder / "bad.safetensors").write_bytes(b"abcdefgh" * 9)
    (folder / "bad.yaml").write_text("panels: [")
    (folder / "story.yaml").write_text(
        "characters: {bear: {prompt: a bear}}\npanels: [{prompt: bear}]\nsettings: {model: ./none}\n"
    )
    return folder


def run_apart(light: LightInterpreter, command: str, inputs: Path, home: Path) -> tuple[int, list[str], list[str]]:
    """See `LightInterpreter.run`; the command runs in a home of its own, where the inputs are."""
    own = {"HOME": str(home)} | {f"MASACTRL_VIDEO_{name}": str(home / name) for name in ("CACHE", "CHARACTERS")}
    for path in inputs.iterdir():
        (home / path.name).symlink_to(path)
    return light.run(command, home, own)


@pytest.mark.parametrize("name", AT_ONCE)
def test_bad_input_is_told_before_a_heavy_library_is_loaded(
    name: str, light: LightInterpreter, inputs: Path, tmp_path: Path
) -> None:
    status, lines, loaded = run_apart(light, AT_ONCE[name], inputs, tmp_path)
    assert status == 2, lines
    assert lines[-1].startswith("masactrl-video: ")
    assert "are required" not in lines[-1]
    assert loaded == []


@pytest.mark.parametrize("name", ALSO_AT_ONCE)
def test_what_needs_no_model_loads_no_heavy_library(
    name: str, light: LightInterpreter, inputs: Path, tmp_path: Path
) -> None:
    status, lines, loaded = run_apart(light, ALSO_AT_ONCE[name], inputs, tmp_path)
    assert status == 0, lines
    assert loaded == []


def test_what_a_command_loads_is_seen_and_the_next_command_is_asked_without_it(inputs: Path, tmp_path: Path) -> None:
    light, module = LightInterpreter({"masactrl_video.jobs.doctor"}), "masactrl_video.jobs.doctor"
    loaded = []
    for number, command in enumerate(("schema render", "doctor", "schema render")):
        (tmp_path / str(number)).mkdir()
        loaded.append(run_apart(light, command, inputs, tmp_path / str(number))[2])
    light.end()
    assert loaded == [[], [module], []]
