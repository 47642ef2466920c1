"""A sprite sheet by the whole way: it goes on where it was, and other cells cost no rendering."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masactrl_video.errors import UserError
from masactrl_video.jobs.sprites import sprites as job
from masactrl_video.jobs.sprites.outputs import SpriteOutputs
from masactrl_video.jobs.sprites.sprites import make_sprites
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.poses.cycles import cycle
from masactrl_video.poses.pose_json import write_poses
from masactrl_video.progress import Cancelled, CancelToken, stopped_by
from masactrl_video.settings.presets import read_preset
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.sprites import SpriteSettings, resolve_sprites
from masactrl_video.sprites.sheet import Layout, Row, split
from masactrl_video.video.png import read_png_text, read_rgba_png

PROMPT = "a frog in a red shirt and blue pants standing in the snow"


@pytest.fixture(scope="module")
def nod(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A movement of three poses."""
    path = tmp_path_factory.mktemp("poses") / "nod.json"
    write_poses(path, cycle("wave")[::2])
    return path


@pytest.fixture(scope="module")
def settings(nod: Path, cache_dir: Path) -> Callable[..., SpriteSettings]:
    base = read_preset("demo") | {"guidance": ["pose"], "cache_dir": cache_dir, "num_inference_steps": 2}
    base |= {"masa_step": 1, "prompt": PROMPT, "actions": [str(nod)], "cell": 64}
    return lambda **changes: resolve_sprites(base, changes)


@pytest.fixture(scope="module")
def model(settings: Callable[..., SpriteSettings], models: Callable[[Settings], DiffusionModel]) -> DiffusionModel:
    return models(settings())


@pytest.fixture(scope="module")
def made(
    settings: Callable[..., SpriteSettings], model: DiffusionModel, tmp_path_factory: pytest.TempPathFactory
) -> SpriteOutputs:
    output = tmp_path_factory.mktemp("sprites") / "frog.png"
    return make_sprites(settings(facings=2), output, model=model)


def test_the_sheet_holds_the_cells_that_are_beside_it(made: SpriteOutputs) -> None:
    sheet = read_rgba_png(made.sheet)
    layout = Layout((Row("nod-right", 3, 12), Row("nod-left", 3, 12)), 64, (0.5, 1))
    cells = split(layout, sheet)
    for place, cell in zip(layout.places(), cells, strict=True):
        np.testing.assert_array_equal(read_rgba_png(made.cells / f"{place.name}.png"), cell)
        assert 0.05 < (cell[..., 3] > 127).mean() < 0.9
    for right, left in zip(cells[:3], cells[3:], strict=True):
        np.testing.assert_array_equal(right[:, ::-1], left)
    assert (made.game / "frog.png").read_bytes() == made.sheet.read_bytes()


def test_everything_that_belongs_to_it_is_beside_it(made: SpriteOutputs) -> None:
    assert {path.name for path in made.folder.iterdir() if not path.name.startswith(".")} == {
        *("cells", "config.yaml", "game", "log.txt", "poses.json", "previews", "render", "render.mp4", "report.json")
    }
    assert {path.name for path in made.previews.iterdir()} == {
        f"nod-{way}.{kind}" for way in ("left", "right") for kind in ("gif", "webp", "apng")
    }
    report = json.loads((made.folder / "report.json").read_text())
    assert report["movements"]["nod-left"] == {"frames": 3, "rate": 12.0, "mirrored": True}
    assert report["cells"] == 6
    assert report["anchor_px"] == [32, 62]
    assert not list(made.sheet.parent.glob(".*partial*"))


def test_other_cells_and_a_palette_are_made_of_the_same_frames(
    made: SpriteOutputs, settings: Callable[..., SpriteSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"frog.png exists; give another --output, or --overwrite"):
        make_sprites(settings(facings=2), made.sheet)
    monkeypatch.setattr(job, "_check_cell", lambda *_: pytest.fail("it renders"))  # before a render
    again = make_sprites(settings(facings=2, cell=32, palette="8"), made.sheet, overwrite=True)
    sheet = read_rgba_png(again.sheet)
    assert sheet.shape == (64, 96, 4)
    assert set(np.unique(sheet[..., 3])) == {0, 255}
    assert len(np.unique(sheet[sheet[..., 3] > 0], axis=0)) == 8
    assert len((again.game / "frog.hex").read_text().splitlines()) == 8


@pytest.mark.long
def test_other_poses_are_rendered_although_all_settings_are_as_before(
    settings: Callable[..., SpriteSettings], model: DiffusionModel, nod: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.json"
    own.write_bytes(nod.read_bytes())
    first = make_sprites(settings(actions=[str(own)]), tmp_path / "x.png", model=model).sheet.read_bytes()
    write_poses(own, cycle("jump")[1:9:3])
    second = make_sprites(settings(actions=[str(own)]), tmp_path / "x.png", overwrite=True, model=model)
    assert second.sheet.read_bytes() != first
    alone = make_sprites(settings(actions=[str(own)]), tmp_path / "alone.png", model=model)
    assert second.sheet.read_bytes() == alone.sheet.read_bytes()


@pytest.mark.long
def test_masks_by_words_are_taken_too(
    settings: Callable[..., SpriteSettings], model: DiffusionModel, tmp_path: Path
) -> None:
    masked = settings(attention_mode="masked", mask_words=["frog"])
    outputs = make_sprites(masked, tmp_path / "x.png", model=model)
    assert len(list((outputs.folder / "render" / "masks").glob("*.png"))) == 5
    assert read_png_text(outputs.sheet)["parameters"].startswith(PROMPT)


def test_a_run_that_was_stopped_goes_on(
    settings: Callable[..., SpriteSettings], model: DiffusionModel, tmp_path: Path
) -> None:
    token, output = CancelToken(), tmp_path / "frog.png"

    def tell(event: dict[str, Any]) -> None:
        if event.get("stage") == "render" and "seconds" in event:
            token.cancel()

    with pytest.raises(Cancelled), stopped_by(token):
        make_sprites(settings(), output, model=model, tell=tell)
    assert not output.exists()
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "frog" / "render" / "frames").glob("*.png")}
    assert len(kept) == 5
    outputs = make_sprites(settings(), output, model=model)
    after = {path.name: path.stat().st_mtime_ns for path in (outputs.folder / "render" / "frames").glob("*.png")}
    assert output.exists() and after == kept


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cell": 256}, "cell 256: the pictures are 128 px, and cells are never enlarged"),
        ({"actions": ["idle"], "facings": 4}, "characters of the cartoon world always face us"),
        ({"prompt": ""}, "prompt: missing; name a saved character, or say with --prompt"),
        ({"character": "nobody"}, "there is none of that name"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is(
    settings: Callable[..., SpriteSettings], model: DiffusionModel, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        make_sprites(settings(**changes), tmp_path / "x.png", model=model)
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]


def test_a_folder_that_is_not_ours_stays(settings: Callable[..., SpriteSettings], tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="was not made by this command"):
        make_sprites(settings(), tmp_path / "x.png")
    with pytest.raises(UserError, match=r"a sheet is a \.png file"):
        make_sprites(settings(), tmp_path / "x.gif")
