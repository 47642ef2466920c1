"""Adapters of other formats than plain LoRA are refused by format and tensor, or applied whole."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import lora_files
import pytest
import tiny_models
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.unet.files import OF_OTHERS
from masactrl_video.model.loading.lora import LoraFile, add_loras
from masactrl_video.model.loading.lora_formats import check_format

KOHYA = "lora_unet_mid_block_attentions_0_proj_in"
PLAIN = [f"{KOHYA}.lora_down.weight", f"{KOHYA}.lora_up.weight"]


@pytest.mark.parametrize(
    ("name", "format_name"),
    [
        (f"{KOHYA}.dora_scale", "DoRA"),
        (f"{KOHYA}.hada_w1_a", "LoHa"),
        (f"{KOHYA}.lokr_w1", "LoKr"),
        (f"{KOHYA}.lora_mid.weight", "Tucker"),
        (f"{KOHYA}.oft_blocks", "OFT"),
        (f"{KOHYA}.a1.weight", "GLoRA"),
        (f"{KOHYA}.on_input", "IA3"),
        (f"{KOHYA}.diff", "full differences"),
        (f"{KOHYA}.diff_b", "full differences"),
        (f"{KOHYA}.w_norm", "full differences"),
        ("base_model.model.mid_block.attentions.0.proj_in.lora_A.weight", "PEFT's own layout"),
        ("bundle_emb.word.string_to_param.*", "textual inversion"),
        ("lora_te3_encoder_block_0.lora_down.weight", "networks that SD and SDXL lack"),
        ("transformer.blocks.0.to_q.lora_A.weight", "networks that SD and SDXL lack"),
    ],
)
def test_another_format_is_refused_by_its_name(name: str, format_name: str) -> None:
    check_format("x", PLAIN, 1.0, OF_OTHERS)
    with pytest.raises(UserError, match=rf"{format_name}.*not supported: 1 of its 3 tensors.*merge it"):
        check_format("x", [*PLAIN, name], 1.0, OF_OTHERS)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([PLAIN[0]], "1 of its tensors lack the other factor"),
        (["unet.conv_in.lora_B.weight"], "1 of its tensors lack the other factor"),
        (
            [*PLAIN, f"{KOHYA}.alpha", *(name.replace("proj_in", "proj_out") for name in PLAIN)],
            "only some of its layers",
        ),
        (["unet.conv_in.lora_A.weight", "unet.conv_in.lora_B.weight", "unet.conv_in.alpha"], "only some of its layers"),
    ],
)
def test_a_lora_that_would_be_read_by_half_is_refused(names: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_format("x", names, 1.0)


def saved(path: Path, **options: Any) -> tuple[Path, torch.Tensor]:
    """A LoRA of peft in diffusers' layout, and what the UNet makes with it."""
    pipe = tiny_models.sd1_pipeline()
    torch.manual_seed(0)
    changed = copy.deepcopy(pipe.unet)
    config = LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_out.0"], init_lora_weights=False, **options)
    changed.add_adapter(config, "made")
    for name, parameter in changed.named_parameters():
        if "magnitude" in name:
            parameter.data.mul_(1.3)
    layers = get_peft_model_state_dict(changed, adapter_name="made")
    pipe.save_lora_weights(path.parent, weight_name=path.name, unet_lora_layers=layers)
    return path, called(changed)


@torch.no_grad()
def called(unet: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    latents, text = (torch.randn(shape, generator=generator) for shape in ((1, 4, 8, 8), (1, 5, 16)))
    out: torch.Tensor = unet(latents, 10, text).sample
    return out


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"lora_bias": True}])
def test_dora_and_biases_in_diffusers_layout_are_applied_exactly(tmp_path: Path, options: dict[str, Any]) -> None:
    path, expected = saved(tmp_path / "made.safetensors", **options)
    pipe = tiny_models.sd1_pipeline()
    plain = called(pipe.unet)
    add_loras(pipe, [LoraFile(str(path))])
    assert (called(pipe.unet) - expected).abs().max() < 1e-6
    assert (plain - expected).abs().max() > 1e-3


def test_a_dora_has_one_strength(tmp_path: Path) -> None:
    path, _ = saved(tmp_path / "made.safetensors", use_dora=True)
    with pytest.raises(UserError, match=r"at scale 1 alone; got 0\.5"):
        add_loras(tiny_models.sd1_pipeline(), [LoraFile(str(path), 0.5)])


def test_a_lora_for_another_text_encoder_and_another_prediction_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = lora_files.save_lora(tiny_models.sd1_pipeline(), tmp_path / "plain.safetensors")
    kohya = load_file(lora_files.save_as_kohya(plain, tmp_path / "kohya.safetensors", alpha=2.0))
    layer = "lora_te2_text_model_encoder_layers_0_mlp_fc1"
    more = {"lora_down.weight": torch.zeros(2, 16), "lora_up.weight": torch.zeros(32, 2), "alpha": torch.tensor(2.0)}
    tensors = kohya | {f"{layer}.{name}": tensor for name, tensor in more.items()}
    save_file(tensors, tmp_path / "more.safetensors", metadata={"ss_v_parameterization": "True"})
    add_loras(tiny_models.sd1_pipeline(), [LoraFile(str(tmp_path / "more.safetensors"))])
    assert "2 of its 258 tensors belong to no layer of this model, e.g. text_encoder_2." in caplog.text
    assert "it was trained for v_prediction, but this model predicts epsilon" in caplog.text


@pytest.mark.parametrize("metadata", ["[1,", '{"unet.r": "x"}', "[]", "null"])
def test_metadata_that_is_none_is_no_traceback(tmp_path: Path, metadata: str) -> None:
    plain = lora_files.save_lora(tiny_models.sd1_pipeline(), tmp_path / "plain.safetensors")
    save_file(load_file(plain), tmp_path / "odd.safetensors", metadata={"lora_adapter_metadata": metadata})
    try:
        add_loras(tiny_models.sd1_pipeline(), [LoraFile(str(tmp_path / "odd.safetensors"))])
    except UserError as error:
        assert "\n" not in str(error)
