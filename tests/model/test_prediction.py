"""What a model predicts is read from its files, or said by the user; what cannot be denoised here is refused."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import ldm_layout
import pytest
import tiny_models
import torch
from diffusers import DDIMScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler, PNDMScheduler
from safetensors.torch import load_file, save_file

from masactrl_video.errors import UserError
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.load import load_pipeline
from masactrl_video.model.loading.prediction import Markers, follow_prediction, read_markers
from masactrl_video.model.prompts import encode_prompt
from masactrl_video.model.sampling.invert import invert
from masactrl_video.model.sampling.schedulers import make_scheduler

EMPTY = torch.zeros(0)


class StableDiffusionPipeline:
    """A pipeline is known by the name of its class."""


class Pipe(StableDiffusionPipeline):
    """As much of a pipeline as a scheduler needs."""

    def __init__(self, scheduler: Any = None, **config: Any) -> None:
        self.scheduler = scheduler or PNDMScheduler(beta_schedule="scaled_linear", **config)
        self.unet = tiny_models.sd1_unet()


def made(pipe: Pipe, name: Any = "ddim", steps: int = 4) -> Any:
    return make_scheduler(DiffusionModel(pipe), name, steps, (64, 64))


def marked(path: Path, metadata: dict[str, str] | None = None, **tensors: torch.Tensor) -> Path:
    save_file({"model.x": torch.zeros(1), **tensors}, path, metadata=metadata)
    return path


@pytest.mark.parametrize(
    ("metadata", "tensors"),
    [
        ({}, {"v_pred": EMPTY}),
        ({"modelspec.prediction_type": "v"}, {}),
        ({"modelspec.prediction_type": "V-Prediction"}, {}),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v"}, {}),
        ({"ss_v_parameterization": "True", "ss_v2": "True"}, {"v_pred": EMPTY}),
    ],
)
def test_a_file_that_is_marked_as_v_prediction_is_taken_so(
    tmp_path: Path, metadata: dict[str, str], tensors: dict[str, torch.Tensor]
) -> None:
    pipe = Pipe()
    follow_prediction("x", pipe, None, read_markers("x", marked(tmp_path / "x.safetensors", metadata, **tensors)))
    for name in ("ddim", "ddpm", "dpm++", "unipc", "deis", "euler", "euler-a", "lcm"):
        assert made(pipe, name).config.prediction_type == "v_prediction"
    assert not made(pipe).config.rescale_betas_zero_snr


@pytest.mark.parametrize(
    "metadata", [None, {"modelspec.prediction_type": "epsilon"}, {"ss_v_parameterization": "False"}]
)
def test_a_file_without_such_markers_is_as_its_configuration_says(
    tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    pipe = Pipe()
    follow_prediction("x", pipe, None, read_markers("x", marked(tmp_path / "x.safetensors", metadata)))
    assert made(pipe).config.prediction_type == "epsilon"


@pytest.mark.parametrize("name", ["ddim", "ddpm", "dpm++", "unipc", "euler", "euler-a", "lcm"])
def test_zero_terminal_snr_starts_from_pure_noise(name: Any) -> None:
    pipe = Pipe()
    follow_prediction("x", pipe, None, Markers({"v_pred": "v_prediction"}, True))
    scheduler = made(pipe, name)
    assert scheduler.config.rescale_betas_zero_snr
    assert float(scheduler.timesteps[0]) == 999
    assert float(scheduler.alphas_cumprod[-1]) < 1e-6


def test_a_scheduler_that_does_not_know_it_is_refused() -> None:
    pipe = Pipe()
    follow_prediction("x", pipe, None, Markers({"v_pred": "v_prediction"}, True))
    with pytest.raises(UserError, match=r"scheduler deis: .*rescale_betas_zero_snr.*take ddim"):
        made(pipe, "deis")
    with pytest.raises(UserError, match=r"scheduler euler-a: .*\(sample\).*take ddim"):
        made(Pipe(DDIMScheduler(prediction_type="sample")), "euler-a")
    wrong = DDIMScheduler(rescale_betas_zero_snr=True, timestep_spacing="trailing")
    with pytest.raises(UserError, match=r"starts from pure noise .*epsilon.*prediction_type v_prediction"):
        made(Pipe(wrong))


def test_the_setting_comes_before_files_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    pipe = Pipe()
    follow_prediction("x", pipe, "v_prediction", None)
    assert made(pipe).config.prediction_type == "v_prediction"
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        follow_prediction("x", pipe, "epsilon", Markers({"v_pred": "v_prediction"}))
    assert made(pipe).config.prediction_type == "epsilon"
    assert "prediction_type epsilon is taken, but the file of model x says v_pred: v_prediction" in caplog.text


@pytest.mark.parametrize(
    ("markers", "message"),
    [
        (Markers({"v_pred": "v_prediction", "modelspec.prediction_type": "epsilon"}), "markers do not go together"),
        (Markers({}, True), r"markers do not go together \(ztsnr\); say with prediction_type"),
        (Markers({"modelspec.prediction_type": "flow"}), "it predicts 'flow', which is not supported"),
    ],
)
def test_markers_that_cannot_be_followed_are_refused(markers: Markers, message: str) -> None:
    with pytest.raises(UserError, match=message):
        follow_prediction("x", Pipe(), None, markers)


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        (EDMEulerScheduler(), "its scheduler is a EDMEulerScheduler"),
        (FlowMatchEulerDiscreteScheduler(), "its scheduler is a FlowMatchEulerDiscreteScheduler"),
        (DDIMScheduler(prediction_type="flow_prediction"), "it predicts 'flow_prediction'"),
    ],
)
def test_another_kind_of_denoising_is_refused_by_its_name(scheduler: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        follow_prediction("x", Pipe(scheduler), None, None)


@pytest.mark.parametrize("tensor", ["edm_mean", "edm_std", "edm_vpred.sigma_max"])
def test_edm_in_a_file_is_refused(tmp_path: Path, tensor: str) -> None:
    with pytest.raises(UserError, match=f"EDM formulation .tensor {tensor}., which is not supported"):
        read_markers("x", marked(tmp_path / "x.safetensors", **{tensor: torch.zeros(1)}))


def test_a_marked_checkpoint_is_loaded_by_its_markers_and_can_be_inverted(sd1_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "vpred.safetensors"
    ldm_layout.save_checkpoint(tiny_models.sd1_pipeline(), file)
    save_file(load_file(file) | {"v_pred": EMPTY, "ztsnr": EMPTY}, file)
    pipe = load_pipeline(str(file), config=str(sd1_folder), dtype="float32", device="cpu")
    model = DiffusionModel(pipe)
    scheduler = make_scheduler(model, "ddim", 4)
    assert (scheduler.config.prediction_type, scheduler.timesteps.tolist()) == ("v_prediction", [999, 749, 499, 249])
    text = encode_prompt(model, "", "", 1.0, (64, 64))
    levels = invert(model, torch.randn(1, 4, 8, 8), text, scheduler).latents
    assert all(level.isfinite().all() for level in levels)
