"""Record Source and Use Source on a stand-in of ComfyUI's FLUX."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from comfyui.stand_in import Model, sample
from comfyui.stand_in_transformers import TEXT, Flux
from torch import nn

from masactrl_video.comfyui.calls import Call
from masactrl_video.comfyui.families import FAMILIES, QWEN, ZIMAGE
from masactrl_video.comfyui.recording import Source, finished, record_source
from masactrl_video.comfyui.using import Part, Where, use_source
from masactrl_video.comfyui.words import Words
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.registry import backbones

ALL, FROM_SECOND = Where("source", 0, 0), Where("union", 1, 1)
START = torch.randn(1, 4, 6, 8, generator=torch.Generator().manual_seed(1))


def flux(new: bool = True) -> Model:
    torch.manual_seed(0)
    return Model(Flux(new))


def prompt(seed: int, tokens: int = 3) -> torch.Tensor:
    return torch.randn(1, tokens, TEXT, generator=torch.Generator().manual_seed(seed))


def recorded(model: Model, seed: int = 2, start: torch.Tensor = START, **options: Any) -> Source:
    patched, recording = record_source(model)
    return finished(recording, sample(patched, start, prompt(seed), **options))


@pytest.mark.parametrize("new", [True, False], ids=["keys before places", "places taken out"])
def test_the_source_asked_with_its_own_prompt_is_the_source_again(new: bool) -> None:
    model = flux(new)
    plain, source = sample(model, START, prompt(2)), recorded(model)
    assert torch.equal(source.latents, plain)
    assert torch.allclose(sample(use_source(model, Part(source), ALL), START, prompt(2)), plain, atol=1e-5)
    assert torch.equal(sample(model, START, prompt(2)), plain)


def test_both_ways_to_keys_are_one() -> None:
    sources = [recorded(flux(new)) for new in (True, False)]
    first, second = (source.recorded.read(1).keys for source in sources)
    assert all(torch.allclose(first[name], second[name], atol=1e-5) for name in first)
    made = [
        sample(use_source(flux(new), Part(source), FROM_SECOND), START.flip(2), prompt(3))
        for new, source in zip((True, False), sources, strict=True)
    ]
    assert torch.allclose(*made, atol=1e-5)
    assert not torch.allclose(made[0], sample(flux(), START.flip(2), prompt(3)), atol=1e-2)


def test_rows_prompts_and_sizes_may_differ() -> None:
    model, frames = flux(), torch.cat([START, START.flip(2)])
    source = recorded(model, start=START.transpose(2, 3).contiguous())
    used = use_source(model, Part(source), FROM_SECOND)
    made = [
        sample(used, frames, prompt(3, 5), **way) for way in ({}, {"together": False}, {"orders": [(0, 1), (1, 0)]})
    ]
    assert all(torch.allclose(each, made[0], atol=1e-5) for each in made)
    one = sample(use_source(model, Part(recorded(model, scale=1.0)), FROM_SECOND), START, prompt(3), scale=1.0)
    assert one.isfinite().all()


def test_references_behind_the_picture_stay_the_frame_s_own() -> None:
    model = flux()
    model.options = {"references": [torch.randn(1, 12, 16, generator=torch.Generator().manual_seed(4))]}
    plain, source = sample(model, START, prompt(2)), recorded(model)
    again = sample(use_source(model, Part(source), ALL), START, prompt(2))
    assert torch.allclose(again, plain, atol=1e-5)
    assert source.recorded.read(0).keys["transformer_blocks.0.attn"].shape[1] == 12


def test_words_that_fill_a_prompt_up_stay_hidden() -> None:
    model = flux()
    model.options = {"mask": torch.zeros(2, 1, 15)}
    model.options["mask"][:, :, 2] = -1e4
    plain, source = sample(model, START, prompt(2)), recorded(model)
    assert torch.allclose(sample(use_source(model, Part(source), ALL), START, prompt(2)), plain, atol=1e-5)
    model.options["mask"][:, :, 7] = -1.0
    with pytest.raises(UserError, match="mask of attention between prompt and picture"):
        sample(use_source(model, Part(source), ALL), START, prompt(2))


def test_words_are_looked_for_among_the_prompt_s_tokens() -> None:
    model, words = flux(), Words((1,))
    patched, recording = record_source(model, words=words)
    source = finished(recording, sample(patched, START, prompt(2)))
    assert source.knows_object() and source.recorded.read(0).object_map.shape == (3, 4)
    used = use_source(model, Part(source, target_words=words), Where("masked", 0, 1))
    whole = sample(used, START.flip(2), prompt(3))
    assert torch.allclose(sample(used, START.flip(2), prompt(3), together=False), whole, atol=1e-5)
    plain = use_source(model, Part(source), Where("source", 0, 1))
    assert not torch.allclose(whole, sample(plain, START.flip(2), prompt(3)), atol=1e-3)


def test_another_node_s_override_is_asked_as_before() -> None:
    model, asked = flux(), []

    def another(function: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
        asked.append(len(args))
        return function(*args, **kwargs)

    model.options = {"optimized_attention_override": another}
    source = recorded(model)
    assert asked
    sample(use_source(model, Part(source), ALL), START, prompt(3))


def test_a_block_that_another_node_replaces_is_left_to_it(caplog: pytest.LogCaptureFixture) -> None:
    model = flux()
    source = recorded(model)
    model.options = {"patches_replace": {"dit": {("double_block", 1): lambda args: args}}}
    sample(use_source(model, Part(source), ALL), START, prompt(3))
    assert "another node replaces block transformer_blocks.1 in this call" in caplog.text
    with pytest.raises(UserError, match=r"the attention of transformer_blocks.1 was not seen"):
        recorded(model)


def test_where_nothing_acts_it_is_refused() -> None:
    model, source = flux(), recorded(flux())
    model.model.diffusion_model.single_blocks[0].forward = lambda x, **_: x
    with pytest.raises(UserError, match=r"single_transformer_blocks.0 was never asked"):
        sample(use_source(model, Part(source), ALL), START, prompt(3))
    with pytest.raises(UserError, match=r"single_transformer_blocks.0 was not seen"):
        recorded(model)


def test_an_interrupted_run_leaves_no_hook() -> None:
    model = flux()
    patched = use_source(model, Part(recorded(model)), ALL)
    whole = sample(patched, START, prompt(3))
    with pytest.raises(KeyboardInterrupt):
        sample(patched, START, prompt(3), stop_at=2)
    assert torch.equal(sample(patched, START, prompt(3)), whole)
    assert not any(module._forward_pre_hooks for module in model.model.diffusion_model.modules())


def test_a_source_of_other_weights_is_refused() -> None:
    source = recorded(flux())
    torch.manual_seed(1)
    with pytest.raises(UserError, match="other weights"):
        use_source(Model(Flux()), Part(source), ALL)


def test_what_is_no_single_picture_is_refused() -> None:
    def call(x: torch.Tensor, **named: Any) -> Call:
        return Call(lambda *_: x, (x,), named)

    with pytest.raises(UserError, match="3 frames or layers"):
        QWEN.check_call(call(torch.zeros(1, 16, 3, 8, 8)))
    with pytest.raises(UserError, match="Omni"):
        ZIMAGE.check_call(call(torch.zeros(1, 16, 8, 8), ref_latents=[1]))
    with pytest.raises(UserError, match="Lumina 2"):
        ZIMAGE.check(SimpleNamespace(pad_tokens_multiple=None))
    with pytest.raises(UserError, match="Linear is not known"):
        record_source(Model(nn.Linear(1, 1)))
    with pytest.raises(UserError, match="too old or too new"):
        _ = Call(lambda *_: START, (START,), {}).options


def test_branches_are_called_as_in_our_own_render() -> None:
    """Masks by words grow from layer to layer: a call of the negative prompt alone has all maps from the first on."""
    ours = {backbone.title: backbone.calls_each_branch for backbone in backbones()}
    ours["FLUX"] = False  # where a source acts our own render joins FLUX.1's branches, as ComfyUI does
    assert [family.calls_each_branch for family in FAMILIES] == [ours[family.title] for family in FAMILIES]
