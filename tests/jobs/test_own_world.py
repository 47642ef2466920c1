"""The demo model says where a picture or a word is not of its world, and says nothing where it is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from masactrl_video.controls.canvas import EmptyCanvas
from masactrl_video.controls.clip import fit_clip, open_selected
from masactrl_video.controls.domain_check import hint_if_foreign
from masactrl_video.demo.world.caption import caption, unlearnt_words
from masactrl_video.demo.world.frame import random_frame
from masactrl_video.demo.world.identity import FULL_WORLD, SMALL_WORLD, random_identity
from masactrl_video.jobs.run.prompts import tell_prompts
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.plan import plan_source
from masactrl_video.video.clip import open_clip
from masactrl_video.video.image_folder import read_image
from masactrl_video.video.png import write_png

EXAMPLE = Path(__file__).parents[2] / "examples" / "clip.mp4"
Models = Callable[[Settings], DiffusionModel]
Made = Callable[..., Settings]


@pytest.fixture
def hints(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "masactrl_video")
    return lambda: [text for text in caplog.messages if "cartoon world" in text]


def colours(height: int, width: int) -> np.ndarray:
    """Smooth, as a photo out of focus: red to the right, green downwards."""
    rows, columns = np.indices((height, width))
    red, green = columns * 255 // (width - 1), rows * 255 // (height - 1)
    return np.stack([red, green, 255 - red], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("size_px", [(128, 128), (512, 512), (128, 224)])
def test_frames_of_the_world_are_at_home(
    demo: Made, models: Models, hints: Callable[[], list[str]], size_px: tuple[int, int]
) -> None:
    for seed in range(4):
        hint_if_foreign(models(demo()), random_frame((21, seed), *size_px, SMALL_WORLD).image, Path("frame.png"))
    assert hints() == []


@pytest.mark.parametrize(
    "picture",
    [
        np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8),
        colours(200, 300),
        colours(20, 4000),
        np.zeros((64, 64, 3), np.uint8),
    ],
    ids=["noise", "colours", "a strip", "black"],
)
def test_other_pictures_get_a_hint_with_a_preset(
    demo: Made, models: Models, hints: Callable[[], list[str]], picture: np.ndarray
) -> None:
    hint_if_foreign(models(demo()), picture, Path("photo.jpg"))
    assert len(hints()) == 1
    assert hints()[0].startswith("photo.jpg: ")
    assert "--preset sd15-controlnet" in hints()[0]


def test_a_clip_gets_it_only_where_it_is_foreign_and_looked_at(
    demo: Made, models: Models, hints: Callable[[], list[str]], clip: Path
) -> None:
    def fitted(**changes: object) -> None:
        settings = demo(**changes)
        fit_clip(settings, open_selected(settings), models(settings))

    fitted(clip=EXAMPLE)
    fitted(guidance_video={"canny": clip})
    assert hints() == []
    fitted()  # a test picture of colour bars
    assert [hint.partition(": ")[0] for hint in hints()] == [str(clip)]


def test_a_given_picture_gets_it(demo: Made, models: Models, hints: Callable[[], list[str]], tmp_path: Path) -> None:
    for name, picture in (("own", random_frame((21, 9), 128, 128, SMALL_WORLD).image), ("photo", colours(128, 128))):
        write_png(tmp_path / f"{name}.png", picture)
        settings = demo(guidance=[], source_image=tmp_path / f"{name}.png")
        plan_source(settings, models(settings), EmptyCanvas((128, 128)), [])
    assert [hint.partition(": ")[0] for hint in hints()] == [str(tmp_path / "photo.png")]


def test_real_clips_and_photos_get_it(
    demo: Made, models: Models, hints: Callable[[], list[str]], shared_folder: Path
) -> None:
    pictures = [read_image(path) for path in sorted((shared_folder / "data" / "photos").iterdir())]
    pictures += [open_clip(path).frame(0).pixels for path in sorted((shared_folder / "data" / "clips").iterdir())]
    for picture in pictures:
        hint_if_foreign(models(demo()), picture, Path("real"))
    assert len(hints()) == len(pictures) > 3


def test_words_of_the_worlds_captions_are_learnt() -> None:
    random = np.random.default_rng(3)
    for action in SMALL_WORLD.actions * 20:
        assert unlearnt_words(caption(random_identity(random, SMALL_WORLD), action), SMALL_WORLD) == []
    others = [unlearnt_words(caption(random_identity(random, FULL_WORLD), "bowing"), SMALL_WORLD) for _ in range(100)]
    assert (
        {"bowing"}
        < {word for words in others for word in words}
        <= {"bowing", "cat", "robot", "orange", "purple", "room"}
    )


def test_words_that_it_has_not_learnt_are_told_once(
    demo: Made, models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    settings = demo(
        prompt="A Cat in an orange shirt and red pants dancing in the meadow",
        source_prompt="a cat in a purple shirt and red pants",
        negative_prompt="",
    )
    tell_prompts(settings, models(settings))
    assert [message.partition(";")[0] for message in caplog.messages] == [
        "prompt: the demo model has not learnt: cat, orange",
        "source_prompt: the demo model has not learnt: purple",
    ]
    caplog.clear()
    for known in (demo(), settings.model_copy(update={"lora": {"cats.safetensors": 1.0}})):
        tell_prompts(known, models(settings))
    tell_prompts(settings.model_copy(update={"model": "./my-cats"}), models(settings))
    assert caplog.messages == []
