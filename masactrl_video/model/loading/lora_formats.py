"""What the tensors of an adapter file say of its format: plain LoRA, or one that would be lost or read by half."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from masactrl_video.errors import UserError

_OTHERS: tuple[tuple[str, str], ...] = (
    (r"\.dora_scale$", "DoRA in kohya's or LyCORIS' layout (dora_scale)"),
    (r"\.hada_[wt]\d", "LoHa (LyCORIS)"),
    (r"\.lokr_[wt]\d", "LoKr (LyCORIS)"),
    (r"\.lora_mid\.|\.cp_mid", "LoCon with Tucker decomposition (LyCORIS)"),
    (r"\.oft_(blocks|diag|R)|\.boft_", "OFT (orthogonal finetuning)"),
    (r"\.(a1|a2|b1|b2)\.weight$", "GLoRA (LyCORIS)"),
    (r"\.on_input$|\.ia3_l", "IA3 (LyCORIS)"),
    (r"\.(diff|diff_b|w_norm|b_norm|set_weight)$", "an adapter with full differences (of weights, biases or norms)"),
    (r"^base_model\.model\.", "an adapter of PEFT's own layout (adapter_model.safetensors)"),
    (
        r"^(bundle_emb|emb_params|clip_[lg]$|string_to_param|<)",
        "an adapter with trained words (textual inversion)",
    ),
    (r"^(lora_controlnet$|control_model\.|input_hint_block)", "a ControlNet"),
    (r"^ip_adapter|^image_proj\.", "an IP-Adapter"),
)
"""Endings or beginnings of tensors' names, and the format that they belong to."""

_LONG = 40
"""Characters; of a longer name the end is told, which says more than the beginning."""

_KOHYA = ("lora_unet_", "lora_te_", "lora_te1_", "lora_te2_")
_UP = {"down": "up", "A": "B"}
_HALF = re.compile(r"(?P<head>.*lora(?:_linear_layer)?[._])(?P<half>down|up|A|B)(?P<tail>\.weight)")


def check_format(path: str, names: Collection[str], scale: float, others: Sequence[tuple[str, str]] = ()) -> None:
    """See that a file holds a plain LoRA and nothing beside it, each layer with both of its factors.

    Args:
        names: of its tensors.
        scale: its strength.
        others: signs of adapters for other families, as in `_OTHERS`.

    Raises:
        UserError: another format, which diffusers would drop or read by half.
    """
    for sign, text in (*_OTHERS, *others):
        if found := [key for key in names if re.search(sign, key)]:
            first = min(found)
            part = first if len(first) < _LONG else f"…{first[-_LONG:]}"
            raise UserError(
                f"LoRA {path!r}: it is {text}, which is not supported: {len(found)} of its {len(names)} tensors, e.g. "
                f"{part}; take a plain LoRA, or merge it into the model with the tool that trained it"
            )
    if not any("lora" in key for key in names):
        raise UserError(
            f"LoRA {path!r}: it is no LoRA, or one of an unknown format: no tensor's name has 'lora' in it, they are "
            f"called {min(names, default='nothing')}; take a plain LoRA"
        )
    if scale != 1 and any("lora_magnitude_vector" in key for key in names):
        raise UserError(f"LoRA {path!r}: a DoRA sets the size of weights anew, at scale 1 alone; got {scale:g}")
    _check_alphas(path, names)
    if alone := sorted(_without_partner(names)):
        raise UserError(
            f"LoRA {path!r}: {len(alone)} of its tensors lack the other factor of their layer, e.g. {alone[0]}: the "
            "file is not whole; get it anew"
        )


def _check_alphas(path: str, names: Iterable[str]) -> None:
    """See that each layer's alpha, its own strength, will be read: for kohya's layers, each has one or none has."""
    alphas = {key.removesuffix(".alpha") for key in names if key.endswith(".alpha")}
    kohya = {key.partition(".")[0] for key in names if key.startswith(_KOHYA)}
    if alphas and alphas != kohya:
        odd = min(alphas ^ kohya)
        raise UserError(
            f"LoRA {path!r}: only some of its layers have an alpha that diffusers reads ({odd} differs), so that their "
            "strengths would be wrong; convert it to one layout, kohya's with an alpha for each layer"
        )


def _without_partner(names: Iterable[str]) -> list[str]:
    names = set(names)
    other = _UP | {up: down for down, up in _UP.items()}
    matches = [match for name in names if (match := _HALF.fullmatch(name))]
    return [m[0] for m in matches if f"{m['head']}{other[m['half']]}{m['tail']}" not in names]
