"""The tables of docs/families.md are what commands answer with a tiny model of each family.

`PYTHONPATH=.:tests python -m jobs.family_matrix`, in the repository's folder, runs them all and writes them anew; with
words behind it, only rows with one of these in their name.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tiny_families
import tiny_flux
from PIL import Image

from masactrl_video.cli.main import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "families.md"
YES = "yes"
SIZE = ("--width", "64", "--height", "64")
STEPS = ("--num-inference-steps", "2", "--masa-step", "0")
CLIP = (*SIZE, *STEPS, "--no-side-by-side")
PROMPT = ("--prompt", "a frog on the beach")
MASKED = ("--attention-mode", "masked", "--mask-grid-divisor", "2", "--mask-words", "frog")


@dataclass(frozen=True)
class Column:
    """A family as the tables have it."""

    name: str
    title: str
    make: Callable[[], Any]
    control: Callable[[Any, Path], None] | None
    """(pipe, folder): saves a ControlNet of it."""
    guides: bool = True
    """Whether a negative prompt is read above guidance scale 1."""


def _control(family: tiny_families.Family) -> Callable[[Any, Path], None] | None:
    control = family.control
    if control is None:
        return None
    return lambda pipe, folder: family.save_control(control(pipe, 6).module, folder)


TITLES = {
    "sd3": "SD 3, 3.5", "zimage": "Z-Image", "qwen": "Qwen-Image", "pixart": "PixArt-Σ", "chroma": "Chroma",
    "wan": "Wan", "flux2": "FLUX.2 klein",
}  # fmt: skip
COLUMNS = [
    Column(
        "flux",
        "FLUX.1 dev",
        lambda: tiny_flux.pipeline(guidance=True),
        lambda pipe, folder: tiny_flux.controlnet(pipe.transformer).save_pretrained(folder),
        guides=False,
    ),
    *(
        Column(f.name, TITLES[f.name], f.make, _control(f), f.guides)
        for f in tiny_families.FAMILIES
        if f.name in TITLES
    ),
]


@dataclass(frozen=True)
class Files:
    """What lies there for a column: `model`, `control` where there is one, `clip`, `masks` and `poses.json`."""

    folder: Path
    column: Column

    def network(self, kind: str) -> tuple[str, ...]:
        """Flags of a ControlNet; where there is none, one that nothing can be made of."""
        own = self.folder / ("control" if self.column.control is not None else "model/vae")
        return "--controlnet", f"{kind}={own}", "--guidance", kind


def prepared(column: Column, root: Path) -> Files:
    """A column's files, made at the first call."""
    own = root / column.name
    if not own.exists():
        pipe = column.make()
        pipe.save_pretrained(own / "model")
        if column.control is not None:
            column.control(pipe, own / "control")
        for name in ("clip", "masks"):
            (own / name).mkdir()
        for number in range(2):
            pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(own / "clip" / f"{number}.png")
            mask = np.zeros((64, 64), np.uint8)
            mask[16:48, 16 + 8 * number : 48] = 255
            Image.fromarray(mask).save(own / "masks" / f"{number}.png")
        (own / "poses.json").write_text(json.dumps([_pose(shift) for shift in (0, 4)]))
    return Files(own, column)


def _pose(shift: int) -> dict[str, Any]:
    points = [float(v) for number in range(18) for v in (8 + shift + 3 * (number % 5), 6 + 3 * number, 1)]
    return {"people": [{"pose_keypoints_2d": points}], "canvas_width": 64, "canvas_height": 64}


Typed = Callable[[Files, Path], Sequence[Sequence[str]]]
"""(a column's files, an empty folder for what is made) → command lines in their order, without model and cache."""


def _render(*more: str) -> Typed:
    """A clip without guidance; `{files}` in an argument is the folder of the files, `{out}` that for what is made."""

    def typed(files: Files, out: Path) -> Sequence[Sequence[str]]:
        guidance = [] if "--guidance" in more else ["--guidance"]
        clip = [
            "render",
            str(files.folder / "clip"),
            "-o",
            str(out / "out.mp4"),
            *PROMPT,
            *SIZE,
            *STEPS,
            "--no-side-by-side",
        ]
        return [[*clip, "--masa-layers", "2", *guidance, *(part.format(files=files.folder, out=out) for part in more)]]

    return typed


def _controlled(kind: str, *more: str) -> Typed:
    return lambda files, out: _render(*files.network(kind), *more)(files, out)


def _guided(files: Files, out: Path) -> Sequence[Sequence[str]]:
    own = [] if files.column.guides else ["--true-cfg-scale", "2"]
    return _render("--guidance-scale", "3", *own, "--negative-prompt", "blue")(files, out)


def _animate(*more: str) -> Typed:
    def typed(files: Files, out: Path) -> Sequence[Sequence[str]]:
        poses = [
            "animate",
            str(files.folder / "poses.json"),
            "-o",
            str(out / "out.mp4"),
            *PROMPT,
            *SIZE,
            *STEPS,
            "--no-side-by-side",
        ]
        return [[*poses, "--masa-layers", "2", *files.network("pose"), *more]]

    return typed


def _stills(command: str, *more: str) -> Typed:
    def typed(files: Files, out: Path) -> Sequence[Sequence[str]]:
        source = ["--source-prompt", "a bear in the meadow", *PROMPT]
        return [[command, "-o", str(out / "out"), *source, *SIZE, *STEPS, "--masa-layers", "2", "--guidance", *more]]

    return typed


def _edit(files: Files, out: Path) -> Sequence[Sequence[str]]:
    picture = str(files.folder / "clip" / "0.png")
    return [["edit", picture, "-o", str(out / "out"), *PROMPT, *SIZE, *STEPS, "--masa-layers", "2"]]


def _make(*more: str) -> Typed:
    def typed(files: Files, out: Path) -> Sequence[Sequence[str]]:
        lines = "num_inference_steps: 2\nmasa_step: 0\nmasa_layer: 2\nmask_grid_divisor: 2\nguidance: []\n"
        (out / "config.yaml").write_text(f"model: {files.folder / 'model'}\n{lines}")
        make = ["source", "make", "hero", "--config", str(out / "config.yaml"), *SIZE]
        return [[*make, "--characters-dir", str(out / "kept"), *(part.format(files=files.folder) for part in more)]]

    return typed


def _followed(files: Files, out: Path) -> Sequence[Sequence[str]]:
    kept = _make("--prompt", "a frog on the beach", "--words", "frog")(files, out)
    return [*kept, *_render("--character", "hero", "--characters-dir", str(out / "kept"))(files, out)]


def _comic(*, words: bool = True, posed: bool = False, prompts: bool = False) -> Typed:
    """A panel with two characters, each in its region: found by its words, or given as a box."""

    def typed(files: Files, out: Path) -> Sequence[Sequence[str]]:
        controls, pose = "", ""
        if posed:
            _, network, *_ = files.network("pose")
            network = network.partition("=")[2]
            controls = f", controls: {{pose: {{kind: pose, adapter: controlnet, model: {network}}}}}"
            pose = "pose: standing"
        boxes = ("", "") if words and not prompts else ("box: [0, 0, 0.5, 1]", "box: [0.5, 0, 1, 1]")
        own = ("prompt: a bear", "prompt: a frog") if prompts else ("", "")
        bear, frog = (", ".join(filter(None, parts)) for parts in zip(boxes, (pose, pose), own, strict=True))
        (out / "story.yaml").write_text(f"""
settings: {{model: {files.folder / "model"}, num_inference_steps: 2, masa_step: 0, masa_layer: 2,
  mask_grid_divisor: 2{controls}}}
characters:
  bear: {{prompt: a bear in the meadow, words: [bear], size: [64, 64]{f", {pose}" if posed else ""}}}
  frog: {{prompt: a frog on the beach, words: [frog], size: [64, 64]{f", {pose}" if posed else ""}}}
panels:
  - {{prompt: a bear and a frog in the snow, size: [64, 64], characters: {{bear: {{{bear}}}, frog: {{{frog}}}}}}}
""")
        return [["comic", str(out / "story.yaml"), "-o", str(out / "page.png")]]

    return typed


COMMANDS: Mapping[str, Typed] = {
    "`render`": _render(),
    "`animate`": _animate(),
    "`synthesize`": _stills("synthesize"),
    "`edit`": _edit,
    "`sweep`": _stills("sweep", "--rows", "masa_step=0,1"),
    "`comic`": _comic(),
    "`source make`, of a prompt": _make("--prompt", "a frog on the beach", "--words", "frog"),
    "`source make`, of a picture": _make("--source-image", "{files}/clip/0.png", "--caption", "a frog"),
    "`render --character`": _followed,
}
"""Every command that opens a model of any family."""
FEATURES: Mapping[str, Typed] = {
    "a ControlNet": _controlled("canny"),
    "guidance by a negative prompt": _guided,
    "`--source clip`, a real picture": _render("--source", "clip"),
    "mode `union`": _stills("synthesize", "--attention-mode", "union"),
    "mode `masked`, by words": _stills("synthesize", *MASKED, "--source-mask-words", "bear"),
    "mode `masked`, by pictures": _render(
        "--attention-mode", "masked", "--source-mask", "{files}/masks/0.png", "--target-masks", "{files}/masks"
    ),
    "`--background own`": _render(*MASKED, "--background", "own"),
    "`--background still`": _render(*MASKED, "--background", "still"),
    "`--background clip`": _render(*MASKED, "--background", "clip"),
    "regions by words": _comic(),
    "regions by boxes": _comic(words=False),
    "regions under poses": _comic(posed=True),
    "prompts of regions": _comic(prompts=True),
    "`--source-positions shifted`": _stills("synthesize", "--source-positions", "shifted"),
    "`--source-positions free`": _stills("synthesize", "--source-positions", "free"),
    "`--source-positions pose`": _animate("--source-positions", "pose"),
    "`--source-storage live`": _render("--source-storage", "live"),
    "`--neighbour`": _render("--neighbour", "0.5"),
    "several sources (`--key-frames`)": _render("--key-frames", "2", "--hold-colours", "0.5"),
    "`--reuse-deep-features`": _render("--reuse-deep-features", "2"),
}
"""What pictures may be made with."""
TABLES = {"commands": COMMANDS, "features": FEATURES}


def answer(column: Column, typed: Typed, root: Path, out: Path) -> str:
    """`YES`, or the line that says why not."""
    files = prepared(column, root)
    for line in typed(files, out):
        given = list(line)
        if "--config" not in given and given[0] != "comic":
            given += ["--model", str(files.folder / "model")]
        with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(io.StringIO()):
            status = main([*given, "--cache-dir", str(root / "cache")])
        if status:
            said = (err.getvalue().splitlines() or ["(no answer)"])[-1].removeprefix("masactrl-video: ")
            return said.replace(f"{files.folder}/", "").replace(f"{out}/", "")
    return YES


def table(rows: Mapping[str, Sequence[str]]) -> Iterable[str]:
    """A row for each of what was tried, with the answers of all columns; what was said stands below, by numbers."""
    yield f"| | {' | '.join(column.title for column in COLUMNS)} |"
    yield f"| --- |{' --- |' * len(COLUMNS)}"
    said = list(dict.fromkeys(one for answers in rows.values() for one in answers if one != YES))
    for name, answers in rows.items():
        cells = [YES if one == YES else f"no ({said.index(one) + 1})" for one in answers]
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""
    yield from (f"{number}. {one.replace('<', '&lt;')}" for number, one in enumerate(said, 1))


def write_table(name: str, lines: Iterable[str]) -> None:
    """Put lines between the marks of a table."""
    begin, end = (f"<!-- {name}: {word} -->" for word in ("begin", "end"))
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    after = rest.partition(end)[2]
    PAGE.write_text("\n".join([before + begin, "", *lines, "", end + after]), encoding="utf-8")


def written() -> dict[str, dict[str, list[str]]]:
    """What the page says: name of a table → row → answers."""
    found: dict[str, dict[str, list[str]]] = {}
    for name in TABLES:
        begin, end = (f"<!-- {name}: {word} -->" for word in ("begin", "end"))
        lines = PAGE.read_text(encoding="utf-8").partition(begin)[2].partition(end)[0].splitlines()
        said = dict(line.split(". ", 1) for line in lines if line[:1].isdigit())
        rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")][2:]
        found[name] = {
            row[0]: [YES if cell == YES else said[cell[4:-1]].replace("&lt;", "<") for cell in row[1:]] for row in rows
        }
    return found


if __name__ == "__main__":
    os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for name, tried in TABLES.items():
            for row, typed in tried.items():
                rows = written()[name]
                if row in rows and sys.argv[1:] and not any(word in row for word in sys.argv[1:]):
                    continue
                outs = (Path(tempfile.mkdtemp(dir=root)) for _ in COLUMNS)
                rows[row] = [answer(column, typed, root, out) for column, out in zip(COLUMNS, outs, strict=True)]
                write_table(name, table({known: rows[known] for known in tried if known in rows}))
