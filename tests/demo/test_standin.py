"""The folder of weights: what plain diffusers and transformers make of it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionAdapterPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    T2IAdapter,
)
from PIL import Image
from stand_in import write_stand_in

from masactrl_video.demo.folder import CONDITIONS
from masactrl_video.demo.world.vocabulary import known_words


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    written = tmp_path_factory.mktemp("demo") / "weights"
    write_stand_in(written)
    return written


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> StableDiffusionPipeline:
    return StableDiffusionPipeline.from_pretrained(folder)


def picture(pipeline: StableDiffusionPipeline, **condition: object) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline("a bear", num_inference_steps=2, output_type="np", generator=torch.manual_seed(0), **condition)
    return made.images[0]


def test_plain_diffusers_makes_a_picture_of_the_trained_size(pipeline: StableDiffusionPipeline) -> None:
    made = picture(pipeline)
    assert made.shape == (128, 128, 3)
    assert np.isfinite(made).all()
    assert made.std() > 0.01


@pytest.mark.parametrize("condition", CONDITIONS)
def test_each_guidance_network_changes_the_picture(
    folder: Path, pipeline: StableDiffusionPipeline, condition: str
) -> None:
    drawn = Image.fromarray(np.full((128, 128, 3), (255, 0, 80), np.uint8))
    unguided = picture(pipeline)
    controlnet = ControlNetModel.from_pretrained(folder / f"controlnet-{condition}")
    controlled = picture(StableDiffusionControlNetPipeline(**pipeline.components, controlnet=controlnet), image=drawn)
    adapter = T2IAdapter.from_pretrained(folder / f"t2i-adapter-{condition}")
    parts = {name: part for name, part in pipeline.components.items() if name != "image_encoder"}
    adapted = picture(StableDiffusionAdapterPipeline(**parts, adapter=adapter), image=drawn)
    assert np.abs(controlled - unguided).max() > 1e-3
    assert np.abs(adapted - unguided).max() > 1e-3


def test_the_unet_has_the_self_attention_of_stable_diffusion(pipeline: StableDiffusionPipeline) -> None:
    names = [name for name, _ in pipeline.unet.named_modules() if name.endswith("attn1")]
    places = [sum(name.startswith(part) for name in names) for part in ("down_blocks", "mid_block", "up_blocks")]
    assert places == [6, 1, 9]


def test_both_libraries_load_it_in_float32(pipeline: StableDiffusionPipeline) -> None:
    parts = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    assert {part.dtype for part in parts} == {torch.float32}


def test_known_words_are_one_token_and_others_survive(pipeline: StableDiffusionPipeline) -> None:
    tokenizer = pipeline.tokenizer
    assert [word for word in known_words() if len(tokenizer.tokenize(word)) != 1] == []
    for word in ("xylophone", "Zürich", "日本", "🐻"):
        tokens = tokenizer.tokenize(word)
        assert len(tokens) > 1
        assert tokenizer.unk_token not in tokens
        assert tokenizer.decode(tokenizer.convert_tokens_to_ids(tokens)).replace(" ", "") == word.lower()


def test_the_same_seed_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_stand_in(tmp_path / "again")
    for path in folder.rglob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(folder)).read_bytes()


def test_ids_of_words_are_the_same_in_every_process() -> None:
    code = (
        "from masactrl_video.demo.tokenizer import merges_for\n"
        "from masactrl_video.demo.world.vocabulary import known_words\n"
        "print(merges_for(known_words()))"
    )
    made = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(4)}
    assert len(made) == 1
