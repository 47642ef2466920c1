"""A comic from story to pages: by the same source and attention code as a clip, panel by panel."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import yaml
from PIL import Image

from masactrl_video.cache.manage import list_entries
from masactrl_video.errors import UserError
from masactrl_video.jobs.comic.comic import render_comic
from masactrl_video.jobs.comic.outputs import ComicOutputs
from masactrl_video.jobs.make_character import make_character
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.page.story_file import read_story
from masactrl_video.settings.settings import Settings
from masactrl_video.video.png import read_png, write_png

Made = Callable[..., Settings]
Comic = Callable[..., ComicOutputs]
BEAR, FROG = "a bear in a red shirt", "a frog in a yellow shirt"
TWO = {
    "settings": {
        "num_inference_steps": 2,
        "masa_step": 1,
        # strong: what the stand-in's network adds would be lost in rounding to 8 bits
        "controls": {"pose": {"kind": "pose", "adapter": "controlnet", "model": "demo/controlnet-pose", "scale": 30.0}},
    },
    "layout": [[1, 1], [1]],
    "page": {"width": 420, "height": 400, "margin": 20, "gutter": 10, "text_size": 16, "min_text_size": 10},
    "characters": {
        "bear": {"prompt": BEAR, "pose": "standing", "words": ["bear"]},
        "frog": {"prompt": FROG, "words": ["frog"], "size": [64, 96]},
    },
    "panels": [
        {"prompt": f"{BEAR} waving", "characters": ["bear"], "pose": "waving", "caption": "Hi."},
        {"prompt": "[NC] in the snow", "size": [64, 64]},
        {
            "prompt": f"{BEAR} and {FROG}",
            "characters": {"bear": {"pose": "standing", "box": [0, 0, 0.5, 1]}, "frog": {"pose": "sitting"}},
            "balloons": [{"text": "Hello!", "by": "frog"}],
        },
    ],
}


@pytest.fixture(scope="session")
def bare(models: Callable[[Settings], DiffusionModel], demo: Made) -> DiffusionModel:
    """The demo model without guidance networks."""
    return DiffusionModel(models(demo()).pipe)


@pytest.fixture(scope="session")
def comic(bare: DiffusionModel, cache_dir: Path) -> Comic:
    def run(folder: Path, story: dict[str, Any], output: str = "page.png", **arguments: Any) -> ComicOutputs:
        path = folder / "story.yaml"
        path.write_text(yaml.safe_dump(json.loads(json.dumps(story))))  # without references
        changes = {"cache_dir": cache_dir, **arguments.pop("changes", {})}
        arguments = {"model": bare, **arguments}
        return render_comic(read_story(path), path, folder / output, changes=changes, **arguments)

    return run


@pytest.fixture(scope="module")
def made(comic: Comic, tmp_path_factory: pytest.TempPathFactory) -> ComicOutputs:
    return comic(tmp_path_factory.mktemp("made"), TWO)


def changed(story: dict[str, Any], panel: int, **changes: Any) -> dict[str, Any]:
    panels = [dict(one) for one in story["panels"]]
    panels[panel - 1] |= changes
    return {**story, "panels": panels}


def panels_of(outputs: ComicOutputs) -> list[bytes]:
    return [path.read_bytes() for path in sorted((outputs.folder / "panels").iterdir())]


def kept(outputs: ComicOutputs) -> list[bool]:
    return [panel["kept"] for panel in json.loads(outputs.report.read_text())["panels"]]


def test_a_comic_is_a_page_its_panels_a_pdf_and_a_cbz(made: ComicOutputs) -> None:
    names = {str(path.relative_to(made.folder)) for path in made.folder.rglob("*") if path.is_file()}
    panels = {f"panels/{n:03d}.png" for n in (1, 2, 3)} | {"poses/001.png", "poses/003.png"}
    characters = {"characters/bear.png", "characters/frog.png"}
    assert names == panels | characters | {
        "pages/001.png",
        "page.pdf",
        "page.cbz",
        "report.json",
        "story.yaml",
        "log.txt",
    }
    assert read_png(made.output).shape == (400, 420, 3)
    assert read_png(made.panel(2)).shape == (64, 64, 3)
    assert read_png(made.source("frog")).shape == (96, 64, 3)
    height, width = read_png(made.panel(3)).shape[:2]
    assert width / height == pytest.approx(380 / 175, rel=0.15)  # the shape of its place


def test_every_panel_with_characters_queried_its_sources(made: ComicOutputs) -> None:
    report = json.loads(made.report.read_text())
    one, nobody, two = (panel["attention"] for panel in report["panels"])
    for figures in (one, two):
        assert figures["controlled_attention_calls"] == figures["expected_attention_calls"] > 0
        assert figures["tokens_of_source_0"] > 0
    assert two["tokens_of_source_1"] > 0
    assert (nobody["controlled_attention_calls"], nobody["unet_calls"]) == (0, 2)
    assert set(report["cache_entries"]) == {"bear", "frog"}


@pytest.mark.long
def test_characters_and_regions_and_poses_have_their_influence(
    made: ComicOutputs, comic: Comic, tmp_path: Path
) -> None:
    def third(folder: str, story: dict[str, Any]) -> np.ndarray[Any, Any]:
        (tmp_path / folder).mkdir()
        one = {**story, "panels": story["panels"][2:], "layout": [[1]], "page": {**TWO["page"], "height": 215}}  # type: ignore[dict-item]
        return read_png(comic(tmp_path / folder, one).panel(1)).astype(int)

    before = read_png(made.panel(3)).astype(int)
    assert np.array_equal(third("same", TWO), before)
    swapped = {"bear": {"pose": "standing", "box": [0.5, 0, 1, 1]}, "frog": {"pose": "sitting"}}
    posed = {"bear": {"pose": "running", "box": [0, 0, 0.5, 1]}, "frog": {"pose": "sitting"}}
    another = {**TWO["characters"], "frog": {**TWO["characters"]["frog"], "seed": 9}}  # type: ignore[dict-item,index]
    named = {"bear": {"pose": "standing", "box": [0, 0, 0.5, 1]}, "frog": {"pose": "sitting", "prompt": FROG}}
    changes = [changed(TWO, 3, characters=one) for one in (swapped, posed, named)]
    changes += [{**TWO, "characters": another}, {**TWO, "ground": "first"}]
    for number, story in enumerate(changes):
        assert np.abs(third(str(number), story) - before).max() > 0, f"change {number} changed nothing"


def test_an_interrupted_comic_goes_on_and_ends_with_the_same_bits(
    made: ComicOutputs, comic: Comic, tmp_path: Path
) -> None:
    story = {**TWO, "panels": TWO["panels"][:2], "layout": [[1, 1]]}  # type: ignore[index]
    outputs = comic(tmp_path, story)
    before, page = panels_of(outputs), outputs.output.read_bytes()
    with pytest.raises(UserError, match=r"page\.png exists; .*--overwrite"):
        comic(tmp_path, story)
    outputs.output.unlink()
    outputs.panel(2).unlink()
    comic(tmp_path, story)
    assert kept(outputs) == [True, False]
    assert (panels_of(outputs), outputs.output.read_bytes()) == (before, page)
    talking = changed(story, 1, caption="Something else.", balloons=["Hello!"])
    with pytest.raises(UserError, match="exists"):
        comic(tmp_path, talking)
    comic(tmp_path, talking, overwrite=True)
    assert kept(outputs) == [True, True]  # words are no reason to render again
    assert outputs.output.read_bytes() != page
    waving = changed(story, 1, prompt=f"{BEAR} dancing")
    outputs.output.unlink()
    with pytest.raises(UserError, match=r"panel 1: .* was made from another story"):
        comic(tmp_path, waving)
    assert panels_of(outputs) == before
    comic(tmp_path, waving, overwrite=True)
    assert kept(outputs) == [False, True]


def test_panels_of_another_decoder_are_not_kept(comic: Comic, bare: DiffusionModel, tmp_path: Path) -> None:
    story = {**TWO, "panels": TWO["panels"][:1], "layout": "auto"}  # type: ignore[index]
    outputs = comic(tmp_path, story)
    before = panels_of(outputs)
    preview = tiny_models.taesd(latent_channels=8).eval()  # as the demo model has
    comic(tmp_path, story, model=replace(bare, preview=preview), overwrite=True)
    assert kept(outputs) == [False]
    assert panels_of(outputs) != before


@pytest.mark.long
def test_a_saved_character_is_the_same_in_clips_and_panels(
    comic: Comic, render: Any, demo: Made, bare: DiffusionModel, cache_dir: Path, tmp_path: Path
) -> None:
    saved = {"characters_dir": tmp_path / "characters", "prompt": BEAR}
    character = make_character(demo(**saved), "hero", pose="standing", words=["bear"], model=bare)
    assert character.index.recipe.controls[0].kind == "pose"
    entries = {entry.name for entry in list_entries(cache_dir)}
    (tmp_path / "a").mkdir()
    panels = [{"prompt": f"{BEAR} waving"}, {"prompt": f"{BEAR} running"}]
    story = {**TWO, "panels": panels, "layout": "auto", "characters": {"bear": {"source": "hero"}}}
    outputs = comic(tmp_path / "a", story, "page.cbz", changes={"characters_dir": tmp_path / "characters"})
    assert np.array_equal(read_png(outputs.source("bear")), np.array(Image.open(character.folder / "picture.png")))
    clip = render(
        tmp_path / "clip.mp4", character="hero", characters_dir=tmp_path / "characters", prompt=f"{BEAR} waving"
    )
    assert read_png(clip.source).tobytes() == read_png(outputs.source("bear")).tobytes()
    assert {entry.name for entry in list_entries(cache_dir)} == entries  # recorded once, when it was made
    with pytest.raises(UserError, match="'hero' was made with num_inference_steps 2, here it is 3"):
        render(tmp_path / "b.mp4", character="hero", characters_dir=tmp_path / "characters", num_inference_steps=3)


@pytest.mark.long
def test_a_picture_is_inverted_once_and_kept(
    comic: Comic, demo: Made, bare: DiffusionModel, tmp_path: Path, render: Any
) -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[16:48, 16:48] = 200
    write_png(tmp_path / "bear.png", picture)
    saved = {"characters_dir": tmp_path / "characters", "source_image": tmp_path / "bear.png"}
    character = make_character(demo(**saved, width=64, height=64), "bear", caption="a bear", words=["bear"], model=bare)
    assert character.index.recipe.kind == "real"
    story = {
        **TWO,
        "characters": {"kept": {"source": "bear", "words": ["bear"]}, "bear": {"image": "bear.png", "size": [64, 64]}},
        "panels": [{"prompt": "a bear waving", "characters": [name]} for name in ("kept", "bear")],
    }
    outputs = comic(tmp_path, story, changes={"characters_dir": tmp_path / "characters"})
    one, other = (read_png(outputs.source(name)).astype(int) for name in ("kept", "bear"))
    assert np.abs(one - other).max() <= 1
    masked = {"attention_mode": "masked", "mask_words": ["bear"], "prompt": "a bear waving"}
    with pytest.raises(UserError, match="is 64x64, the frames 128x128: mode masked needs one size"):
        render(tmp_path / "a.mp4", character="bear", characters_dir=tmp_path / "characters", **masked)
    render(tmp_path / "a.mp4", character="bear", characters_dir=tmp_path / "characters", width=64, height=64, **masked)


def test_several_pages_become_several_pictures(comic: Comic, tmp_path: Path) -> None:
    story = {**TWO, "layout": "single", "panels": [{"prompt": "[NC] in the snow", "size": [64, 64]}] * 2}
    outputs = comic(tmp_path, story)
    assert [path.name for path in outputs.results] == ["page-001.png", "page-002.png"]
    assert all(path.is_file() for path in outputs.results)
    assert not outputs.output.exists()


@pytest.mark.parametrize(
    ("story", "words"),
    [
        (changed(TWO, 1, prompt="a robot waving"), "panel 1, words of bear: 'bear' is not in the prompt"),
        (changed(TWO, 2, size=[60, 64]), "panel 2: size: the width 60 is no multiple of 8"),
        (
            changed(TWO, 1, pose=None, characters={"bear": {"prompt": "a bear"}}),
            "bear has a prompt of its own: give it",
        ),
        ({**TWO, "characters": {**TWO["characters"], "bear": {"prompt": "x", "words": ["bear"]}}}, "'bear' is not in"),  # type: ignore[dict-item]
        (
            {**TWO, "characters": {**TWO["characters"], "bear": {"source": "nobody"}}},
            "character 'nobody': there is none",
        ),  # type: ignore[dict-item]
    ],
)
def test_what_only_the_model_knows_is_checked_before_anything_is_rendered(
    comic: Comic, tmp_path: Path, story: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        comic(tmp_path, story, changes={"characters_dir": tmp_path / "none"})
    assert [path.name for path in tmp_path.iterdir()] == ["story.yaml"]
