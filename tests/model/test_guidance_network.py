"""Guidance networks act when diffusers' would, read pictures in the right range, and add up."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
import torch
from diffusers import StableDiffusionAdapterPipeline, StableDiffusionControlNetPipeline
from PIL import Image

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.unet.controls import GuidanceNetwork, prepare_guidance
from masactrl_video.model.backbones.unet.residuals import residuals
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt
from masactrl_video.model.sampling.denoise import Denoising, FrameBatch
from masactrl_video.model.sampling.schedulers import make_scheduler

SIZE = (64, 96)
STEPS, SCALE = 7, 3.0
RANGES = [(0.0, 1.0), (0.0, 0.5), (0.3, 1.0), (0.25, 0.8), (0.5, 0.5)]


def pictures(frames: int, channels_alike: bool = False) -> np.ndarray:
    out = np.random.default_rng(0).integers(0, 255, (frames, *SIZE, 3), dtype=np.uint8)
    return np.repeat(out[..., :1], 3, axis=-1) if channels_alike else out


def noise() -> torch.Tensor:
    return torch.randn(1, 4, SIZE[0] // 8, SIZE[1] // 8, generator=torch.Generator().manual_seed(0))


def ours(model: DiffusionModel, guide: np.ndarray) -> torch.Tensor:
    scheduler = make_scheduler(model, "ddim", STEPS)
    denoising = Denoising(model, encode_prompt(model, "a bear", "blue", 7.5, SIZE), SCALE, seed=0)
    batch = FrameBatch.from_noise(noise(), prepare_guidance(model.networks, [guide] * len(model.networks)), scheduler)
    for step in range(STEPS):
        denoising.step(batch, step)
    return batch.latents


@pytest.mark.parametrize(("start", "end"), RANGES)
def test_a_controlnet_acts_at_the_steps_of_diffusers(start: float, end: float) -> None:
    pipe = tiny_models.sd1_pipeline()
    net = tiny_models.controlnet(pipe.unet)
    calls: list[float] = []
    hook = net.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append(kwargs["conditioning_scale"]), with_kwargs=True
    )
    plain = StableDiffusionControlNetPipeline(**pipe.components | {"controlnet": net}, requires_safety_checker=False)
    plain.set_progress_bar_config(disable=True)
    guide = pictures(1)
    expected = (
        plain(
            "a bear",
            Image.fromarray(guide[0]),
            negative_prompt="blue",
            num_inference_steps=STEPS,
            guidance_scale=SCALE,
            controlnet_conditioning_scale=0.8,
            control_guidance_start=start,
            control_guidance_end=end,
            latents=noise(),
            output_type="latent",
        ).images
        if start < end
        else None
    )
    hook.remove()
    network = GuidanceNetwork("pose", net, 0.8, start, end)
    acts = [network.acts_at(step, STEPS) for step in range(STEPS)]
    if expected is None:  # diffusers refuses an empty range
        assert not any(acts)
        return
    assert acts == [scale > 0 for scale in calls]  # diffusers calls it at every step, with 0 where it does not act
    assert (ours(DiffusionModel(pipe, (network,)), guide) - expected).abs().max() < 1e-4


def test_an_adapter_is_the_one_of_diffusers() -> None:
    pipe = tiny_models.sd1_pipeline()
    net = tiny_models.adapter(pipe.unet)
    parts = {name: part for name, part in pipe.components.items() if name != "image_encoder"}
    plain = StableDiffusionAdapterPipeline(**parts, adapter=net, requires_safety_checker=False)
    plain.set_progress_bar_config(disable=True)
    guide = pictures(1)
    expected = plain(
        "a bear",
        Image.fromarray(guide[0]),
        negative_prompt="blue",
        height=SIZE[0],
        width=SIZE[1],
        num_inference_steps=STEPS,
        guidance_scale=SCALE,
        adapter_conditioning_scale=0.6,
        latents=noise(),
        output_type="latent",
    ).images
    model = DiffusionModel(pipe, (GuidanceNetwork("pose", net, 0.6),))
    assert (ours(model, guide) - expected).abs().max() < 1e-4
    without = ours(DiffusionModel(pipe), guide)
    assert (expected - without).abs().max() > 1e-3, "the adapter has no influence: this proves nothing"


def test_an_adapter_acts_within_its_range() -> None:
    pipe = tiny_models.sd1_pipeline()
    net = tiny_models.adapter(pipe.unet)
    guide = pictures(1)
    results = [
        ours(DiffusionModel(pipe, (GuidanceNetwork("pose", net, 1.0, start, end),)), guide)
        for start, end in ((0.0, 1.0), (0.5, 1.0), (0.0, 0.1))
    ]
    assert (results[0] - results[1]).abs().max() > 1e-4
    assert torch.equal(results[2], ours(DiffusionModel(pipe), guide))


def test_a_one_channel_adapter_reads_grey_pictures_only() -> None:
    net = tiny_models.adapter(tiny_models.sd1_unet(), in_channels=1)
    network = GuidanceNetwork("canny", net)
    grey = pictures(2, channels_alike=True)
    prepared = network.prepare(grey)
    assert prepared.shape == (2, 1, *SIZE)
    assert torch.equal(prepared[:, 0], torch.from_numpy(grey[..., 0]) / 255)
    with pytest.raises(UserError, match=r"'canny'.*one grey channel, but the pictures have colours"):
        network.prepare(pictures(2))


def test_another_number_of_channels_is_refused() -> None:
    network = GuidanceNetwork("depth", tiny_models.adapter(tiny_models.sd1_unet(), in_channels=2))
    with pytest.raises(UserError, match="reads 2 channels"):
        network.prepare(pictures(1))


def test_pictures_must_be_multiples_of_what_the_networks_read() -> None:
    pipe = tiny_models.sdxl_pipeline()
    adapter = GuidanceNetwork("pose", tiny_models.adapter(pipe.unet))
    assert (DiffusionModel(pipe).size_factor, DiffusionModel(pipe, (adapter,)).size_factor) == (8, 16)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_a_controlnet_embeds_its_pictures_once_for_all_steps_and_branches(order: str) -> None:
    pipe = tiny_models.sd1_pipeline()
    net = tiny_models.controlnet(pipe.unet)
    net.register_to_config(controlnet_conditioning_channel_order=order)
    embedding, rows = net.controlnet_cond_embedding, []
    embedding.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    network = GuidanceNetwork("pose", net, 0.8)
    guide = pictures(2)
    prepared = prepare_guidance([network], [guide])
    latents, timestep = noise().repeat(4, 1, 1, 1), torch.tensor(500)
    text = encode_prompt(DiffusionModel(pipe), "a bear", "", 7.5, SIZE).for_frames(2)
    with torch.no_grad():
        for step in range(3):
            found = residuals(prepared, latents, timestep, step, 3, text, branches=2)
        assert rows == [2]
        assert net.controlnet_cond_embedding is embedding
        shown = network.prepare(guide).repeat(2, 1, 1, 1)
        down, mid = net(latents, timestep, controlnet_cond=shown, conditioning_scale=0.8, return_dict=False, **text)
    assert (found["mid_block_additional_residual"] - mid).abs().max() < 1e-5
    for ours_, theirs in zip(found["down_block_additional_residuals"], down, strict=True):
        assert (ours_ - theirs).abs().max() < 1e-5


def test_the_embedding_is_back_after_an_exception() -> None:
    pipe = tiny_models.sd1_pipeline()
    net = tiny_models.controlnet(pipe.unet)
    embedding = net.controlnet_cond_embedding
    prepared = prepare_guidance([GuidanceNetwork("pose", net)], [pictures(1)])
    with pytest.raises(RuntimeError):
        residuals(prepared, torch.zeros(1, 3, 8, 12), torch.tensor(1), 0, 1, {"encoder_hidden_states": None}, 1)
    assert net.controlnet_cond_embedding is embedding
