"""References of klein-kv that are recorded once: a call with them is the pipeline's own call with the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_families
import torch
from diffusers import Flux2KleinKVPipeline
from PIL import Image
from safetensors.torch import save_file

from masactrl_video.attention.record import record_source
from masactrl_video.attention.use import use_source
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.flux2.references import KeptReference, moved, record_reference, use_references


@pytest.fixture
def pipe() -> Any:
    own = Flux2KleinKVPipeline(**tiny_families.flux2_klein_pipeline().components)
    own.set_progress_bar_config(disable=True)
    return own


def picture(seed: int, size: tuple[int, int] = (64, 80)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)


def drawn(pipe: Any, prompt: str = "a bear", width: int = 64, **more: Any) -> torch.Tensor:
    out: torch.Tensor = pipe(
        prompt=prompt, height=64, width=width, num_inference_steps=3, output_type="latent", max_sequence_length=64,
        generator=torch.Generator().manual_seed(0), **more,
    ).images  # fmt: skip
    return out


def test_one_record_serves_every_prompt_and_size_as_the_picture_itself_does(pipe: Any, tmp_path: Path) -> None:
    record_reference(pipe, picture(1)).save(tmp_path / "hero.safetensors")
    kept = KeptReference.load(tmp_path / "hero.safetensors")
    for prompt, width in (("a bear", 64), ("a frog in the snow", 96)):
        own = drawn(pipe, prompt, width, image=Image.fromarray(picture(1)))
        with use_references(pipe.transformer, [kept]):
            again = drawn(pipe, prompt, width)
        plain = drawn(pipe, prompt, width)
        assert (again - own).abs().max() < 1e-5
        assert (plain - own).abs().max() > 1e-3
    assert not pipe.transformer._forward_pre_hooks


def test_several_are_joined_and_each_acts(pipe: Any) -> None:
    one, two = record_reference(pipe, picture(1)), record_reference(pipe, picture(2, (32, 32)), place=2)
    found = []
    for references in ([one], [one, two], [two, one]):
        with use_references(pipe.transformer, references):
            found.append(drawn(pipe))
    assert (found[0] - found[1]).abs().max() > 1e-3
    assert (found[1] - found[2]).abs().max() < 1e-5


def test_a_source_acts_beside_kept_references(pipe: Any) -> None:
    kept, found = record_reference(pipe, picture(1)), []
    with use_references(pipe.transformer, [kept]), record_source(pipe.transformer, masa_layer=0) as source:
        first = drawn(pipe, "a bear")
    for steps in ([0, 1, 2], [2]):
        with (
            use_references(pipe.transformer, [kept]),
            use_source(pipe.transformer, source, masa_steps=steps, masa_layer=0) as control,
        ):
            found.append(drawn(pipe, "a bear" if len(steps) > 1 else "a frog in the snow"))
        assert control.count.fired.total() == 4 * len(steps)
    assert (found[0] - first).abs().max() < 1e-5
    with use_references(pipe.transformer, [kept]):
        alone = drawn(pipe, "a frog in the snow")
    assert (found[1] - alone).abs().max() > 1e-3


def test_a_reference_at_another_place_is_the_same_turned_further(pipe: Any) -> None:
    one, two = record_reference(pipe, picture(1)), record_reference(pipe, picture(1), place=2)
    again = moved(pipe.transformer, one, 2)
    for name, key in again.keys.items():
        assert (key - two.keys[name]).abs().max() < 1e-5
        assert (one.values[name] - two.values[name]).abs().max() < 1e-5
        assert (one.keys[name] - two.keys[name]).abs().max() > 1e-2


def test_what_cannot_be_used_is_said_in_one_line(pipe: Any, tmp_path: Path) -> None:
    kept = record_reference(pipe, picture(1))
    with pytest.raises(UserError, match="sides must be multiples of 16"):
        record_reference(pipe, picture(1, (60, 64)))
    with pytest.raises(UserError, match=r"got places \[1, 1\]"), use_references(pipe.transformer, [kept, kept]):
        pass
    with (
        pytest.raises(UserError, match="brings a reference picture of its own"),
        use_references(pipe.transformer, [kept]),
    ):
        drawn(pipe, image=Image.fromarray(picture(1)))
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    for name, said in (("other", "holds no reference"), ("text", "cannot be read"), ("none", "cannot be read")):
        with pytest.raises(UserError, match=said):
            KeptReference.load(tmp_path / f"{name}.safetensors")
    with torch.no_grad():
        pipe.transformer.proj_out.weight.mul_(2)
    with pytest.raises(UserError, match="recorded with other weights"), use_references(pipe.transformer, [kept]):
        pass
    plain = tiny_families.pipeline("flux2")
    with pytest.raises(UserError, match="takes no kept references; load it as a Flux2KleinKVPipeline"):
        record_reference(plain, picture(1))
