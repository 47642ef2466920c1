"""Prompt-to-Prompt (Hertz et al. 2022, arXiv 2208.01626): the source's attention maps in the target."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import SequenceMatcher

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention

from masactrl_video.attention.baselines.lockstep import Lockstep, SourceQueriesKeys
from masactrl_video.model.backbones.branches import GUIDED, Branch
from masactrl_video.model.backbones.parts import Tokenizer
from masactrl_video.model.backbones.qkv import split_heads
from masactrl_video.model.backbones.steps import StepClock
from masactrl_video.model.backbones.unet.attention import cross_attention_maps
from masactrl_video.model.backbones.unet.calls import watch_calls
from masactrl_video.model.backbones.unet.layers import Layer, self_attention_layers
from masactrl_video.model.backbones.unet.processors import Processor, finished, installed


@dataclass(frozen=True)
class WordAlignment:
    """Which tokens of the target's prompt take their attention from which of the source's (Sec. 3.2)."""

    weights: torch.Tensor
    """(source tokens, target tokens): a column is the share of each source token; a new token's is zero."""
    is_new: torch.Tensor
    """(target tokens,) bool: tokens that keep their own attention."""

    def mixed(self, source_maps: torch.Tensor, own_maps: torch.Tensor) -> torch.Tensor:
        """The edited maps, (rows, heads, grid tokens, target tokens)."""
        taken = source_maps @ self.weights.to(source_maps)
        return torch.where(self.is_new.to(own_maps.device), own_maps, taken)


def align_words(tokenizer: Tokenizer, source_prompt: str, prompt: str) -> WordAlignment:
    """Align two prompts word by word.

    Equal words, and words that are replaced by as many others (word swap), take the source's maps; words that are
    added, or that replace another number of words, keep their own (prompt refinement). Where a word and its replacement
    have another number of tokens, the source's attention is shared out evenly.
    """
    source, target = _word_tokens(tokenizer, source_prompt), _word_tokens(tokenizer, prompt)
    length = tokenizer.model_max_length
    weights = torch.zeros(length, length)
    weights[0, 0] = 1  # the start token
    for ours, theirs in _paired(source, target):
        for j, position in enumerate(theirs):
            if len(ours) == len(theirs):
                weights[ours[j], position] = 1
            else:
                weights[list(ours), position] = 1 / len(theirs)
    source_end, target_end = (1 + sum(len(word) for word in words) for words in (source, target))
    for offset in range(max(0, length - target_end)):  # the end token and the padding behind it
        weights[min(source_end + offset, length - 1), target_end + offset] = 1
    return WordAlignment(weights, weights.sum(dim=0) == 0)


def _word_tokens(tokenizer: Tokenizer, prompt: str) -> list[tuple[int, ...]]:
    """Tokens of each word of a prompt, as far as the text encoder reads it."""
    words = [tuple(tokenizer(word, add_special_tokens=False).input_ids) for word in prompt.split()]
    room = tokenizer.model_max_length - 2  # the start and the end token
    read: list[tuple[int, ...]] = []
    for word in words:
        read.append(word[: max(0, room)])
        room -= len(word)
    return [word for word in read if word]


def _paired(source: Sequence[tuple[int, ...]], target: Sequence[tuple[int, ...]]) -> Iterator[tuple[range, range]]:
    """Token positions of words that belong together."""
    source_at, target_at = _positions(source), _positions(target)
    for kind, i, i_end, j, j_end in SequenceMatcher(None, source, target, autojunk=False).get_opcodes():
        if kind == "equal" or (kind == "replace" and i_end - i == j_end - j):
            yield from zip(source_at[i:i_end], target_at[j:j_end], strict=True)


def _positions(words: Sequence[tuple[int, ...]]) -> list[range]:
    positions, start = [], 1  # behind the start token
    for word in words:
        positions.append(range(start, start + len(word)))
        start += len(word)
    return positions


class _SourceWordMaps:
    """Cross-attention whose maps are the source's for the words that both prompts share; conditional branch only."""

    def __init__(
        self, name: str, original: Processor, lockstep: Lockstep, steps: Collection[int], alignment: WordAlignment
    ) -> None:
        self.name, self.original, self.lockstep, self.steps = name, original, lockstep, steps
        self.alignment = alignment

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        *args: object,
        **kwargs: object,
    ) -> torch.Tensor:
        out: torch.Tensor = self.original(attn, hidden_states, encoder_hidden_states, *args, **kwargs)
        if self.lockstep.step not in self.steps:
            return out
        if not self.lockstep.is_target:
            maps = cross_attention_maps(attn, hidden_states[-1:], encoder_hidden_states[-1:])
            self.lockstep.kept[self.name] = (maps.detach(),)
            return out
        self.lockstep.fired[self.lockstep.step, self.name] += 1
        frames = self.lockstep.conditional_rows(hidden_states.shape[0])
        states, text = hidden_states[-frames:], encoder_hidden_states[-frames:]
        maps = self.alignment.mixed(self.lockstep.kept[self.name][0], cross_attention_maps(attn, states, text))
        values = attn.to_v(attn.norm_encoder_hidden_states(text) if attn.norm_cross else text)
        attended = maps.to(values.dtype) @ split_heads(values, attn.heads)  # -> (frames, heads, tokens, head_dim)
        return torch.cat([out[:-frames], finished(attn, attended.transpose(1, 2).flatten(2), states)])


@contextmanager
def prompt_to_prompt(
    unet: UNet2DConditionModel,
    timesteps: Sequence[float],
    alignment: WordAlignment,
    *,
    source_branches: Sequence[str] = GUIDED,
    branches: Sequence[Branch] = GUIDED,
    cross_steps: float = 0.8,
    self_steps: float = 0.4,
    self_layers: Sequence[Layer] | None = None,
    clock: StepClock | None = None,
) -> Iterator[Lockstep]:
    """Inside, the target's calls take attention maps from the source's call at the same step (Sec. 3, Alg. 1).

    Cross-attention maps are taken by `alignment` in all layers; self-attention maps as the source's queries and keys,
    which give the same map without holding it. Only the conditional branch is touched, as in the authors' code.

    Args:
        timesteps: of the denoising steps.
        source_branches: rows of the source's calls.
        branches: rows of the target's calls.
        cross_steps: fraction of the steps, from the first on, with the source's cross-attention (the paper's tau_c).
        self_steps: the same for self-attention (tau_s).
        self_layers: where self-attention is taken; by default, as in the authors' code, on grids of at most half the
            latents' side.
        clock: of the loop that makes the calls (see `control_attention`).

    Raises:
        RuntimeError: on leaving, when an injection did not happen where it had to.
    """
    lockstep = Lockstep(timesteps, source_branches, branches, clock)
    layers, before = self_attention_layers(unet), unet.attn_processors
    cross, own = (range(round(fraction * len(timesteps))) for fraction in (cross_steps, self_steps))
    chosen = [layer for layer in layers if layer.downscale >= 2] if self_layers is None else self_layers
    processors: dict[str, Processor] = {
        layer.self_processor: SourceQueriesKeys(layer, before[layer.self_processor], lockstep, own, True)
        for layer in chosen
    }
    for layer in layers:
        key = layer.cross_processor
        processors[key] = _SourceWordMaps(key, before[key], lockstep, cross, alignment)
    with installed(unet, processors), watch_calls(unet, lockstep.begin):
        yield lockstep
    lockstep.check_fired({layer.cross_processor: cross for layer in layers} | {layer.name: own for layer in chosen})
