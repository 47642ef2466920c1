"""Stand-ins of ComfyUI's transformers: its override of attention, its patch before places are put in, their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from comfyui.stand_in import _around
from torch import nn

HEADS, CHANNELS, TEXT = 2, 16, 8
AXES = (4, 2, 2)


def wrapped(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def wrapper(*args: Any, **kwargs: Any) -> torch.Tensor:
        options = kwargs.get("transformer_options") or {}
        if "optimized_attention_override" in options and "_inside_attn_wrapper" not in kwargs:
            kwargs["_inside_attn_wrapper"] = True
            answer: torch.Tensor = options["optimized_attention_override"](function, *args, **kwargs)
            return answer
        return function(*args, **kwargs)

    return wrapper


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    heads: int,
    mask: torch.Tensor | None = None,
    attn_precision: torch.dtype | None = None,
    skip_reshape: bool = False,
    skip_output_reshape: bool = False,
    **kwargs: Any,
) -> torch.Tensor:
    if not skip_reshape:
        q, k, v = (states.unflatten(-1, (heads, -1)).transpose(1, 2) for states in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=None if mask is None else mask[:, None])
    return out.transpose(1, 2).flatten(2)


optimized_attention = wrapped(attention)


def turned(states: torch.Tensor, pe: torch.Tensor) -> torch.Tensor:
    pairs = states.unflatten(-1, (-1, 1, 2))
    return (pe[..., 0] * pairs[..., 0] + pe[..., 1] * pairs[..., 1]).flatten(-2)


class EmbedND(nn.Module):
    axes_dim = AXES

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        angles = []
        for axis, size in enumerate(AXES):
            rates = 1.0 / 100 ** (torch.arange(0, size, 2) / size)
            angles.append(ids[..., axis, None].float() * rates)
        of_token = torch.cat(angles, dim=-1)
        parts = [of_token.cos(), -of_token.sin(), of_token.sin(), of_token.cos()]
        return torch.stack(parts, dim=-1).unflatten(-1, (2, 2)).unsqueeze(1)


class Attention(nn.Module):
    """Queries, keys and values of one layer, for text and picture each or for both."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(CHANNELS, 3 * CHANNELS, bias=False)
        self.proj = nn.Linear(CHANNELS, CHANNELS, bias=False)

    def opened(self, x: torch.Tensor) -> list[torch.Tensor]:
        states = F.layer_norm(x, (CHANNELS,))
        return [part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(states).chunk(3, dim=-1)]


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, pe: torch.Tensor, mask: Any, options: dict[str, Any], new: bool
) -> torch.Tensor:
    extra_options, attn_mask = dict(options), mask
    for p in options.get("patches", {}).get("attn1_patch", ()) if new else ():
        out = p(q, k, v, pe=pe, attn_mask=attn_mask, extra_options=extra_options)
        q, k, v, pe = out.get("q", q), out.get("k", k), out.get("v", v), out.get("pe", pe)
    q, k = turned(q, pe), turned(k, pe)
    return optimized_attention(q, k, v, HEADS, mask=mask, skip_reshape=True, transformer_options=options)


class Double(nn.Module):
    def __init__(self, new: bool) -> None:
        super().__init__()
        self.new, self.img_attn, self.txt_attn = new, Attention(), Attention()

    def forward(
        self,
        img: torch.Tensor,
        txt: torch.Tensor,
        pe: torch.Tensor,
        attn_mask: Any,
        transformer_options: dict[str, Any],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        pairs = zip(self.txt_attn.opened(txt), self.img_attn.opened(img), strict=True)
        q, k, v = (torch.cat(pair, dim=2) for pair in pairs)
        out = attend(q, k, v, pe, attn_mask, transformer_options, self.new)
        length = txt.shape[1]
        return img + self.img_attn.proj(out[:, length:]), txt + self.txt_attn.proj(out[:, :length])


class Single(nn.Module):
    def __init__(self, new: bool) -> None:
        super().__init__()
        self.new, self.attn = new, Attention()
        self.linear1 = self.attn.qkv

    def forward(
        self, x: torch.Tensor, pe: torch.Tensor, attn_mask: Any, transformer_options: dict[str, Any]
    ) -> torch.Tensor:
        return x + self.attn.proj(attend(*self.attn.opened(x), pe, attn_mask, transformer_options, self.new))


class Flux(nn.Module):
    """Two latents are the side of a token; references stand behind the picture."""

    hidden_size, patch_size = CHANNELS, 2

    def __init__(self, new: bool = True) -> None:
        super().__init__()
        self.img_in, self.txt_in, self.out = nn.Linear(16, CHANNELS), nn.Linear(TEXT, CHANNELS), nn.Linear(CHANNELS, 16)
        self.pe_embedder = EmbedND()
        self.double_blocks = nn.ModuleList([Double(new), Double(new)])
        self.single_blocks = nn.ModuleList([Single(new)])

    def forward(self, x: torch.Tensor, t: torch.Tensor, context: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        inner: Callable[..., torch.Tensor] = self.inner
        for each in options.get("wrappers", {}).get("diffusion_model", {}).values():
            for wrapper in each:
                inner = _around(wrapper, inner)
        return inner(x, t, context, transformer_options=options)

    def inner(
        self, x: torch.Tensor, t: torch.Tensor, context: torch.Tensor, *, transformer_options: dict[str, Any]
    ) -> torch.Tensor:
        options, (rows, _, height, width) = transformer_options, x.shape
        replaced = options.get("patches_replace", {}).get("dit", {})
        grid = (height // 2, width // 2)
        img = F.pixel_unshuffle(x, 2).flatten(2).transpose(1, 2)
        ids = torch.zeros(1, *grid, 3)
        ids[..., 1], ids[..., 2] = torch.arange(grid[0])[:, None], torch.arange(grid[1])
        ids = ids.flatten(1, 2)
        for reference in options.get("references", ()):
            img, ids = torch.cat([img, reference.expand(rows, -1, -1)], 1), torch.cat([ids, ids + 1], 1)
        img, txt = self.img_in(img) + t[:, None, None], self.txt_in(context)
        pe = self.pe_embedder(torch.cat([torch.zeros(1, txt.shape[1], 3), ids], dim=1))
        mask = options.get("mask")
        for number, block in enumerate(self.double_blocks):
            if ("double_block", number) in replaced:
                out = replaced[("double_block", number)]({"img": img, "txt": txt})
                img, txt = out["img"], out["txt"]
            else:
                img, txt = block(img=img, txt=txt, pe=pe, attn_mask=mask, transformer_options=options)
        joined = torch.cat([txt, img], dim=1)
        for block in self.single_blocks:
            joined = block(joined, pe=pe, attn_mask=mask, transformer_options=options)
        made = self.out(joined[:, txt.shape[1] :][:, : grid[0] * grid[1]])
        return F.pixel_shuffle(made.transpose(1, 2).unflatten(2, grid), 2)
