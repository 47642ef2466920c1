"""Attention modules of transformers, opened up: what the tokens of picture and text ask, offer and give.

A processor on each controlled module does it, whatever backend its attention runs on. How a family's module is opened
is the only thing that differs from family to family.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.attention_processor import Attention

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer, PictureAttention, TextAttention, no_other_prompt
from masactrl_video.model.backbones.qkv import QKV, word_attention


@dataclass(frozen=True)
class Opened:
    """One call of an attention module."""

    qkv: QKV
    """Of the picture's tokens, with that of all others in the same softmax as its `text`."""
    finished: Callable[[torch.Tensor], object]
    """(rows, text tokens + tokens, heads x head_dim), what they attended to → what the module gives."""
    words: slice = field(default_factory=lambda: slice(None))
    """Which of the `text`'s tokens are the prompt's; a layer may have tokens that fill up the picture beside them."""


Arguments = Mapping[str, Any]
"""What diffusers hands on to a processor besides the hidden states, by name, as far as it is there."""

Open = Callable[[Attention, torch.Tensor, Arguments], Opened | None]
"""Opens a call of a module: the module, its hidden states, and the other arguments of its processor by name.

None: the call is another network's, which shares the module.
"""


@contextmanager
def attending(
    network: torch.nn.Module,
    title: str,
    layers: Sequence[AttentionLayer],
    kinds: tuple[type[object], ...],
    opening: Open,
    to_picture: Mapping[str, PictureAttention],
    to_text: Mapping[str, Sequence[TextAttention]],
    processor: Callable[[torch.nn.Module], type[Attending]] = lambda _: Attending,
) -> Iterator[None]:
    """See `Backbone.attending`.

    Args:
        title: what people call the family.
        kinds: the family's own processors; with another one on a module, its attention is not what `opening` knows.
        processor: the kind for a module, where some of them hand on other arguments.

    Raises:
        UserError: the network has no layer of a name, or one whose attention was changed by others.
    """
    by_name = {layer.name: layer for layer in layers}
    check_names(layers, {*to_picture, *to_text})
    before: list[tuple[Any, Any]] = []
    try:
        for name in {*to_picture, *to_text}:
            module: Any = network.get_submodule(name)
            check_processor(name, module.processor, (*kinds, Attending), title)  # contexts may stand in one another
            before.append((module, module.processor))
            module.processor = processor(module)(
                by_name[name], module.processor, opening, to_picture.get(name), to_text.get(name, ()), title
            )
        yield
    finally:
        for module, original in before:
            module.processor = original


def check_names(layers: Sequence[AttentionLayer], names: Collection[str]) -> None:
    """See that there is a layer of each name.

    Raises:
        UserError: there is none of one.
    """
    if unknown := sorted(set(names) - {layer.name for layer in layers}):
        raise UserError(f"the network has no attention layer named {unknown[0]!r}")


def check_processor(name: str, processor: object, kinds: tuple[type[object], ...], title: str) -> None:
    """See that a module's attention is what the family has.

    Raises:
        UserError: it was changed by others.
    """
    if not isinstance(processor, kinds):
        raise UserError(
            f"{name} has a {type(processor).__name__}: an IP-Adapter or another change of {title}'s attention "
            "does not go with mutual self-attention; take it off"
        )


class Attending:
    """diffusers attention processor: the picture attends as `to_picture` has it, or else as before."""

    def __init__(
        self,
        layer: AttentionLayer,
        original: Callable[..., object],
        opening: Open,
        to_picture: PictureAttention | None,
        to_text: Sequence[TextAttention],
        title: str,
    ) -> None:
        self.layer, self.original, self.opening, self.title = layer, original, opening, title
        self.to_picture, self.to_text = to_picture, to_text
        self._attention_backend: Any = getattr(original, "_attention_backend", None)
        self._parallel_config: Any = getattr(original, "_parallel_config", None)

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
        freqs_cis: torch.Tensor | None = None,
        encoder_hidden_states_mask: torch.Tensor | None = None,
    ) -> object:
        """All arguments of all families' processors: diffusers hands on those that stand here by name."""
        arguments = {
            "encoder_hidden_states": encoder_hidden_states,
            "attention_mask": attention_mask,
            "image_rotary_emb": image_rotary_emb,
            "freqs_cis": freqs_cis,
            "encoder_hidden_states_mask": encoder_hidden_states_mask,
        }
        return self.attend(attn, hidden_states, {name: value for name, value in arguments.items() if value is not None})

    def attend(self, attn: Attention, hidden_states: torch.Tensor, given: Arguments) -> object:
        """What the module gives; `given` are the other arguments of its processor."""
        opened = self.opening(attn, hidden_states, given)
        if opened is None:
            return self.original(attn, hidden_states, **given)
        qkv = opened.qkv
        attended = None if self.to_picture is None else self.to_picture(self.layer, qkv)
        for added in self.to_text:
            added(self.layer, JointCall(opened, self.title), hidden_states)
        if attended is None:
            return self.original(attn, hidden_states, **given)
        if qkv.text is not None and attended.shape[1] == qkv.tokens:
            attended = torch.cat([self._text(qkv, qkv.text), attended], dim=1)
        return opened.finished(attended)

    def _text(self, qkv: QKV, text: QKV) -> torch.Tensor:
        """What the text's tokens attend to: themselves and the picture, as the network has it."""
        key, value = torch.cat([text.key, qkv.key], dim=2), torch.cat([text.value, qkv.value], dim=2)
        added = None
        if text.fill is not None:
            added = F.pad(text.fill, (0, qkv.tokens))[:, None] * (text.fill == 0)[:, :, None].to(text.fill.dtype)
        out: torch.Tensor = dispatch_attention_fn(
            *(states.transpose(1, 2) for states in (text.query, key, value)),
            attn_mask=None if added is None else added[:, None],
            backend=self._attention_backend,
        )
        return out.flatten(2, 3)


class JointCall:
    """A `TextCall` of a joint layer."""

    def __init__(self, opened: Opened, title: str) -> None:
        self._opened, self._title = opened, title

    @property
    def rows(self) -> int:
        """Branches x frames."""
        return self._opened.qkv.rows

    def word_map(self, words: Sequence[int], rows: slice, text: torch.Tensor | None = None) -> torch.Tensor:
        """See `TextCall`: the attention to the text is shared out among its words alone."""
        if text is not None:
            raise no_other_prompt(self._title)
        qkv = self._opened.qkv
        assert qkv.text is not None
        fill = None if qkv.text.fill is None else qkv.text.fill[rows, None, None, self._opened.words]
        return word_attention(qkv.query[rows], qkv.text.key[rows, :, self._opened.words], words, fill)

    def reading(self, last_rows: int, tokens: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """The prompt is read in the same softmax as the picture."""
        raise no_other_prompt(self._title)
