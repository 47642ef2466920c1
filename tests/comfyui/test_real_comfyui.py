"""The nodes in a real ComfyUI: `COMFYUI_PATH=/its/folder pytest tests/comfyui/test_real_comfyui.py -n 0`.

ComfyUI's own requirements must be installed beside ours. It runs on the CPU in float32, on a model made here.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from comfyui import stand_in
from comfyui import stand_in_transformers as joint
from diffusers import ControlNetModel, UNet2DConditionModel
from ldm_layout import unet_keys
from safetensors.torch import save_file

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.parts import SourcePart
from masactrl_video.attention.plan import plan_control
from masactrl_video.attention.record import record_source as record_ours
from masactrl_video.attention.recorded import MemorySource
from masactrl_video.attention.use import control_attention
from masactrl_video.comfyui.using import on_grid
from masactrl_video.comfyui.words import Words

pytestmark = pytest.mark.skipif("COMFYUI_PATH" not in os.environ, reason="COMFYUI_PATH does not say where ComfyUI is")

STEPS, SCALE = 4, 5.0


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    """Stable Diffusion 1 with two levels, which is what ComfyUI still knows as such."""
    torch.manual_seed(0)
    kinds = ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D")
    unet = UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(320, 320),
        down_block_types=kinds[0],
        up_block_types=kinds[1],
        cross_attention_dim=768,
        attention_head_dim=8,
    ).eval()
    with torch.no_grad():  # untrained attention hardly counts
        for name, weight in unet.named_parameters():
            if ".attn1." in name and name.endswith("weight"):
                weight *= 2
    return unet


@pytest.fixture(scope="module")
def model(comfy: Any, unet: UNet2DConditionModel, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("comfy") / "tiny.safetensors"
    save_file({k: v.contiguous() for k, v in unet_keys(unet, "model.diffusion_model.").items()}, path)
    return comfy.sd.load_diffusion_model(str(path))


def prompt(seed: int) -> torch.Tensor:
    return torch.randn(1, 77, 768, generator=torch.Generator().manual_seed(seed))


NEGATIVE, FIRST, SECOND = prompt(1), prompt(2), prompt(3)


def noise(seed: int, frames: int = 1) -> torch.Tensor:
    return torch.randn(frames, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def in_comfyui(
    comfy: Any, model: Any, start: torch.Tensor, text: torch.Tensor, sampler: str = "euler", callback: Any = None
) -> torch.Tensor:
    latent = torch.zeros_like(start)
    conditions = [[text, {}]], [[NEGATIVE, {}]]
    made = comfy.sample.sample(
        model, start, STEPS, SCALE, sampler, "normal", *conditions, latent, seed=1, disable_pbar=True, callback=callback
    )
    assert isinstance(made, torch.Tensor)
    return made


def levels(comfy: Any, model: Any) -> tuple[list[float], list[float]]:
    """Noise levels of the sampler, and the timesteps that the network is told."""
    sampling = model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", STEPS)
    return sigmas.tolist(), [float(sampling.timestep(sigma)) for sigma in sigmas[:-1]]


@torch.no_grad()
def ours(unet: Any, comfy: Any, model: Any, start: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """The same Euler steps through diffusers; latents as ComfyUI gives them out."""
    sigmas, timesteps = levels(comfy, model)
    sampling = model.get_model_object("model_sampling")
    x = sampling.noise_scaling(torch.tensor(sigmas[0]), start, torch.zeros_like(start), True)
    both = torch.cat([each.expand(len(start), -1, -1) for each in (NEGATIVE, text)])
    for (sigma, following), timestep in zip(pairwise(sigmas), timesteps, strict=True):
        rows = torch.cat([x, x]) / (sigma**2 + 1) ** 0.5
        without, there = unet(rows, timestep, encoder_hidden_states=both).sample.chunk(2)
        x = x + (without + SCALE * (there - without)) * (following - sigma)
    return x / 0.18215


def recorded_ours(
    unet: Any, comfy: Any, model: Any, start: torch.Tensor, text: torch.Tensor, words: Sequence[int] = ()
) -> MemorySource:
    with record_ours(unet, masa_layer=0, object_tokens=words, mask_grid_divisor=2) as source:
        ours(unet, comfy, model, start, text)
    return source


def recorded(
    comfy: Any,
    model: Any,
    start: torch.Tensor,
    text: torch.Tensor,
    sampler: str = "euler",
    words: Words | None = None,
) -> Any:
    from masactrl_video.comfyui.nodes import RecordedSource, RecordSource

    patched, recording = RecordSource.execute(model, 0, words).result
    made = in_comfyui(comfy, patched, start, text, sampler)
    return RecordedSource.execute(recording, {"samples": made}).result[0]


def used(model: Any, source: Any, mode: str = "source", **more: Any) -> Any:
    from masactrl_video.comfyui.nodes import UseSource

    options = {"first_step": 1, "first_layer": 2, "weight": 1.0} | more
    return UseSource.execute(model, source, mode, **options).result[0]


def far(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference, as a part of the largest value."""
    return float((a - b).abs().max() / b.abs().max())


MASK = torch.zeros(1, 64, 64)
MASK[:, :, 24:] = 1
ANOTHER = torch.zeros(2, 64, 64)
ANOTHER[:, 16:48] = 1


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("mode", ["source", "union", "masked", "words"])
def test_the_patched_sampler_equals_our_own_render(
    mode: str, together: bool, comfy: Any, model: Any, unet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not together:  # no memory for both prompts in one call
        monkeypatch.setattr(type(model.model), "memory_required", lambda *_, **__: 1 << 60)
    plain = in_comfyui(comfy, model, noise(5), FIRST)
    assert far(plain, ours(unet, comfy, model, noise(5), FIRST)) < 1e-4
    words = Words((1, 2), 2) if mode == "words" else None
    source = recorded(comfy, model, noise(5), FIRST, words=words)
    masks = {"source_mask": MASK, "target_mask": ANOTHER} if mode == "masked" else {}
    way, divisor = ("masked", 2) if words else (mode, None)
    made = in_comfyui(comfy, used(model, source, way, words=words, **masks), noise(6, 2), SECOND)
    plan = plan_control(unet, STEPS, masa_step=1, masa_layer=2, mode=way, mask_grid_divisor=divisor)
    rule = MaskRule(source_mask=on_grid(MASK, (8, 8))[0]) if masks else MaskRule(words.tokens) if words else None
    own = recorded_ours(unet, comfy, model, noise(5), FIRST, words.tokens if words else ())
    with control_attention(unet, own, plan, masks=rule) as control:
        control.figures.target_mask = on_grid(ANOTHER, (8, 8)) if masks else None
        expected = ours(unet, comfy, model, noise(6, 2), SECOND)
    print(f"{mode}: {far(made, expected):.1e} from our own render")
    assert far(made, expected) < 1e-4
    assert far(made, ours(unet, comfy, model, noise(6, 2), SECOND)) > 2e-3
    assert torch.equal(in_comfyui(comfy, model, noise(5), FIRST), plain)  # the given model is as it was


def test_two_sources_in_one_graph(comfy: Any, model: Any, unet: Any) -> None:
    starts: Sequence[torch.Tensor] = noise(5), noise(7)
    chained = model
    for start, weight in zip(starts, (1.0, 0.5), strict=True):
        chained = used(chained, recorded(comfy, model, start, FIRST), "union", weight=weight)
    made = in_comfyui(comfy, chained, noise(6), SECOND)
    parts = [
        SourcePart(recorded_ours(unet, comfy, model, start, FIRST), weight=weight)
        for start, weight in zip(starts, (1.0, 0.5), strict=True)
    ]
    with control_attention(unet, parts, plan_control(unet, STEPS, masa_step=1, masa_layer=2, mode="union")):
        expected = ours(unet, comfy, model, noise(6), SECOND)
    assert far(made, expected) < 1e-4


def test_a_controlnet_reaches_frames_that_follow_a_source(comfy: Any, model: Any, unet: Any, tmp_path: Path) -> None:
    load_controlnet = importlib.import_module("comfy.controlnet").load_controlnet

    torch.manual_seed(1)
    network = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32, 96, 256)).eval()
    with torch.no_grad():  # untrained, it adds nothing
        for name, weight in network.named_parameters():
            if name.startswith(("controlnet_", "controlnet_cond_embedding.conv_out")):
                weight.normal_(0, 0.02)
    path = tmp_path / "control.safetensors"
    save_file({k: v.contiguous() for k, v in unet_keys(network, "control_model.").items()}, path)
    picture = torch.rand(1, 64, 64, 3)
    control = load_controlnet(str(path)).set_cond_hint(picture.movedim(-1, 1), 1.0, (0.0, 1.0))
    source = recorded(comfy, model, noise(5), FIRST)
    latent = torch.zeros(1, 4, 8, 8)
    given = {"control": control, "control_apply_to_uncond": True}
    conditions = [[SECOND, given]], [[NEGATIVE, {}]]
    patched = used(model, source)
    made = comfy.sample.sample(
        patched, noise(6), STEPS, SCALE, "euler", "normal", *conditions, latent, seed=1, disable_pbar=True
    )

    def controlled(rows: torch.Tensor, timestep: float, encoder_hidden_states: torch.Tensor) -> Any:
        hint = picture.movedim(-1, 1).expand(len(rows), -1, -1, -1)
        down, middle = network(rows, timestep, encoder_hidden_states, hint, return_dict=False)
        return unet(
            rows,
            timestep,
            encoder_hidden_states=encoder_hidden_states,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        )

    plan = plan_control(unet, STEPS, masa_step=1, masa_layer=2)
    with control_attention(unet, recorded_ours(unet, comfy, model, noise(5), FIRST), plan):
        expected = ours(controlled, comfy, model, noise(6), SECOND)
    print(f"with a ControlNet: {far(made, expected):.1e} from our own render")
    assert far(made, expected) < 1e-4
    assert far(made, in_comfyui(comfy, patched, noise(6), SECOND)) > 2e-3


def test_interrupted_in_the_middle_and_run_again(comfy: Any, model: Any) -> None:
    patched = used(model, recorded(comfy, model, noise(5), FIRST))
    whole = in_comfyui(comfy, patched, noise(6), SECOND)

    def stop(step: int, *_: object) -> None:
        if step == 1:
            raise comfy.model_management.InterruptProcessingException

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        in_comfyui(comfy, patched, noise(9), FIRST, callback=stop)
    assert torch.equal(in_comfyui(comfy, patched, noise(6), SECOND), whole)


@pytest.mark.parametrize("sampler", ["heun", "dpm_2", "dpmpp_2m", "lcm", "dpmpp_2m_sde"])
def test_other_samplers_record_and_use(sampler: str, comfy: Any, model: Any) -> None:
    source = recorded(comfy, model, noise(5), FIRST, sampler)
    again = in_comfyui(comfy, used(model, source), noise(5), FIRST, sampler)
    assert again.isfinite().all()
    other = in_comfyui(comfy, used(model, source), noise(6), SECOND, sampler)
    assert far(other, in_comfyui(comfy, model, noise(6), SECOND, sampler)) > 1e-3


def test_a_lora_after_record_source_still_records(comfy: Any, model: Any) -> None:
    from masactrl_video.comfyui.nodes import RecordedSource, RecordSource

    patched, recording = RecordSource.execute(model, 0).result
    name = "diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_q.weight"
    changed = patched.clone()
    changed.add_patches({name: (0.1 * torch.randn(320, 320),)}, 1.0)
    made = in_comfyui(comfy, changed, noise(5), FIRST)
    source = RecordedSource.execute(recording, {"samples": made}).result[0]
    in_comfyui(comfy, used(changed, source), noise(6), SECOND)
    in_comfyui(comfy, used(model, source), noise(6), SECOND)  # while the LoRA is in the weights


def calls_of_patches(module: Any) -> set[tuple[int, tuple[str | None, ...]]]:
    """How patches are called: number of arguments by place, and names of the others."""
    tree = ast.parse(inspect.getsource(module))
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name))
    return {
        (len(call.args), tuple(each.arg for each in call.keywords)) for call in calls if call.func.id in ("p", "patch")
    }


def test_the_stand_ins_call_patches_as_comfyui_does(comfy: Any) -> None:
    attention = importlib.import_module("comfy.ldm.modules.attention")
    theirs, own = (list(inspect.signature(each).parameters) for each in (attention.attention_pytorch, joint.attention))
    assert theirs == own
    assert calls_of_patches(stand_in) <= calls_of_patches(attention)
    for name in ("flux.layers", "qwen_image.model"):
        found = calls_of_patches(importlib.import_module(f"comfy.ldm.{name}"))
        before_places = {call for call in found if "pe" in call[1]}
        assert before_places in (set(), calls_of_patches(joint))  # older ones have none
    source = inspect.getsource(attention.wrap_attn)
    for word in ('"_inside_attn_wrapper"', '["optimized_attention_override"](func, *args, **kwargs)'):
        assert word in source


def test_the_extension_names_its_nodes(comfy: Any) -> None:
    from masactrl_video.comfyui.nodes import comfy_entrypoint

    async def schemas() -> list[Any]:
        extension = await comfy_entrypoint()
        return [node.GET_SCHEMA() for node in await extension.get_node_list()]

    found = asyncio.run(schemas())
    assert {schema.node_id for schema in found} >= {"MasaCtrlRecordSource", "MasaCtrlUseSource"}
    apart = {schema.node_id for schema in found if schema.not_idempotent}
    assert apart == {"MasaCtrlRecordSource"}  # two with the same inputs record two sources
    assert Path(os.environ["COMFYUI_PATH"]).is_dir()
