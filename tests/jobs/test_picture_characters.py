"""A character that is a picture without a model: rendered as the same picture given as a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from masactrl_video.controls.canvas import EmptyCanvas
from masactrl_video.errors import UserError
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.poses.named_poses import named_pose
from masactrl_video.poses.pose_json import write_poses
from masactrl_video.poses.warp import Skeleton
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.characters.pictures import save_picture
from masactrl_video.sources.plan import plan_source
from masactrl_video.sources.saved import canvas_px, open_saved
from masactrl_video.sources.skeletons import clip_skeletons
from masactrl_video.sources.source import RealSource
from masactrl_video.video.png import read_png, write_png

PICTURE = np.kron(np.random.default_rng(1).integers(0, 256, (6, 9, 3), np.uint8), np.ones((10, 10, 1), np.uint8))
SAID = {"caption": "a bear in a red shirt", "words": ["bear"]}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("characters")
    save_picture(root, "hero", PICTURE, **SAID)
    save_picture(root, "silent", PICTURE)
    return root


def test_it_is_the_source_that_its_picture_is_as_a_file(
    demo: Callable[..., Settings], models: Callable[..., Any], root: Path, tmp_path: Path
) -> None:
    write_png(tmp_path / "hero.png", PICTURE)
    masked = {"attention_mode": "masked", "mask_words": ["bear"], "guidance": [], "prompt": "a bear waving"}
    kept = demo(character="hero", characters_dir=root, **masked)
    given = demo(source_image=tmp_path / "hero.png", source_caption=SAID["caption"], **masked)
    one, other = (plan_source(settings, models(settings), EmptyCanvas((48, 64)), ()) for settings in (kept, given))
    assert isinstance(one.source, RealSource) and isinstance(other.source, RealSource)
    assert torch.equal(one.source.picture_latents, other.source.picture_latents)
    assert (one.branches, one.words.tokens, one.plan) == (other.branches, other.words.tokens, other.plan)
    assert one.words.tokens


def test_frames_follow_it_and_show_what_was_said_of_it(
    render: Callable[..., Outputs], root: Path, tmp_path: Path
) -> None:
    made = render(tmp_path / "kept.mp4", character="hero", characters_dir=root, prompt="", guidance=[])
    assert len(made.frames(2)) == 2
    assert np.isfinite(read_png(made.source)).all()
    assert "\nprompt: a bear in a red shirt\n" in made.log.read_text()


def test_words_are_found_in_what_was_said_of_it(
    demo: Callable[..., Settings], models: Callable[..., Any], root: Path
) -> None:
    masked = {"attention_mode": "masked", "mask_words": ["bear"], "guidance": []}
    settings = demo(character="silent", characters_dir=root, **masked)
    with pytest.raises(UserError, match="'silent' was saved without a prompt"):
        plan_source(settings, models(settings), EmptyCanvas((48, 48)), ())


def test_a_scheduler_that_inverts_nothing_is_refused(demo: Callable[..., Settings], root: Path) -> None:
    with pytest.raises(UserError, match="scheduler euler: character 'hero' is a picture, which is inverted with ddim"):
        open_saved(demo(character="hero", characters_dir=root, scheduler="euler"))


def test_without_frames_it_has_its_own_shape_and_the_models_area(
    demo: Callable[..., Settings], models: Callable[..., Any], root: Path
) -> None:
    settings = demo(character="hero", characters_dir=root, guidance=[])
    model = models(settings)
    height, width = canvas_px(open_saved(settings), model)
    assert width > height
    assert height % model.size_factor == width % model.size_factor == 0


def test_its_pose_is_known_where_keys_go_with_the_limbs(
    demo: Callable[..., Settings], root: Path, tmp_path: Path
) -> None:
    save_picture(tmp_path, "posed", PICTURE[:, :60], pose=named_pose("waving"))
    write_poses(tmp_path / "poses.json", [named_pose("standing").scaled(width_px=48, height_px=48)])
    kinds: Any = {"pose": SimpleNamespace(whole=lambda: SimpleNamespace(pose_path=tmp_path / "poses.json"))}
    asked = {"source_positions": "pose", "guidance": ["pose"]}
    settings = demo(character="posed", characters_dir=tmp_path, **asked)
    found = clip_skeletons(settings, [settings], kinds, (48, 48))
    assert found is not None
    expected = Skeleton.of(named_pose("waving").scaled(width_px=48, height_px=48))
    assert np.allclose(found.sources[0].people[0], expected.people[0], atol=0.1)
    settings = demo(character="hero", characters_dir=root, **asked)
    with pytest.raises(UserError, match="the pose of character 'hero' is not known"):
        clip_skeletons(settings, [settings], kinds, (48, 48))
