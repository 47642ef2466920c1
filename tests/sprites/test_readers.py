"""The sheet's descriptions, read by the programs themselves: Phaser's and PixiJS's own parsers, under node.

SPRITE_READERS names a folder in which `npm install phaser@3 pixi.js@8` has run; without it these tests are skipped.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from sprites.test_exports import LAYOUT, NAMES, PLACES

from masactrl_video.sprites.exports import exports

MODULES = Path(os.environ.get("SPRITE_READERS", "")) / "node_modules"
ANCHORED = [[name, *place, 0.5, 0.9375] for name, place in zip(NAMES, PLACES, strict=True)]

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(
        not all((MODULES / name).is_dir() for name in ("phaser", "pixi.js")),
        reason="SPRITE_READERS names no folder in which `npm install phaser@3 pixi.js@8` has run",
    ),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list]:
    game = tmp_path_factory.mktemp("game")
    for name, text in exports("hero", LAYOUT).items():
        (game / name).write_text(text)
    script = Path(__file__).with_name("readers.cjs")
    command = ["node", str(script), str(MODULES.resolve()), str(game), "hero", "48"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("reader", ["atlas", "hash", "pixi"])
def test_every_cell_has_its_name_its_place_and_where_feet_stand(told: dict[str, list], reader: str) -> None:
    assert told[reader] == ANCHORED


def test_phaser_plays_the_animations_of_the_atlas(told: dict[str, list]) -> None:
    assert [(name, frames, repeat) for name, frames, _, repeat in told["animations"]] == [
        ("idle", NAMES[:2], -1),
        ("walk-left", NAMES[2:], -1),
    ]
    assert [times for *_, times, _ in told["animations"]] == [[pytest.approx(1000 / 6)] * 2, [100] * 3]


def test_phaser_makes_animations_of_the_tags_of_aseprite(told: dict[str, list]) -> None:
    assert [cell[:5] for cell in told["aseprite"]] == [[str(at), *place] for at, place in enumerate(PLACES)]
    assert [(name, frames) for name, frames, *_ in told["tags"]] == [
        ("idle", ["0", "1"]),
        ("walk-left", ["2", "3", "4"]),
    ]


def test_pixi_plays_the_animations(told: dict[str, list]) -> None:
    assert told["pixiAnimations"] == [["idle", NAMES[:2]], ["walk-left", NAMES[2:]]]
