"""The training from drawn pictures to the folder that ships, with the smallest networks, a few steps of each stage."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from masactrl_video.demo.export import export
from masactrl_video.demo.folder import CONDITIONS
from masactrl_video.demo.training.plan import Plan
from masactrl_video.demo.training.stages import STAGES
from masactrl_video.guidance.keypoint_network import KeypointNetwork

SIZE = 64


def plan(out: Path, minutes: float) -> Plan:
    return Plan(
        out=out,
        networks="stand-in",
        world="small",
        size=SIZE,
        frames=16,
        minutes=minutes,
        until=None,
        batch_size=2,
        learning_rate=1e-3,
        device="cpu",
        bfloat16=False,
        compile=False,
        workers=1,
        seed=0,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("training")
    for stage in STAGES.values():
        stage(plan(out, minutes=1e-4))
    return out


def steps(folder: Path) -> int:
    return int(json.loads((folder / "checkpoint" / "state.json").read_text())["step"])


def test_every_stage_makes_at_least_one_step(trained: Path) -> None:
    names = [f"{kind}-{condition}" for kind in ("controlnet", "t2i-adapter") for condition in CONDITIONS]
    assert all(steps(trained / name) > 0 for name in ("vae", "keypoints", "unet", *names))


def test_latents_are_normalised_by_the_autoencoder_itself(trained: Path) -> None:
    latents = load_file(trained / "latents.safetensors")["latents"]
    torch.testing.assert_close(latents.mean(dim=(0, 2, 3)), torch.zeros(latents.shape[1]), atol=1e-3, rtol=0)
    torch.testing.assert_close(latents.std(dim=(0, 2, 3)), torch.ones(latents.shape[1]), atol=1e-3, rtol=0)


def test_a_stopped_stage_goes_on_where_it_was(trained: Path) -> None:
    before = steps(trained / "unet")
    longer = plan(trained, minutes=5e-2)
    STAGES["unet"](longer)
    assert steps(trained / "unet") > before
    state = json.loads((trained / "unet" / "checkpoint" / "state.json").read_text())
    STAGES["unet"](longer)  # its time is used up
    assert json.loads((trained / "unet" / "checkpoint" / "state.json").read_text()) == state


def test_the_export_is_a_folder_that_diffusers_loads(trained: Path, tmp_path: Path) -> None:
    export(trained, tmp_path / "weights", "stand-in", SIZE, "a test's machine")
    card = (tmp_path / "weights" / "README.md").read_text()
    assert "Trained on a test's machine." in card
    assert all(f"| {stage} | " in card for stage in ("vae", "keypoints", "unet"))
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "weights")
    assert pipeline.unet.config.sample_size * 8 == SIZE
    assert KeypointNetwork.from_pretrained(tmp_path / "weights" / "keypoints").config.sample_size == SIZE
    unet = load_file(trained / "unet" / "checkpoint" / "unet.average.safetensors")
    shipped = load_file(tmp_path / "weights" / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(shipped[name], tensor.half()) for name, tensor in unet.items())
