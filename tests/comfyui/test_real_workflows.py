"""The example workflows in a real ComfyUI, started without a window on the CPU (see `test_real_comfyui`).

The checkpoint is made here: Stable Diffusion 1 with a UNet of two levels, weights at random.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from comfy_layout import flux_keys
from comfyui.server import FILES, Server, as_prompt, make_folders
from diffusers import AutoencoderKL, FluxTransformer2DModel, UNet2DConditionModel
from ldm_layout import Tensors, save_checkpoint, vae_keys
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from masactrl_video.poses.named_poses import named_pose, placed_in
from masactrl_video.sources.characters.archive import export_character
from masactrl_video.sources.characters.pictures import kept_picture, save_picture
from masactrl_video.sources.characters.store import open_character

pytestmark = pytest.mark.skipif("COMFYUI_PATH" not in os.environ, reason="COMFYUI_PATH does not say where ComfyUI is")

SIDE, STEPS = 64, 5
PICTURES = {
    "consistent_character": 3,
    "flux_figure_by_words": 3,
    "saved_character": 3,
    "saved_source_and_measure": 4,
    "two_sources_by_region": 3,
}
DETECTION = Path(os.environ.get("COMFYUI_PATH", ""), "comfy/model_detection.py")


def whole_vae(channels: int) -> AutoencoderKL:
    """As wide as ComfyUI can have it."""
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=channels,
    )


def checkpoint(path: Path) -> None:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float16)
    try:
        text = CLIPTextModel(
            CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
        )
        vae = whole_vae(4)
        unet = UNet2DConditionModel(
            layers_per_block=1,
            block_out_channels=(320, 320),
            down_block_types=("CrossAttnDownBlock2D",) * 2,
            up_block_types=("CrossAttnUpBlock2D",) * 2,
            cross_attention_dim=768,
            attention_head_dim=8,
        )
    finally:
        torch.set_default_dtype(torch.float32)
    save_checkpoint(SimpleNamespace(unet=unet, vae=vae, text_encoder=text), path)


def flux_files(models: Path) -> None:
    """A tiny FLUX.1 schnell of one block and two, whose text is that of one CLIP, and its autoencoder."""
    torch.manual_seed(1)
    network = FluxTransformer2DModel(
        patch_size=1,
        in_channels=64,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=128,
        num_attention_heads=1,
        joint_attention_dim=768,
        pooled_projection_dim=768,
        axes_dims_rope=(16, 56, 56),
    )
    text = CLIPTextModel(
        CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    )
    parts = {"diffusion_models": flux_keys(network), "text_encoders": _text_keys(text), "vae": _vae_keys(16)}
    for folder, state in parts.items():
        (models / folder).mkdir()
        save_file(
            {key: tensor.half().contiguous() for key, tensor in state.items()}, models / folder / "tiny.safetensors"
        )


def _text_keys(text: torch.nn.Module) -> Tensors:
    return {f"text_model.{key.removeprefix('text_model.')}": tensor for key, tensor in text.state_dict().items()}


def _vae_keys(channels: int) -> Tensors:
    keys = vae_keys(whole_vae(channels))
    return {key.removeprefix("first_stage_model."): tensor for key, tensor in keys.items()}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = tmp_path_factory.mktemp("base")
    make_folders(base)
    checkpoint(base / "models" / "checkpoints" / "tiny.safetensors")
    flux_files(base / "models")
    server = Server(base)
    try:
        server.wait()
        yield server
    finally:
        server.end()


def small(kind: str, values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """With the models of this test, small pictures and few steps."""
    if kind == "DualCLIPLoader":  # a T5 has one size, which is large
        return "CLIPLoader", {"clip_name": "tiny.safetensors", "type": "stable_diffusion"}
    changes = {"ckpt_name": "tiny.safetensors", "steps": STEPS, "width": values.get("width", 0) * SIDE // 512}
    changes |= {"unet_name": "tiny.safetensors", "vae_name": "tiny.safetensors"}
    changes |= {"height": SIDE, "first_layer": min(values.get("first_layer", 0), 2)}
    return kind, values | {name: value for name, value in changes.items() if name in values}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_example_workflow_runs(file: Path, server: Server) -> None:
    """In order: the first saves the source that a later one loads."""
    if file.stem.startswith("flux") and "txt_ids_dims" not in DETECTION.read_text():
        pytest.skip("this ComfyUI knows FLUX in one size alone")
    folder = server.log.parent / "output"
    before = set(folder.glob("*.png"))
    done = server.run(as_prompt(json.loads(file.read_text()), server.ask("object_info"), small))
    assert done["status"]["status_str"] == "success", f"{file.name}: {done['status']['messages']}"
    pictures = [picture for picture in folder.glob("*.png") if picture not in before]
    if file.stem == "poses":
        assert len(pictures) > 8
        return
    sizes = [Image.open(picture).size for picture in pictures]
    assert len(sizes) == PICTURES[file.stem]
    assert set(sizes) <= {(SIDE, SIDE), (2 * SIDE, SIDE)}
    if file.stem == "saved_source_and_measure":
        figures = [out["text"] for out in done_outputs(server) if "text" in out]
        assert any("flicker" in str(text).lower() for text in figures)
    assert "IMPORT FAILED" not in "".join(line for line in server.log.read_text().splitlines() if "masactrl" in line)


def test_an_exported_character_is_loaded(server: Server, tmp_path: Path) -> None:
    output = server.log.parent / "output"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    pose = placed_in(named_pose("waving"), (0, 0, 48, 64), 48, 64)
    save_picture(tmp_path, "anna", pixels, caption="a woman in a green coat", words=["woman"], pose=pose)
    (output / "masactrl_characters").mkdir(exist_ok=True)
    export_character(tmp_path, "anna", output / "masactrl_characters" / "anna.zip")
    prompt = {
        "1": {"class_type": "MasaCtrlLoadCharacter", "inputs": {"name": "anna.zip"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "anna"}},
        "3": {"class_type": "MasaCtrlDrawPoses", "inputs": {"poses": ["1", 3], "min_confidence": 0.3}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "skeleton"}},
        "5": {"class_type": "PreviewAny", "inputs": {"source": ["1", 1]}},
        "6": {
            "class_type": "MasaCtrlSaveCharacter",
            "inputs": {"image": ["1", 0], "name": "again", "prompt": ["1", 1], "words": ["1", 2], "poses": ["1", 3]}
            | {"overwrite": False},
        },
    }
    done = server.run(prompt)
    assert done["status"]["status_str"] == "success", done["status"]["messages"]
    assert "a woman in a green coat" in str(done["outputs"]["5"]["text"])
    difference = np.subtract(np.array(Image.open(output / "anna_00001_.png")), pixels, dtype=np.int16)
    assert np.abs(difference).max() <= 1  # ComfyUI rounds down
    assert np.array(Image.open(output / "skeleton_00001_.png")).max() > 200
    again = open_character(output / "masactrl_characters", "again")
    assert again.index.recipe == open_character(tmp_path, "anna").index.recipe
    assert np.array_equal(kept_picture(again), pixels)
    prompt["6"]["inputs"] |= {"prompt": "somebody", "words": ""}
    refused = server.run(prompt)["status"]
    assert refused["status_str"] == "error"
    assert "character 'again' exists" in str(refused["messages"])


def done_outputs(server: Server) -> list[dict[str, Any]]:
    return [out for run in server.ask("history").values() for out in run["outputs"].values()]
