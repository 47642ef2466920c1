"""Whether two checkouts make the same pictures, bit for bit: README's first render, and one of every other kind.

`python benchmarks/same_pictures.py OLD_CHECKOUT [NEW_CHECKOUT]` runs the commands below with either checkout's package,
by turns, on this machine, and compares every picture that they leave. The exit status is 1 where any differs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

BEAR = "a bear in a red shirt and blue pants"
STORY = f"""\
characters:
  hero: {{prompt: {BEAR} standing in the meadow, pose: standing, words: [bear]}}
panels:
  - {{prompt: {BEAR} waving in the meadow, pose: waving, balloons: [Hello!]}}
"""
COMMANDS = (
    ("render", "CLIP", "-o", "render.mp4"),
    ("pose", "tween", "standing", "waving", "--every", "4", "-o", "moves.json"),
    ("animate", "moves.json", "-o", "moves.mp4", "--prompt", f"{BEAR} dancing in the snow"),
    ("comic", "story.yaml", "-o", "page.png"),
    ("edit", "render/source.png", "-o", "edited", "--prompt", f"{BEAR} cheering", "--target-guidance", "pose=cheering"),
    *(
        ("render", "CLIP", "-o", f"{mode}.mp4", "--frame-load-cap", "2", "--masa-layer", "10", "--attention-mode", mode)
        + (("--mask-words", "bear") if mode == "masked" else ())
        for mode in ("union", "masked")
    ),
)


def make_pictures(checkout: Path, folder: Path) -> None:
    """Run every command in `folder` with the package of a checkout."""
    (folder / "story.yaml").write_text(STORY, encoding="utf-8")
    own = {"PYTHONPATH": str(checkout), "MASACTRL_VIDEO_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    clip = str(checkout / "examples" / "clip.mp4")
    for command in COMMANDS:
        arguments = [clip if word == "CLIP" else word for word in command]
        subprocess.run(
            [sys.executable, "-m", "masactrl_video.cli.main", *arguments],
            cwd=folder,
            env=os.environ | own,
            check=True,
        )


def pictures(folder: Path) -> dict[str, np.ndarray]:
    """Path within the folder → RGB or grey pixels, of every PNG."""
    return {
        str(path.relative_to(folder)): np.asarray(Image.open(path))
        for path in sorted(folder.rglob("*.png"))
        if "cache" not in path.relative_to(folder).parts
    }


def main() -> int:
    """Compare, print a line for each picture that differs and the count, and give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path, nargs="?", default=Path(__file__).resolve().parents[1])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = []
        for name in ("old", "new"):
            folder = Path(place) / name
            folder.mkdir()
            make_pictures(getattr(arguments, name).absolute(), folder)
            found.append(pictures(folder))
    old, new = found
    differing = sorted(name for name in old.keys() | new.keys() if not np.array_equal(old.get(name), new.get(name)))
    for name in differing:
        print(f"{name} differs" if name in old and name in new else f"{name} is there once only")
    print(f"{len(old.keys() | new.keys()) - len(differing)} pictures are the same, {len(differing)} are not")
    return bool(differing)


if __name__ == "__main__":
    sys.exit(main())
