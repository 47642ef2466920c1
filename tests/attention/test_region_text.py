"""Regions with prompts of their own: what each token reads, against attention spelled out token by token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from attention.test_region_control import LEFT, PROMPT, both, plan_for
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from tiny_families import FAMILIES, Family, pipeline

from masactrl_video.attention.parts import SourcePart
from masactrl_video.attention.region_text import ReadByRegion
from masactrl_video.attention.use import control_attention
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.branches import GUIDED
from masactrl_video.model.backbones.unet.attention import CrossAttentionCall
from masactrl_video.model.backbones.unet.layers import Layer
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import check_region_prompts
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.control import planned_control

Draw = Callable[..., torch.Tensor]


def text_of(pipe: Any, prompt: str) -> torch.Tensor:
    encoded: torch.Tensor = pipe.encode_prompt(
        prompt, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
    )[0]
    return encoded


def test_inside_a_region_its_prompt_is_read_and_nowhere_else() -> None:
    torch.manual_seed(0)
    attn = Attention(16, cross_attention_dim=24, heads=2, dim_head=8).eval()
    layer = Layer(0, "block", 2, 16)
    states, text, own = torch.randn(4, 24, 16), torch.randn(4, 5, 24), torch.randn(1, 5, 24)  # 2 branches x 2 frames
    reading = ReadByRegion(GUIDED, lambda: (8, 12), [(LEFT, own)])
    with torch.no_grad():
        elsewhere, inside = attn(states, text), attn(states, own.expand(4, -1, -1))
        out = reading(layer, CrossAttentionCall(attn, AttnProcessor2_0(), states, text), elsewhere)
    left = (torch.arange(24) % 6) < 3  # the layer's grid is 4 x 6
    assert torch.equal(out[:2], elsewhere[:2])  # the unconditional branch
    assert torch.allclose(out[2:, ~left], elsewhere[2:, ~left])
    assert torch.allclose(out[2:, left], inside[2:, left], atol=1e-6)
    assert (inside - elsewhere)[2:, left].abs().max() > 1e-3


@pytest.mark.parametrize("region", ["boxes", "words in boxes"])
def test_figures_read_their_own_prompts_and_find_their_words_there(pipe: Any, draw: Draw, region: str) -> None:
    sources, plan = both(pipe, draw, region), plan_for(pipe)
    before = pipe.unet.attn_processors

    def run(*sources: SourcePart) -> torch.Tensor:
        with control_attention(pipe.unet, sources, plan) as control:
            drawn = draw(pipe, PROMPT)
        assert control.figures.owned[0] > 0 < control.figures.owned[1]
        return drawn

    plain = run(*sources)
    same = [replace(source, text=text_of(pipe, PROMPT)) for source in sources]
    assert (run(*same) - plain).abs().max() < 1e-4
    other = run(sources[0], replace(sources[1], text=text_of(pipe, f"in the snow the {PROMPT}")))
    assert (other - plain).abs().max() > 1e-3
    assert pipe.unet.attn_processors == before


def test_a_prompt_without_a_region_is_refused(sd1: Any, draw: Draw) -> None:
    source = both(sd1, draw, "words")[0]
    with pytest.raises(UserError, match="needs a region"):
        replace(source, text=text_of(sd1, PROMPT))


CAST = {"clip": "clip.mp4", "model": "tiny", "prompt": "a bear", "guidance": ["pose"], "cast": {"0": "hero"}}
CAST |= {"controls": {"pose": {"kind": "pose", "adapter": "controlnet", "model": "net"}}, "num_inference_steps": 2}


@pytest.mark.parametrize("family", [pytest.param(family, id=family.name) for family in FAMILIES])
def test_a_model_that_reads_one_prompt_says_so_before_anything_is_recorded(family: Family) -> None:
    model, about = DiffusionModel(pipeline(family.name)), {"scheduler": family.scheduler, "masa_layer": 0}
    about |= {"masa_step": 1, "mask_grid_divisor": 2}
    own = Settings.model_validate(CAST | about | {"cast_prompts": {"0": "a frog"}})
    with pytest.raises(UserError, match=r"regions with prompts of their own: .+ one prompt for the whole picture"):
        planned_control(own, model, (64, 64))
    planned_control(Settings.model_validate(CAST | about), model, (64, 64))
    with pytest.raises(UserError, match="leave the prompts out"):
        check_region_prompts(model, [None, "a frog"])  # as a comic asks
    check_region_prompts(model, [None, None])
