"""S and L, or explicit lists, become steps and layers; what does not exist is refused."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_models
from diffusers import UNet2DConditionModel

from masactrl_video.attention.plan import plan_control
from masactrl_video.errors import UserError


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    return tiny_models.sd1_unet()


def test_s_and_l_count_from_0_and_are_included(unet: UNet2DConditionModel) -> None:
    plan = plan_control(unet, 50)
    assert (plan.steps[0], plan.steps[-1], len(plan.steps)) == (4, 49, 46)
    assert [layer.index for layer in plan.layers] == list(range(10, 16))
    assert plan.mode == "source"
    assert plan.mask_layers == ()


def test_explicit_lists_replace_s_and_l(unet: UNet2DConditionModel) -> None:
    plan = plan_control(unet, 10, masa_steps=[7, 2, 2], masa_layers=["up_blocks.3", "6"])
    assert plan.steps == (2, 7)
    assert [layer.index for layer in plan.layers] == [6, 13, 14, 15]


def test_s_past_the_last_step_controls_nothing(unet: UNet2DConditionModel) -> None:
    assert plan_control(unet, 10, masa_step=10).steps == ()
    assert plan_control(unet, 10, masa_step=99).steps == ()


def test_masked_mode_knows_the_layers_of_the_map(unet: UNet2DConditionModel) -> None:
    plan = plan_control(unet, 10, mode="masked", mask_grid_divisor=4)
    assert [layer.index for layer in plan.mask_layers] == [4, 5, 7, 8, 9]


def test_masked_mode_may_begin_behind_the_first_layer_of_the_map(unet: UNet2DConditionModel) -> None:
    plan_control(unet, 10, masa_layer=5, mode="masked", mask_grid_divisor=4)
    with pytest.raises(UserError, match=r"cannot control layer 4: .*layers 4, 5, 7, 8, 9, .*start at layer 5"):
        plan_control(unet, 10, masa_layer=4, mode="masked", mask_grid_divisor=4)
    plan_control(unet, 10, masa_layer=0, mode="masked")  # with given masks


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"masa_step": -1}, "masa_step: got -1"),
        ({"masa_layer": 17}, "masa_layer: got 17"),
        ({"masa_steps": [3, 10]}, "masa_steps: got 10; of 10 denoising steps the first is 0 and the last 9"),
        ({"masa_steps": [-1]}, "masa_steps: got -1"),
        ({"masa_layers": ["up_blocks.7"]}, r"no self-attention layer matches 'up_blocks\.7'"),
        ({"mask_grid_divisor": 16}, "mask_grid_divisor: got 16"),
    ],
)
def test_what_the_model_does_not_have_is_refused(
    unet: UNet2DConditionModel, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        plan_control(unet, 10, **arguments)


def test_a_mode_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match="attention_mode: got 'mask'; give source, union, masked"):
        plan_control(tiny_models.sd1_unet(), 4, mode="mask")  # type: ignore[arg-type]
