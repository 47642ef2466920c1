"""The losses of the transformer and of its ControlNet: flow matching, and attention that is told where to look.

As with the UNet, pairs of pictures show one character in two poses, and in the shared blocks the second one's attention
finds the keys and values of the first one's picture beside its own text: in place of its own picture's, or beside them.
The keys are taken before they are turned by their place, so that each batch can give them other places.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from diffusers import FluxControlNetModel, FluxTransformer2DModel
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.normalization import AdaLayerNormContinuous, AdaLayerNormZero, AdaLayerNormZeroSingle
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel

from masactrl_video.demo.architecture import PATCH
from masactrl_video.demo.training.data import Frames
from masactrl_video.demo.training.denoiser import MATCHING_WEIGHT, WORDS_WEIGHT, Batch, velocity_loss
from masactrl_video.demo.training.matching import moved
from masactrl_video.demo.training.noising import flow_noised, flow_times
from masactrl_video.demo.training.pairs import Sight, Truth, Watched, matching_loss, words_loss
from masactrl_video.demo.training.run import Losses, one_of

Positions = Literal["as-is", "shifted", "pose", "free"]
"""Where the second pictures see the first ones' cells: at the same places, at places beside the picture, at those of
the second picture that show the same, or at no place."""

SEEN: dict[Sight | None, float] = {None: 0.3, "both": 0.2, "first": 0.5}
"""Parts of the batches by what the second pictures of pairs see; with None they are single pictures."""
POSITIONS: dict[Positions, float] = {"as-is": 0.4, "pose": 0.25, "shifted": 0.25, "free": 0.1}
"""Parts of the pairs' batches by where the first pictures are seen."""
GUIDED = 0.6
"""Part of the batches that the ControlNet guides."""
SINGLE_BLOCKS = 0.7
"""Part of the pairs' batches in which the single blocks are shared; in the others any block may be, by a coin."""


@dataclass(frozen=True)
class Shared:
    """What the second pictures of pairs see of the first ones, and where."""

    sight: Sight
    positions: Positions
    blocks: tuple[bool, ...]
    """One for each block in forward order, the double ones first."""


def draw_shared(random: np.random.Generator, transformer: FluxTransformer2DModel) -> Shared | None:
    """A batch's way of sharing; None for single pictures."""
    sight = one_of(SEEN, random)
    if sight is None:
        return None
    double, single = len(transformer.transformer_blocks), len(transformer.single_transformer_blocks)
    later = random.uniform() < SINGLE_BLOCKS
    blocks = [False] * double + [True] * single if later else random.uniform(size=double + single) < 0.5
    return Shared(sight, one_of(POSITIONS, random), tuple(bool(shared) for shared in blocks))


@torch.no_grad()
def begin(network: FluxTransformer2DModel | FluxControlNetModel) -> None:
    """Sets random weights to what deep transformers learn well from: every block begins by changing nothing."""
    for module in network.modules():
        if isinstance(module, nn.Linear) and module.weight.any():  # what a ControlNet adds begins as nothing already
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    modulated = (AdaLayerNormZero, AdaLayerNormZeroSingle, AdaLayerNormContinuous)
    still = [module.linear for module in network.modules() if isinstance(module, modulated)]
    still += [network.proj_out] if isinstance(network, FluxTransformer2DModel) else []
    for linear in still:
        nn.init.zeros_(linear.weight)
    if isinstance(network, FluxControlNetModel):
        for linear in (*network.controlnet_blocks, *network.controlnet_single_blocks, network.controlnet_x_embedder):
            nn.init.zeros_(linear.weight)


def packed(latents: Tensor) -> Tensor:
    """Latents (rows, channels, height, width) as a transformer's tokens (rows, cells, channels * 4), as FLUX's."""
    return F.pixel_unshuffle(latents, PATCH).flatten(2).transpose(1, 2)


def unpacked(tokens: Tensor, side: int) -> Tensor:
    """What `packed` was given, of a picture of `side` x `side` cells."""
    return F.pixel_shuffle(tokens.transpose(1, 2).reshape(*tokens.shape[::2], side, side), PATCH)


def grid(side: int) -> Tensor:
    """Places of a square picture's cells: nothing, row, column. (cells, 3)"""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).flatten(0, 1).float()


def places(positions: Positions, batch: Batch, frames: Frames, side: int) -> Tensor:
    """Where the cells of the first pictures are seen. (pairs, cells, 3)"""
    pairs = len(batch.chosen) // 2
    own = grid(side).expand(pairs, -1, -1)
    if positions == "free":
        return torch.zeros_like(own)
    if positions == "shifted":
        return own + torch.tensor([0.0, 0.0, side])
    if positions == "as-is":
        return own
    first, second = batch.chosen[:pairs], batch.chosen[pairs:]
    points = moved(frames.keypoints[first], frames.keypoints[second], frames.masks[first], side)
    return torch.cat([own[..., :1], torch.from_numpy(points)], dim=-1)


@dataclass(frozen=True)
class _JointAttention:
    """diffusers attention processor over [text, picture], for rows that are first pictures, then second ones."""

    cells: int
    truth: Truth
    watched: Watched
    sight: Sight | None
    """None in blocks that are not shared."""
    turned: tuple[Tensor, Tensor] | None
    """Cosine and sine by which the first pictures' keys turn. (pairs, cells, 1, channels of a head)"""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Any:
        query, plain, value = _projected(attn, hidden_states, encoder_hidden_states)
        query, key = (apply_rotary_emb(states, image_rotary_emb, sequence_dim=1) for states in (query, plain))
        text = query.shape[1] - self.cells
        names = _looks(query[:, text:], key[:, :text])
        self.watched.words.append(words_loss(names, self.truth.object_tokens, self.truth.coverage[self.cells]))
        if self.sight is None or self.turned is None:
            out = _attended(query, key, value)
        else:
            pairs = len(query) // 2
            first_key = _turn(plain[:pairs, text:], *self.turned)
            kept = text if self.sight == "first" else text + self.cells
            seen_key = torch.cat([key[pairs:, :kept], first_key], dim=1)
            seen_value = torch.cat([value[pairs:, :kept], value[:pairs, text:]], dim=1)
            matched = _looks(query[pairs:, text:], first_key)
            self.watched.matching.append(matching_loss(matched, self.truth.matches[self.cells]))
            first = _attended(query[:pairs], key[:pairs], value[:pairs])
            out = torch.cat([first, _attended(query[pairs:], seen_key, seen_value)])
        if encoder_hidden_states is None:
            return out
        return attn.to_out[1](attn.to_out[0](out[:, text:])), attn.to_add_out(out[:, :text])


def _projected(attn: Any, picture: Tensor, text: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value after their norms, not yet turned. (rows, tokens, heads, channels of a head)"""
    query, key, value = (
        layer(picture).unflatten(-1, (-1, attn.head_dim)) for layer in (attn.to_q, attn.to_k, attn.to_v)
    )
    query, key = attn.norm_q(query), attn.norm_k(key)
    if text is None:  # a single block's sequence has the text in it
        return query, key, value
    text_query, text_key, text_value = (
        layer(text).unflatten(-1, (-1, attn.head_dim)) for layer in (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj)
    )
    text_query, text_key = attn.norm_added_q(text_query), attn.norm_added_k(text_key)
    joined = ((text_query, query), (text_key, key), (text_value, value))
    query, key, value = (torch.cat(parts, dim=1) for parts in joined)
    return query, key, value


def _attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """(rows, tokens, heads * channels of a head)"""
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    states = F.scaled_dot_product_attention(query, key, value)
    return states.transpose(1, 2).flatten(2)


def _looks(query: Tensor, key: Tensor) -> Tensor:
    """How much of their attention to these keys alone goes to each, over all heads. (rows, queries, keys)"""
    logits = query.transpose(1, 2) @ key.permute(0, 2, 3, 1) / math.sqrt(query.shape[-1])
    return logits.softmax(dim=-1).mean(dim=1)


def _turn(key: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """As diffusers' `apply_rotary_emb`, with places of its own for each row."""
    real, imaginary = key.view(*key.shape[:-1], -1, 2).unbind(-1)
    return key * cosine + torch.stack([-imaginary, real], dim=-1).flatten(-2) * sine


@contextmanager
def sharing(
    transformer: FluxTransformer2DModel, truth: Truth, shared: Shared | None, seen_at: Tensor | None, cells: int
) -> Iterator[Watched]:
    """Watches where the transformer's attention looks, and connects the pictures of pairs.

    Args:
        seen_at: places of the first pictures' cells, for pairs. (pairs, cells, 3)
        cells: tokens of a picture.
    """
    watched = Watched()
    turned = None
    if seen_at is not None:
        cosine, sine = (
            of_all.view(*seen_at.shape[:2], 1, -1) for of_all in transformer.pos_embed(seen_at.flatten(0, 1))
        )
        turned = (cosine, sine)
    before = transformer.attn_processors
    blocks = [*transformer.transformer_blocks, *transformer.single_transformer_blocks]
    for index, block in enumerate(blocks):
        sight = shared.sight if shared is not None and shared.blocks[index] else None
        cast(Any, block).attn.set_processor(_JointAttention(cells, truth, watched, sight, turned))
    try:
        yield watched
    finally:
        transformer.set_attn_processor(dict(before))


def flow_losses(
    transformer: FluxTransformer2DModel,
    controlnet: FluxControlNetModel | None,
    text_encoder: CLIPTextModel,
    batch: Batch,
    poses: Tensor,
    shared: Shared | None,
    seen_at: Tensor | None,
) -> Losses:
    """Squared error of the velocity at random times, and how far attention is from where it should look.

    Args:
        controlnet: None where nothing guides.
        poses: latents of the pose pictures. (rows, channels, rows, columns)
        shared: how the batch's pairs share; None for single pictures.
        seen_at: of pairs, places of the first pictures' cells. (pairs, cells, 3)
    """
    sight = shared.sight if shared else None
    times = flow_times(len(batch.latents), sight).to(batch.latents.device)
    noisy, target = flow_noised(batch.latents, batch.others, times, sight)
    with torch.no_grad():
        text = text_encoder(batch.tokens)
    states = text.last_hidden_state
    side = batch.latents.shape[-1] // PATCH
    given = {
        "hidden_states": packed(noisy),
        "encoder_hidden_states": states,
        "pooled_projections": text.pooler_output,
        "timestep": times,
        "img_ids": grid(side).to(states.device),
        "txt_ids": states.new_zeros(states.shape[1], 3),
        "return_dict": False,
    }
    control: dict[str, Any] = {}
    if controlnet is not None:
        double, single = controlnet(controlnet_cond=packed(poses), **given)
        control = {"controlnet_block_samples": double, "controlnet_single_block_samples": single}
    with sharing(transformer, batch.truth, shared, seen_at, side**2) as watched:
        predicted = unpacked(transformer(**given, **control)[0], side)
    weights = {"matching": MATCHING_WEIGHT, "words": WORDS_WEIGHT}
    return {
        "velocity": velocity_loss(predicted.float(), target, batch.truth),
        **{name: weights[name] * loss for name, loss in watched.losses().items()},
    }
