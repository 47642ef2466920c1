"""FLUX.1's joint attention, opened up on pipelines as their users hold them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tiny_flux
import tiny_models
import torch
from diffusers.models.transformers.transformer_flux import FluxIPAdapterAttnProcessor

from masactrl_video.attention.plan import plan_control
from masactrl_video.attention.record import record_source
from masactrl_video.attention.use import use_source
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer, TextCall
from masactrl_video.model.backbones.branches import GUIDED
from masactrl_video.model.backbones.flux.packing import grid_of, places
from masactrl_video.model.backbones.joint.packing import pack, unpack
from masactrl_video.model.backbones.qkv import QKV
from masactrl_video.model.backbones.registry import backbone_of


@pytest.fixture
def pipe() -> Any:
    return tiny_flux.pipeline(guidance=True)


def picture(pipe: Any, prompt: str, seed: int = 0, size: tuple[int, int] = (64, 96)) -> torch.Tensor:
    latents: torch.Tensor = pipe(
        prompt, height=size[0], width=size[1], num_inference_steps=2, output_type="latent",
        generator=torch.Generator().manual_seed(seed), max_sequence_length=tiny_flux.TOKENS,
    ).images  # fmt: skip
    return latents


def processors(pipe: Any) -> list[object]:
    return [module.processor for name, module in pipe.transformer.named_modules() if name.endswith(".attn")]


def test_a_frame_that_queries_the_source_makes_no_keys_and_values_of_its_picture(pipe: Any) -> None:
    with record_source(pipe.transformer, masa_layer=0) as source:
        picture(pipe, "a bear")
    tokens: dict[str, set[int]] = {}
    modules = [(name, module) for name, module in pipe.transformer.named_modules() if name.endswith((".to_k", ".to_v"))]
    for name, module in modules:
        seen = tokens.setdefault(name, set())
        module.register_forward_pre_hook(lambda _, args, seen=seen: seen.add(args[0].shape[1]))
    with use_source(pipe.transformer, source, masa_step=0, masa_layer=0):
        picture(pipe, "a frog", seed=1)
    assert len(tokens) == 10
    for name, seen in tokens.items():
        assert seen == ({tiny_flux.TOKENS} if name.startswith("single") else set())


@pytest.mark.parametrize("backend", [None, "native"])
def test_a_source_recorded_on_a_users_pipeline_comes_again_and_another_changes_the_frame(
    pipe: Any, backend: str | None
) -> None:
    if backend is not None:
        pipe.transformer.set_attention_backend(backend)
    before = processors(pipe)
    plain, other = picture(pipe, "a bear"), picture(pipe, "a frog", seed=1)
    with record_source(pipe.transformer, masa_layer=0) as bear:
        assert torch.equal(picture(pipe, "a bear"), plain)
    with record_source(pipe.transformer, masa_layer=0) as panda:
        picture(pipe, "a panda in the snow", seed=2)
    frames = []
    for source in (bear, panda):
        with use_source(pipe.transformer, source, masa_step=0, masa_layer=0) as control:
            frames.append(picture(pipe, "a frog", seed=1))
        assert control.count.fired.total() == 2 * 5
    with use_source(pipe.transformer, bear, masa_step=0, masa_layer=0):
        assert (picture(pipe, "a bear") - plain).abs().max() < 1e-5
    assert processors(pipe) == before
    assert (frames[0] - other).abs().max() > 1e-3 < (frames[0] - frames[1]).abs().max()
    assert torch.equal(picture(pipe, "a frog", seed=1), other)


def test_processors_come_off_after_an_exception(pipe: Any) -> None:
    before = processors(pipe)
    with record_source(pipe.transformer, masa_layer=0) as source:
        picture(pipe, "a bear")
    with (
        pytest.raises(ZeroDivisionError),
        use_source(pipe.transformer, source, masa_step=0, masa_layer=0),
    ):
        assert processors(pipe) != before
        raise ZeroDivisionError
    assert processors(pipe) == before


def test_a_source_that_is_empty_or_still_being_recorded_is_refused(pipe: Any) -> None:
    with (
        record_source(pipe.transformer, masa_layer=0) as source,
        pytest.raises(UserError, match=r"the source holds no step: nothing was denoised inside record_source"),
        use_source(pipe.transformer, source, masa_step=0, masa_layer=0),
    ):
        picture(pipe, "a frog")
    assert not source.timesteps


def test_two_pictures_in_a_call_and_an_ip_adapter_are_refused(pipe: Any) -> None:
    with pytest.raises(UserError, match="a source is one image"), record_source(pipe.transformer, masa_layer=0):
        pipe(
            "a bear", height=64, width=64, num_inference_steps=1, num_images_per_prompt=2, output_type="latent",
            max_sequence_length=tiny_flux.TOKENS,
        )  # fmt: skip
    module = pipe.transformer.transformer_blocks[1].attn
    module.processor = FluxIPAdapterAttnProcessor(32, 32)
    with pytest.raises(UserError, match="an IP-Adapter"), record_source(pipe.transformer, masa_layer=0):
        pass


def test_layers_are_in_forward_order_with_the_grid_of_packed_latents(pipe: Any) -> None:
    layers = backbone_of(pipe).layers(pipe.transformer)
    assert [layer.name for layer in layers] == [
        "transformer_blocks.0.attn",
        "transformer_blocks.1.attn",
        *(f"single_transformer_blocks.{number}.attn" for number in range(3)),
    ]
    assert {layer.kind for layer in layers} == {"joint"}
    assert layers[0].grid((8, 12)) == (4, 6)
    assert [layer.index for layer in backbone_of(pipe).map_layers(layers, 2)] == [0, 1]


def opened(pipe: Any, see: Callable[[AttentionLayer, QKV], None], size: tuple[int, int] = (64, 96)) -> None:
    backbone = backbone_of(pipe)
    layers = backbone.layers(pipe.transformer)
    with backbone.attending(pipe.transformer, {layer.name: see for layer in layers}, {}):
        picture(pipe, "a bear", size=size)


def test_a_recorded_key_with_its_places_is_the_key_of_the_network(pipe: Any) -> None:
    seen = []

    def see(layer: AttentionLayer, qkv: QKV) -> None:
        assert torch.equal(qkv.placed(qkv.unplaced_key, (4, 6)), qkv.key)
        assert not torch.equal(qkv.unplaced_key, qkv.key)
        assert qkv.text is not None
        assert torch.equal(qkv.text.key, qkv.text.unplaced_key)  # the text has no places
        assert (qkv.text.tokens, qkv.tokens) == (tiny_flux.TOKENS, 24)
        seen.append(layer.name)

    opened(pipe, see)
    assert len(seen) == 2 * 5


def test_fused_projections_give_the_same(pipe: Any) -> None:
    found: list[list[torch.Tensor]] = [[], []]
    for kept in found:
        opened(pipe, lambda layer, qkv, kept=kept: kept.extend([qkv.key, qkv.value]))  # type: ignore[misc]
        pipe.transformer.fuse_qkv_projections()
    for one, two in zip(*found, strict=True):
        assert (one - two).abs().max() < 1e-5


def test_attention_to_the_words_is_shared_out_among_them(pipe: Any) -> None:
    backbone, maps = backbone_of(pipe), []

    def keep(layer: AttentionLayer, call: TextCall, out: torch.Tensor) -> torch.Tensor:
        maps.append((call.word_map([1], slice(-1, None)), call.word_map(range(tiny_flux.TOKENS), slice(-1, None))))
        return out

    with backbone.attending(pipe.transformer, {}, {"transformer_blocks.0.attn": [keep]}):
        picture(pipe, "a bear")
    one, all_words = maps[0]
    assert one.shape == (1, 24)
    assert torch.allclose(all_words, torch.ones(1, 24))
    assert 0 < one.min() < one.max() < 1


def test_packing_is_that_of_diffusers(pipe: Any) -> None:
    latents = torch.randn(2, 4, 8, 12)
    packed = pack(latents)
    assert torch.equal(packed, pipe._pack_latents(latents, 2, 4, 8, 12))
    assert torch.equal(unpack(packed, 8, 12), latents)
    ids = pipe._prepare_latent_image_ids(1, 4, 6, "cpu", torch.float32)
    assert torch.equal(places((4, 6)), ids)
    assert grid_of(ids) == (4, 6)
    assert grid_of(torch.cat([ids, ids])) is None


def test_a_translation_of_frame_and_source_together_changes_no_score(pipe: Any) -> None:
    """Keys at places count by their distance from the query; without places they count alike from everywhere."""

    def see(layer: AttentionLayer, qkv: QKV) -> None:
        moved = qkv.placed(qkv.unplaced_key, (4, 6), (5, 7))
        query = qkv.placed(qkv.unplaced_key, (4, 6))
        query_moved = qkv.placed(qkv.unplaced_key, (4, 6), (5, 7))
        here, there = query @ qkv.key.transpose(-1, -2), query_moved @ moved.transpose(-1, -2)
        assert (here - there).abs().max() < 1e-4
        assert (here - query @ moved.transpose(-1, -2)).abs().max() > 1e-3

    opened(pipe, see)


def test_a_picture_beside_the_frame_is_the_right_half_of_a_wider_one(pipe: Any) -> None:
    def see(layer: AttentionLayer, qkv: QKV) -> None:
        key = qkv.unplaced_key
        wide = torch.cat([half.unflatten(2, (4, 6)) for half in (torch.zeros_like(key), key)], dim=3).flatten(2, 3)
        right = qkv.placed(wide, (4, 12)).unflatten(2, (4, 12))[:, :, :, 6:].flatten(2, 3)
        assert torch.equal(right, qkv.placed(key, (4, 6), (0, 6)))

    opened(pipe, see)


def test_only_keys_with_places_can_be_put_elsewhere() -> None:
    with pytest.raises(UserError, match=r"source_positions free: the keys of Stable Diffusion .* hold no places"):
        plan_control(tiny_models.sd1_unet(), 4, positions="free")


REAL = {
    "height": 64, "width": 64, "num_inference_steps": 2, "max_sequence_length": tiny_flux.TOKENS,
    "negative_prompt": "blue", "true_cfg_scale": 3.0, "output_type": "latent",
}  # fmt: skip


def test_real_guidance_in_two_calls_is_recorded_and_used(pipe: Any) -> None:
    def drawn(prompt: str, seed: int) -> torch.Tensor:
        out: torch.Tensor = pipe(prompt, generator=torch.Generator().manual_seed(seed), **REAL).images
        return out

    plain = drawn("a frog", 1)
    with record_source(pipe.transformer, masa_layer=0, branches=GUIDED) as source:
        first = drawn("a bear", 0)
    with use_source(pipe.transformer, source, masa_step=0, masa_layer=0, branches=GUIDED) as control:
        again, frog = drawn("a bear", 0), drawn("a frog", 1)
    assert control.count.fired.total() == 2 * 2 * 2 * 5  # pictures, steps, branches, layers
    assert (again - first).abs().max() < 1e-5
    assert (frog - plain).abs().max() > 1e-3


def test_real_guidance_that_is_not_told_is_refused_and_not_mixed_up(pipe: Any) -> None:
    with record_source(pipe.transformer, masa_layer=0) as source:
        picture(pipe, "a bear", size=(64, 64))
    with (
        pytest.raises(UserError, match=r"came twice.* branches=GUIDED .*true_cfg_scale"),
        record_source(pipe.transformer, masa_layer=0),
    ):
        pipe("a bear", **REAL)
    with (
        pytest.raises(UserError, match=r"two calls at timestep .*\(true_cfg_scale\).* branches=GUIDED"),
        use_source(pipe.transformer, source, masa_step=0, masa_layer=0),
    ):
        pipe("a bear", **REAL)


def test_a_source_of_another_size_is_refused_where_its_keys_have_places(pipe: Any) -> None:
    pipe.scheduler = tiny_flux.scheduler(use_dynamic_shifting=False)  # as schnell's: all sizes have the same timesteps
    with record_source(pipe.transformer, masa_layer=0) as source:
        picture(pipe, "a bear", size=(64, 64))
    with use_source(pipe.transformer, source, masa_step=0, masa_layer=0, positions="free"):
        picture(pipe, "a frog")
    with (
        pytest.raises(UserError, match=r"16 tokens, and the picture 4 x 6: .* at one size, or take positions free"),
        use_source(pipe.transformer, source, masa_step=0, masa_layer=0),
    ):
        picture(pipe, "a frog")
