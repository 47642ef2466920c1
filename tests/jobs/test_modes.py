"""The modes of mutual self-attention, and the masks of the masked one."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masactrl_video.errors import UserError
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.video.png import read_png

Render = Callable[..., Outputs]
Frames = Callable[[Outputs], list[np.ndarray]]
WORDS = {"attention_mode": "masked", "mask_words": ["bear"]}


def controlled_calls(outputs: Outputs) -> tuple[int, int]:
    attention = json.loads(outputs.report.read_text())["render"]["attention"]
    return attention["controlled_attention_calls"], attention["expected_attention_calls"]


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures: the left half white, then the right half."""
    folder = tmp_path_factory.mktemp("masks")
    picture = np.zeros((48, 48, 3), np.uint8)
    picture[:, :24] = 255
    Image.fromarray(picture).save(folder / "0.png")
    Image.fromarray(picture[:, ::-1].copy()).save(folder / "1.png")
    return folder


def test_each_mode_makes_other_frames_and_counts_its_attention(
    render: Render, frames_of: Frames, masks: Path, tmp_path: Path
) -> None:
    given = {"attention_mode": "masked", "target_masks": masks, "source_mask": masks / "0.png"}
    choices = {"source": {}, "union": {"attention_mode": "union"}, "words": WORDS, "given": given}
    outputs = [render(tmp_path / f"{name}.mp4", **changes) for name, changes in choices.items()]
    assert [controlled_calls(output) for output in outputs] == [(8, 8)] * 4
    assert len({np.stack(frames_of(output)).tobytes() for output in outputs}) == 4


@pytest.mark.parametrize("source", [{}, {"source": "clip"}, {"source": "clip", "source_caption": "a happy bear"}])
def test_masks_by_words_are_saved_for_every_frame(render: Render, tmp_path: Path, source: dict[str, str]) -> None:
    outputs = render(tmp_path / "out.mp4", **WORDS, **source, save_masks=True)
    pictures = [read_png(path) for path in outputs.masks(2)]
    assert [picture.max() for picture in pictures] == [255, 255]  # normalised
    assert [picture.min() for picture in pictures] == [0, 0]
    assert controlled_calls(outputs) == (8, 8)


def test_given_masks_of_the_frames_go_with_words_for_the_source(render: Render, masks: Path, tmp_path: Path) -> None:
    outputs = render(tmp_path / "out.mp4", **WORDS, target_masks=masks)
    assert controlled_calls(outputs) == (8, 8)
    assert not (outputs.folder / "masks").exists()
    assert len(list((outputs.folder / "target-masks").glob("*.png"))) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mask_words": ["dragon"]}, "'dragon' is not in the prompt"),
        ({"mask_words": ["bear"], "source_mask_words": ["cat"]}, "'cat' is not in the prompt"),
        ({"mask_words": ["bear"], "source": "clip", "source_caption": "a cat"}, "'bear' is not in the prompt 'a cat'"),
        ({"mask_words": ["bear"], "mask_grid_divisor": 3}, "mask_grid_divisor: got 3"),
        ({"mask_words": ["bear"], "masa_layer": 0}, "masked mode cannot control layer 0"),
        ({"mask_words": ["bear"], "save_masks": True, "masa_steps": []}, "save_masks: there are no masks"),
    ],
)
def test_masks_that_cannot_be_found_are_told_before_the_work(
    render: Render, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        render(tmp_path / "out.mp4", attention_mode="masked", **changes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [0, 255])
def test_a_source_mask_of_one_colour_is_refused(render: Render, masks: Path, tmp_path: Path, value: int) -> None:
    picture = tmp_path / "mask.png"
    Image.new("RGB", (48, 48), (value,) * 3).save(picture)
    with pytest.raises(UserError, match=r"mask\.png: the mask is (all|nowhere) white"):
        render(tmp_path / "out.mp4", attention_mode="masked", target_masks=masks, source_mask=picture)
    assert list(tmp_path.iterdir()) == [picture]
