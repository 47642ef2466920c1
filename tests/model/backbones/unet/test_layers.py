"""Self-attention layers are counted in the order in which a forward pass really reaches them."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_models
import torch
from diffusers import UNet2DConditionModel, UNet3DConditionModel, UNetMotionModel

from masactrl_video.attention.plan import layers_from, layers_named
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.unet.layers import mask_layers, self_attention_layers


def sd1() -> tuple[UNet2DConditionModel, dict[str, Any]]:
    return tiny_models.sd1_unet(), {}


def sdxl() -> tuple[UNet2DConditionModel, dict[str, Any]]:
    added = {"text_embeds": torch.zeros(1, tiny_models.TEXT_WIDTH), "time_ids": torch.zeros(1, 6)}
    return tiny_models.sdxl_unet(), {"added_cond_kwargs": added}


def seen_in_a_forward_pass(unet: Any, extra: dict[str, Any], size: tuple[int, int]) -> list[tuple[str, Any, int]]:
    """Name, grid and channels of the keys of every self-attention, as hooks on the modules see them fire."""
    grids: list[tuple[int, int]] = []
    seen = []
    for name, module in unet.named_modules():
        if type(module).__name__ == "Transformer2DModel":
            module.register_forward_pre_hook(lambda _, args, kwargs: grids.append((args or (kwargs["hidden_states"],))[0].shape[-2:]), with_kwargs=True)  # fmt: skip # noqa: E501
        if name.endswith(".attn1.to_k"):
            name = name.removesuffix(".to_k")
            module.register_forward_hook(
                lambda _, args, out, name=name: seen.append((name, tuple(grids[-1]), args[0].shape[1], out.shape[-1]))
            )
    with torch.no_grad():
        unet(torch.randn(1, 4, *size), 10, torch.zeros(1, 5, unet.config.cross_attention_dim), **extra)
    assert all(height * width == tokens for _, (height, width), tokens, _ in seen)
    return [(name, grid, channels) for name, grid, _, channels in seen]


@pytest.mark.parametrize("size", [(16, 16), (9, 16), (7, 13), (24, 8), (5, 11)])
@pytest.mark.parametrize("layout", [sd1, sdxl])
def test_order_grids_and_channels_are_those_of_a_forward_pass(layout: Any, size: tuple[int, int]) -> None:
    unet, extra = layout()
    layers = self_attention_layers(unet)
    seen = seen_in_a_forward_pass(unet, extra, size)
    assert [(layer.name, layer.grid(size), layer.key_channels) for layer in layers] == seen
    assert [layer.index for layer in layers] == list(range(len(seen)))


@pytest.mark.parametrize("layout", [sd1, sdxl])
def test_a_layers_processors_are_in_the_unet(layout: Any) -> None:
    unet, _ = layout()
    layers = self_attention_layers(unet)
    assert {key for layer in layers for key in (layer.self_processor, layer.cross_processor)} == set(
        unet.attn_processors
    )


def test_sd1_has_16_layers_and_masactrls_last_six_are_in_the_last_two_blocks() -> None:
    layers = self_attention_layers(tiny_models.sd1_unet())
    assert len(layers) == 16
    assert layers[6].block.startswith("mid_block")
    assert {layer.block[:11] for layer in layers[10:13]} == {"up_blocks.2"}
    assert {layer.block[:11] for layer in layers[13:]} == {"up_blocks.3"}


def test_real_sdxl_has_70_layers() -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=128,
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )
    layers = self_attention_layers(unet)
    assert len(layers) == 70
    assert [layers[index].grid((128, 128)) for index in (0, 33, 34, 64, 69)] == [
        (64, 64),
        (32, 32),
        (32, 32),
        (64, 64),
        (64, 64),
    ]


def test_layers_are_picked_by_number_name_or_block() -> None:
    layers = self_attention_layers(tiny_models.sd1_unet())
    assert [layer.index for layer in layers_named(layers, ["up_blocks.3", "6"])] == [6, 13, 14, 15]
    assert layers_named(layers, [layers[4].name, "4"]) == (layers[4],)
    assert layers_named(layers, [layers[4].block]) == (layers[4],)
    assert layers_named(layers, []) == ()


@pytest.mark.parametrize("name", ["16", "-1", "up_blocks.9", "up_blocks.", "up_block", "attn1", ""])
def test_a_name_that_matches_no_layer_is_refused(name: str) -> None:
    layers = self_attention_layers(tiny_models.sd1_unet())
    with pytest.raises(UserError, match=r"masa_layers: .*this model has 0 to 15 in down_blocks\.0\.attentions\.0"):
        layers_named(layers, ["3", name])


def test_l_may_be_one_past_the_last_layer_and_no_more() -> None:
    layers = self_attention_layers(tiny_models.sd1_unet())
    assert [layer.index for layer in layers_from(layers, 13)] == [13, 14, 15]
    assert layers_from(layers, 16) == ()
    for wrong in (17, -1):
        with pytest.raises(UserError, match="has 16 self-attention layers, so give 0 to 16"):
            layers_from(layers, wrong)


def test_mask_layers_are_the_five_of_the_paper() -> None:
    layers = self_attention_layers(tiny_models.sd1_unet())
    found = mask_layers(layers, 4)  # 16x16 at 512x512
    assert [layer.index for layer in found] == [4, 5, 7, 8, 9]
    assert {layer.grid((64, 64)) for layer in found} == {(16, 16)}
    with pytest.raises(UserError, match="got 3; this UNet has cross-attention at 1, 2, 4, 8"):
        mask_layers(layers, 3)


def test_layers_that_attend_over_time_are_no_self_attention_of_a_picture() -> None:
    small: dict[str, Any] = {"block_out_channels": (8, 16), "norm_num_groups": 4, "cross_attention_dim": 16}
    motion = UNetMotionModel(
        **small,
        down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
        up_block_types=("UpBlockMotion", "CrossAttnUpBlockMotion"),
        layers_per_block=1,
        num_attention_heads=2,
        motion_num_attention_heads=2,
    )
    temporal = UNet3DConditionModel(
        **small,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        layers_per_block=1,
        attention_head_dim=4,
    )
    for unet in (motion, temporal):
        with pytest.raises(UserError, match=rf"a {type(unet).__name__} attends over time \(.*\): mutual"):
            self_attention_layers(unet)  # type: ignore[arg-type]
