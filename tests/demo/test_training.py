"""The training from drawn pictures to the folder that ships, with the smallest networks, a few steps of each stage."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import FluxControlNetModel, FluxControlNetPipeline, FluxPipeline, StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from masactrl_video.demo.export import export, export_transformer
from masactrl_video.demo.folder import CONDITIONS
from masactrl_video.demo.training.checkpoint import save_checkpoint
from masactrl_video.demo.training.plan import Plan
from masactrl_video.demo.training.run import Run, Settings
from masactrl_video.demo.training.stages import STAGES
from masactrl_video.demo.training.take_up import take_up
from masactrl_video.demo.training.vae import decoder_losses
from masactrl_video.poses.detectors.network import KeypointNetwork

pytestmark = pytest.mark.long

SIZE = 64
AVERAGE_EVERY = Settings(minutes=1, learning_rate=1e-3, batch_size=1).average_every
"""Steps after which the averages, which are what is kept, have moved."""


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


def go_on(out: Path, stage: str, more: int) -> None:
    """Train a stage for so many steps more, a second at a time: a busy machine makes few in one."""
    wanted = steps(out / stage) + more
    for _ in range(60):
        state = json.loads((out / stage / "checkpoint" / "state.json").read_text())
        STAGES[stage](plan(out, minutes=(state["elapsed_seconds"] + 1) / 60))
        if steps(out / stage) >= wanted:
            return
    pytest.fail(f"{stage} did not make {more} steps in a minute")


def test_every_stage_makes_at_least_one_step(trained: Path) -> None:
    names = [f"{kind}-{condition}" for kind in ("controlnet", "t2i-adapter") for condition in CONDITIONS]
    assert all(steps(trained / name) > 0 for name in STAGES if name not in ("draw", "guidance"))
    assert all(steps(trained / name) > 0 for name in names)


def test_latents_are_normalised_by_the_autoencoder_itself(trained: Path) -> None:
    latents = load_file(trained / "latents.safetensors")["latents"]
    torch.testing.assert_close(latents.mean(dim=(0, 2, 3)), torch.zeros(latents.shape[1]), atol=1e-3, rtol=0)
    torch.testing.assert_close(latents.std(dim=(0, 2, 3)), torch.ones(latents.shape[1]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("stage", ["unet", "dit"])
def test_a_stopped_stage_goes_on_where_it_was(trained: Path, stage: str) -> None:
    before = steps(trained / stage)
    longer = plan(trained, minutes=5e-2)
    STAGES[stage](longer)
    assert steps(trained / stage) > before
    state = json.loads((trained / stage / "checkpoint" / "state.json").read_text())
    STAGES[stage](longer)  # its time is used up
    assert json.loads((trained / stage / "checkpoint" / "state.json").read_text()) == state


def test_the_decoder_learns_on_and_the_latents_stay(trained: Path) -> None:
    before = load_file(trained / "vae.safetensors")
    go_on(trained, "decoder", AVERAGE_EVERY)
    after = load_file(trained / "vae.safetensors")
    changed = {name.split(".")[0] for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert "decoder" in changed
    assert changed <= {"decoder", "post_quant_conv"}


def test_the_decoders_error_counts_three_times_on_the_character() -> None:
    vae: Any = SimpleNamespace(decode=lambda latents: SimpleNamespace(sample=latents))
    pictures, masks = torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    masks[..., 4:] = 1
    errors = []
    for columns in (slice(0, 4), slice(4, 8)):
        wrong = pictures.clone()
        wrong[..., columns] = 0.5
        errors.append(decoder_losses(vae, wrong, pictures, masks)["colour"])
    assert float(errors[1] / errors[0]) == pytest.approx(3)


def test_weights_that_were_taken_up_warm_up_again_and_a_continuation_does_not(tmp_path: Path) -> None:
    settings = Settings(minutes=1e9, learning_rate=1e-3, batch_size=1)
    network = torch.nn.Linear(2, 2)
    save_checkpoint(
        tmp_path / "checkpoint",
        {"a": network},
        {"a": network.state_dict()},
        torch.optim.AdamW(network.parameters()),
        {"step": 5000, "samples": 5000, "elapsed_seconds": 0.0},
    )
    rates = []
    for _ in range(2):
        run = Run(tmp_path, {"a": network}, settings)
        for _ in range(10):
            run._step(lambda *_: {"loss": network(torch.ones(1, 2)).sum()})
            rates.append(run.optimizer.param_groups[0]["lr"])
        run.save()
    assert rates[0] < 0.02 * 1e-3
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(20 / settings.warmup_steps * 1e-3, rel=0.01)


def test_the_export_is_a_folder_that_diffusers_loads(trained: Path, tmp_path: Path) -> None:
    export(trained, tmp_path / "weights", "stand-in", SIZE, "a test's machine")
    card = (tmp_path / "weights" / "README.md").read_text()
    assert "Trained on a test's machine." in card
    assert all(f"| {stage} | " in card for stage in ("vae", "keypoints", "unet", "decoder", "taesd"))
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "weights")
    assert pipeline.unet.config.sample_size * 8 == SIZE
    assert KeypointNetwork.from_pretrained(tmp_path / "weights" / "keypoints").config.sample_size == SIZE
    unet = load_file(trained / "unet" / "checkpoint" / "unet.average.safetensors")
    shipped = load_file(tmp_path / "weights" / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(shipped[name], tensor.half()) for name, tensor in unet.items())


def test_the_transformers_export_is_a_folder_that_flux_pipelines_load(trained: Path, tmp_path: Path) -> None:
    weights = tmp_path / "demo-dit"
    export_transformer(trained, weights, "stand-in", SIZE, "a test's machine")
    assert "| dit | " in (weights / "README.md").read_text()
    given = {"height": SIZE, "width": SIZE, "max_sequence_length": 32, "num_inference_steps": 2, "output_type": "np"}
    given |= {"negative_prompt": "", "true_cfg_scale": 2.0, "generator": torch.Generator().manual_seed(0)}
    plain = FluxPipeline.from_pretrained(weights)
    guided = FluxControlNetPipeline.from_pretrained(
        weights, controlnet=FluxControlNetModel.from_pretrained(weights / "controlnet-pose")
    )
    assert plain("a bear", **given).images.shape == (1, SIZE, SIZE, 3)
    assert guided("a bear", control_image=Image.new("RGB", (SIZE, SIZE)), **given).images.shape == (1, SIZE, SIZE, 3)
    average = load_file(trained / "dit" / "checkpoint" / "transformer.average.safetensors")
    shipped = load_file(weights / "transformer" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(shipped[name], tensor.half()) for name, tensor in average.items())


def test_exported_weights_are_taken_up_by_a_training_that_goes_on(trained: Path, tmp_path: Path) -> None:
    export(trained, tmp_path / "weights", "stand-in", SIZE, "a test's machine")
    out = tmp_path / "again"
    take_up(tmp_path / "weights", out)
    for stage in ("vae", "decoder", "keypoints", "unet", "taesd"):
        assert (out / stage / "checkpoint" / "state.json").read_text() == (
            trained / stage / "checkpoint" / "state.json"
        ).read_text()
    taken = {"unet": "unet", "text_encoder": "unet", "taesd": "taesd"}
    for name, stage in {**taken, "t2i-adapter-pose": "t2i-adapter-pose"}.items():
        before = load_file(trained / stage / "checkpoint" / f"{name}.average.safetensors")
        after = load_file(out / taken.get(name, "unet") / "checkpoint" / f"{name}.average.safetensors")
        assert before.keys() == after.keys()
        assert all(torch.equal(after[key], tensor.half().float()) for key, tensor in before.items())
    step = steps(out / "unet")
    seconds = json.loads((out / "unet" / "checkpoint" / "state.json").read_text())["elapsed_seconds"]
    for stage in ("draw", "unet"):
        STAGES[stage](plan(out, minutes=(seconds + 1) / 60))
    assert steps(out / "unet") > step


def test_an_exported_transformer_is_taken_up_too(trained: Path, tmp_path: Path) -> None:
    export_transformer(trained, tmp_path / "weights", "stand-in", SIZE, "a test's machine")
    take_up(tmp_path / "weights", tmp_path / "again")
    taken_up, before = tmp_path / "again" / "dit" / "checkpoint", trained / "dit" / "checkpoint"
    assert (taken_up / "state.json").read_text() == (before / "state.json").read_text()
    for name in ("transformer", "controlnet"):
        average, again = (load_file(folder / f"{name}.average.safetensors") for folder in (before, taken_up))
        assert all(torch.equal(again[key], tensor.half().float()) for key, tensor in average.items())


def test_embeddings_follow_their_tokens_to_the_ids_of_now(trained: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    export(trained, weights, "stand-in", SIZE, "a test's machine")
    vocabulary = json.loads((weights / "tokenizer" / "tokenizer.json").read_text())
    ids = vocabulary["model"]["vocab"]
    ids["bear</w>"], ids["red</w>"] = ids["red</w>"], ids["bear</w>"]
    (weights / "tokenizer" / "tokenizer.json").write_text(json.dumps(vocabulary))
    (weights / "tokenizer" / "vocab.json").write_text(json.dumps(ids))
    take_up(weights, tmp_path / "again")
    taken_up = tmp_path / "again" / "unet" / "checkpoint" / "text_encoder.safetensors"
    before, after = (
        next(tensor for key, tensor in load_file(file).items() if key.endswith("token_embedding.weight"))
        for file in (weights / "text_encoder" / "model.safetensors", taken_up)
    )
    assert torch.equal(after[ids["red</w>"]], before[ids["bear</w>"]].float())
