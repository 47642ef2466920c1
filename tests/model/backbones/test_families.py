"""Every family of transformers on pipelines as their users hold them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import FirstBlockCacheConfig
from tiny_families import FAMILIES, Family

from masactrl_video.attention.record import record_source
from masactrl_video.attention.use import use_source
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer
from masactrl_video.model.backbones.branches import UNGUIDED
from masactrl_video.model.backbones.qkv import QKV
from masactrl_video.model.backbones.registry import backbone_of

OURS: dict[str, Any] = {"masa_step": 0, "masa_layer": 0, "branches": UNGUIDED}
each = pytest.mark.parametrize("family", [pytest.param(family, id=family.name) for family in FAMILIES])


def picture(pipe: Any, family: Family, prompt: str, seed: int = 0) -> torch.Tensor:
    made = pipe(
        prompt=prompt, height=64, width=96, num_inference_steps=2, output_type="latent",
        generator=torch.Generator().manual_seed(seed), **family.own_call,
    )  # fmt: skip
    latents: torch.Tensor = getattr(made, family.pictures)
    return latents


def processors(pipe: Any) -> list[object]:
    return [module.processor for module in pipe.transformer.modules() if hasattr(module, "processor")]


@pytest.mark.parametrize("backend", [None, "native"])
@each
def test_a_recorded_source_comes_again_and_another_changes_the_frame(family: Family, backend: str | None) -> None:
    pipe = family.make()
    if backend is not None:
        pipe.transformer.set_attention_backend(backend)
    before = processors(pipe)
    plain, other = picture(pipe, family, "a bear"), picture(pipe, family, "a frog", seed=1)
    sources = []
    for prompt, seed in (("a bear", 0), ("a panda in the snow", 2)):
        with record_source(pipe.transformer, masa_layer=0, branches=UNGUIDED) as source:
            again = picture(pipe, family, prompt, seed)
        sources.append(source)
        assert seed or torch.equal(again, plain)
    frames = []
    for source in sources:
        with use_source(pipe.transformer, source, **OURS) as control:
            frames.append(picture(pipe, family, "a frog", seed=1))
        assert control.count.fired.total() == 2 * family.layers
    with use_source(pipe.transformer, sources[0], **OURS):
        assert (picture(pipe, family, "a bear") - plain).abs().max() < 1e-5
    assert (frames[0] - other).abs().max() > 1e-3 < (frames[0] - frames[1]).abs().max()
    with pytest.raises(ZeroDivisionError), use_source(pipe.transformer, sources[0], **OURS):
        assert processors(pipe) != before
        raise ZeroDivisionError
    assert processors(pipe) == before
    assert torch.equal(picture(pipe, family, "a frog", seed=1), other)


@pytest.mark.parametrize(
    "family", [pytest.param(family, id=family.name) for family in FAMILIES if family.name != "pixart"]
)
def test_another_change_of_the_attention_is_refused(family: Family) -> None:
    pipe = family.make()
    layer = backbone_of(pipe).layers(pipe.transformer)[0]
    pipe.transformer.get_submodule(layer.name).processor = lambda *_, **__: None
    with (
        pytest.raises(UserError, match=r"another change of .*'s attention"),
        record_source(pipe.transformer, masa_layer=0),
    ):
        pass


@pytest.mark.parametrize("family", [pytest.param(f, id=f.name) for f in FAMILIES if f.name in ("qwen", "wan")])
def test_a_cache_that_leaves_out_calls_is_refused(family: Family) -> None:
    pipe = family.make()
    with record_source(pipe.transformer, masa_layer=0, branches=UNGUIDED) as source:
        plain = picture(pipe, family, "a bear")
    pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=5.0))
    refused = pytest.raises(UserError, match=r"a cache is enabled on this \w+, .* call disable_cache\(\) on it first")
    with refused, use_source(pipe.transformer, source, **OURS):
        pass
    with refused, record_source(pipe.transformer, masa_layer=0, branches=UNGUIDED):
        pass
    pipe.transformer.disable_cache()
    with use_source(pipe.transformer, source, **OURS):
        assert (picture(pipe, family, "a bear") - plain).abs().max() < 1e-5


@each
def test_two_pictures_in_a_call_are_refused(family: Family) -> None:
    pipe = family.make()
    with (
        pytest.raises(UserError, match="a source is one image"),
        record_source(pipe.transformer, masa_layer=0, branches=UNGUIDED),
    ):
        pipe(prompt="a bear", height=64, width=64, num_inference_steps=1, **{family.several: 2}, **family.own_call)


@each
def test_a_recorded_key_with_its_places_is_the_key_of_the_network(family: Family) -> None:
    pipe = family.make()
    backbone = backbone_of(pipe)
    layers, seen = backbone.layers(pipe.transformer), []

    def see(layer: AttentionLayer, qkv: QKV) -> None:
        assert qkv.tokens == 24
        assert torch.equal(qkv.placed(qkv.unplaced_key, (4, 6)), qkv.key)
        assert torch.equal(qkv.unplaced_key, qkv.key) != backbone.keys_have_places
        here = torch.stack(torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij"), -1).reshape(24, 2)
        assert torch.equal(qkv.placed_at(qkv.unplaced_key, here), qkv.key)
        there, beside = (here + torch.tensor([0, 6])), qkv.placed(qkv.unplaced_key, (4, 6), (0, 6))
        assert torch.equal(qkv.placed_at(qkv.unplaced_key, there), beside)
        assert backbone.keys_can_move == backbone.keys_have_places
        assert (qkv.text is not None) == (layer.kind == "joint") or family.fills
        seen.append(layer.name)

    with backbone.attending(pipe.transformer, {layer.name: see for layer in layers}, {}):
        picture(pipe, family, "a bear")
    assert seen == 2 * [layer.name for layer in layers]  # in forward order
