"""Which backbone a pipeline or its denoiser belongs to."""

from __future__ import annotations

import pytest
import tiny_models
import torch
from diffusers import StableDiffusionPipeline

from masactrl_video.attention.record import record_source
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.registry import _checked, backbone_of, backbones
from masactrl_video.model.diffusion import DiffusionModel


class OwnPipeline(StableDiffusionPipeline):  # type: ignore[misc]
    """As people write them."""


def test_a_pipeline_and_its_denoiser_are_known_by_their_class_or_one_that_it_inherits() -> None:
    pipe = tiny_models.sd1_pipeline()
    own = OwnPipeline(**pipe.components, requires_safety_checker=False)
    unet = next(backbones())
    assert all(backbone_of(one) is unet for one in (pipe, own, pipe.unet, tiny_models.sdxl_unet()))
    assert backbone_of(torch.compile(pipe.unet)) is unet
    model = DiffusionModel(own)
    assert model.denoiser is model.unet is pipe.unet
    assert model.native_size_px == (128, 128)


def test_another_kind_of_network_is_refused() -> None:
    with (
        pytest.raises(UserError, match="a Linear is of no kind of model that can be controlled here"),
        record_source(torch.nn.Linear(2, 2)),
    ):
        pass


def test_a_layer_that_the_network_does_not_have_is_refused() -> None:
    unet = tiny_models.sd1_unet()
    before = unet.attn_processors
    with (
        pytest.raises(UserError, match="no attention layer named 'none'"),
        backbone_of(unet).attending(unet, {"none": lambda layer, qkv: None}, {}),
    ):
        pass
    assert unet.attn_processors == before


def test_an_added_object_that_is_no_backbone_is_refused_with_what_it_lacks() -> None:
    with pytest.raises(UserError, match=r"negatives is no backbone: it lacks attending, .*see docs/plug-points\.md"):
        _checked("negatives", object())


def test_an_unknown_family_is_told_which_are_known_and_how_to_add_it() -> None:
    with pytest.raises(
        UserError, match=r"XL, FLUX\.1.* and .* are possible \(Stable.*; docs/plug-points\.md says"
    ) as told:
        backbone_of(torch.nn.Linear(2, 2))
    assert "\n" not in str(told.value)
