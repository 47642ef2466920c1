"""Parts of two models in one are refused when they are loaded, by what each of them reads."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import tiny_models
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.unet.load_controls import check_network
from masactrl_video.model.backbones.unet.parts import check_parts


def plain(network: Any) -> dict[str, Any]:
    """Its configuration without diffusers' own notes, one of which lists the defaults that are not handed on."""
    return {key: value for key, value in network.config.items() if not key.startswith("_")}


def text(part: str, **changes: Any) -> Callable[[Any], None]:
    def spoil(pipe: Any) -> None:
        kind = CLIPTextModelWithProjection if part.endswith("2") else CLIPTextModel
        setattr(pipe, part, kind(CLIPTextConfig(**getattr(pipe, part).config.to_dict() | changes)))

    return spoil


def unet(**changes: Any) -> Callable[[Any], None]:
    return lambda pipe: setattr(pipe, "unet", UNet2DConditionModel.from_config(plain(pipe.unet) | changes))


def vae(**changes: Any) -> Callable[[Any], None]:
    return lambda pipe: setattr(pipe, "vae", AutoencoderKL.from_config(plain(pipe.vae) | changes))


def longest(part: str, tokens: int) -> Callable[[Any], None]:
    return lambda pipe: setattr(getattr(pipe, part), "model_max_length", tokens)


def more_words(pipe: Any) -> None:
    pipe.tokenizer.add_tokens(["<odd>"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            text("text_encoder", hidden_size=24),
            "UNet reads text states of 16 channels, those of its text_encoder have 24",
        ),
        (text("text_encoder", max_position_embeddings=8), "its longest text has 32 tokens, the text_encoder reads 8"),
        (text("text_encoder", vocab_size=100), "its vocabulary has 800 tokens, the text_encoder reads 100"),
        (more_words, "its vocabulary has 801 tokens, the text_encoder reads 800"),
        (unet(in_channels=9), "reads 9 channels where latents have 4: .*inpainting"),
        (unet(out_channels=8), "gives 8 channels where latents have 4"),
        (unet(encoder_hid_dim=16, encoder_hid_dim_type="text_proj"), "needs more than a prompt"),
        (vae(latent_channels=16), "reads latents of 4 channels, its VAE makes 16: parts of two models"),
        (vae(latents_mean=[0.1] * 4, latents_std=[1.0] * 4), r"statistics of its own \(latents_mean\)"),
        (vae(shift_factor=0.1), r"statistics of its own \(shift_factor\)"),
    ],
)
def test_parts_of_two_sd1_models_are_refused(spoil: Callable[[Any], None], message: str) -> None:
    pipe = tiny_models.sd1_pipeline()
    check_parts("x", pipe)
    spoil(pipe)
    with pytest.raises(UserError, match=message):
        check_parts("x", pipe)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (text("text_encoder_2", hidden_size=24), "32 channels, those of its text_encoder and text_encoder_2 have 40"),
        (text("text_encoder_2", projection_dim=24), "UNet reads 64 channels of sizes and pooled text, but gets 72"),
        (unet(projection_class_embeddings_input_dim=5 * 8 + 16), "reads 56 channels .*a refiner"),
        (unet(addition_embed_type=None), "addition_embed_type is None, which a StableDiffusionXLPipeline cannot serve"),
        (longest("tokenizer_2", 20), "its tokenizers cut texts at 20 and 32 tokens"),
    ],
)
def test_parts_of_two_sdxl_models_are_refused(spoil: Callable[[Any], None], message: str) -> None:
    pipe = tiny_models.sdxl_pipeline()
    pipe.tokenizer_2 = type(pipe.tokenizer_2).from_pretrained(tiny_models.TOKENIZER)
    check_parts("x", pipe)
    spoil(pipe)
    with pytest.raises(UserError, match=message):
        check_parts("x", pipe)


def test_a_tokenizer_that_knows_fewer_words_is_said(caplog: pytest.LogCaptureFixture) -> None:
    pipe = tiny_models.sd1_pipeline()
    text("text_encoder", vocab_size=808)(pipe)
    with caplog.at_level(logging.WARNING):
        check_parts("x", pipe)
    assert "its tokenizer knows 800 of the text_encoder's 808 tokens" in caplog.text


def test_a_network_for_other_sizes_or_pictures_is_refused() -> None:
    sdxl = tiny_models.sdxl_unet()
    other = UNet2DConditionModel.from_config(plain(sdxl) | {"projection_class_embeddings_input_dim": 56})
    with pytest.raises(UserError, match="projection_class_embeddings_input_dim is 56, the model's 64"):
        check_network("x", tiny_models.controlnet(other), sdxl)
    with pytest.raises(UserError, match="its pictures have 4 channels"):
        check_network("x", tiny_models.adapter(tiny_models.sd1_unet(), in_channels=4), tiny_models.sd1_unet())
