"""What an attention mode is, and what it is given: sources as a layer sees them, and the frames that attend to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F

from masactrl_video.attention.mutual import Sides
from masactrl_video.attention.neighbour import Neighbour
from masactrl_video.attention.recorded import StepRecord
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer
from masactrl_video.model.backbones.qkv import QKV
from masactrl_video.settings.modes import Need
from masactrl_video.settings.names import Background, Ground


@dataclass(frozen=True, eq=False)
class SourceView:
    """A source as one layer sees it at one step."""

    record: StepRecord
    """All that was recorded of it at this step."""
    weight: float
    """More than 0: the share of its keys in a softmax, as if each stood there so many times."""
    region: torch.Tensor | None
    """(frames, tokens) bool: tokens of the target that belong to it; None where the mode needs no regions."""
    key: torch.Tensor
    """(branches, heads, source tokens, head_dim), in the number format of the query."""
    value: torch.Tensor
    """The same shape."""
    find_object: Callable[[], Sides | None]

    @property
    def object(self) -> Sides | None:
        """The tokens of its object, on its own grid; None where none was recorded and none is given."""
        return self.find_object()


@dataclass(frozen=True, eq=False)
class FrameState:
    """The frames of one call of one layer."""

    layer: AttentionLayer
    grid: tuple[int, int]
    """Height and width of the layer's tokens."""
    step: int
    """Denoising step, from 0."""
    num_steps: int
    branches: int
    """Of the sources' keys; the rows of a `QKV` are so many times the frames. It is 1 where all branches share the
    sources: then each row is a frame."""
    ground: Ground
    """With regions: what tokens attend to that are in none."""
    is_last: bool
    """Whether no controlled layer follows in this call of the denoiser."""
    find_object: Callable[[], Sides]
    tell_share: Callable[[torch.Tensor], None]
    """Takes how much of each frame's attention goes to the sources, (frames,) in [0, 1], for the report. What a mode
    does not tell at the last layer is estimated where the mode needs `own` keys, and 1 elsewhere."""
    background: Background
    """With masks: what tokens attend to that are not the object's."""
    clip_states: Callable[[], tuple[torch.Tensor, torch.Tensor]]
    """Background `clip`: key and value of the clip's own frames, (rows, heads, tokens, head_dim) as in a `QKV`."""
    neighbour: Neighbour | None = None
    """What the frames before have, for the modes in `settings.modes.WITH_NEIGHBOUR`; None: it is not asked for, or
    none comes before."""

    @property
    def object(self) -> Sides:
        """The tokens of the object, of all frames one after the other (frames x tokens).

        Raises:
            UserError: neither words of the object nor masks are given.
        """
        return self.find_object()


@runtime_checkable
class AttentionMode(Protocol):
    """One way for the tokens of frames to attend to sources; it keeps nothing from call to call.

    A mode that also has `joint = True` can be used where text and picture stand in one softmax (FLUX): it lets the
    picture's tokens attend to `qkv.text` too. Others are refused there.
    """

    @property
    def name(self) -> str:
        """As users write it."""

    @property
    def needs(self) -> Set[Need]:
        """What must be there, for planning and validation (see `settings.modes.Need`)."""

    def attend(self, qkv: QKV, sources: Sequence[SourceView], frame: FrameState) -> torch.Tensor:
        """What the tokens attend to: (rows, tokens, heads x head_dim), before the output projection.

        Args:
            sources: one or more, each with a weight above 0; all frames of the call have the same.
        """


def joined(
    sources: Sequence[SourceView], *, beside_own: bool = False
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Keys and values of all sources for one softmax, and what their weights add to the scores.

    Args:
        beside_own: whether keys of weight 1 stand in the same softmax.

    Returns:
        Key and value (branches, heads, all source tokens, head_dim); log-weights (all source tokens,), or None where
        all weights are the same and change nothing.
    """
    weights = {source.weight for source in sources} | ({1.0} if beside_own else set())
    keys, values = [source.key for source in sources], [source.value for source in sources]
    key, value = (states[0] if len(states) == 1 else torch.cat(states, dim=2) for states in (keys, values))
    if len(weights) == 1:
        return key, value, None
    logs = [source.key.new_full(source.key.shape[2:3], math.log(source.weight)) for source in sources]
    return key, value, torch.cat(logs)


def own_and_text(qkv: QKV, *, own: bool, neighbour: Neighbour | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values that each frame has of itself, (rows, heads, tokens, head_dim): its text, then its picture.

    Args:
        own: whether those of the picture are there; the text is there where it stands in the same softmax.
        neighbour: those of the frame before come last.
    """
    keys, values = ([qkv.text.key], [qkv.text.value]) if qkv.text is not None else ([], [])
    if own:
        keys, values = [*keys, qkv.key], [*values, qkv.value]
    if neighbour is not None:
        keys, values = [*keys, neighbour.key], [*values, neighbour.value]
    key, value = (states[0] if len(states) == 1 else torch.cat(states, dim=2) for states in (keys, values))
    return key, value


def own_scores(qkv: QKV, *, own: bool, asks_text: bool, neighbour: Neighbour | None = None) -> torch.Tensor | None:
    """What is added to the scores of the keys that `own_and_text` gives: (rows, queries or 1, keys); None: nothing.

    Args:
        asks_text: whether the queries are the text's and then the picture's, or the picture's alone.
        neighbour: as for `own_and_text`.
    """
    scores = _fill_scores(qkv, own=own, asks_text=asks_text)
    if neighbour is None or (scores is None and neighbour.weight == 1):
        return scores
    if scores is None:
        text = 0 if qkv.text is None else qkv.text.key.shape[2]  # some keys may belong to no token of the call
        scores = neighbour.key.new_zeros(qkv.rows, 1, text + (qkv.tokens if own else 0))
    return F.pad(scores, (0, neighbour.key.shape[2]), value=neighbour.log_weight)


def _fill_scores(qkv: QKV, *, own: bool, asks_text: bool) -> torch.Tensor | None:
    if qkv.text is None or qkv.text.fill is None:
        return None
    fill = qkv.text.fill
    keys = F.pad(fill, (0, qkv.tokens if own else 0))[:, None]
    if not asks_text:
        return keys
    fills = F.pad((fill < 0).to(fill.dtype), (0, qkv.tokens))  # these see all alike
    return keys * (1 - fills)[:, :, None]


def objects_of(sources: Sequence[SourceView], mode: str) -> Sides:
    """The tokens of the sources' objects, in the order of `joined`.

    Raises:
        UserError: a source has none.
    """
    sides = [source.object for source in sources]
    known = [side for side in sides if side is not None]
    if len(known) < len(sides):
        raise UserError(f"{mode} mode: the source was recorded without an object map, and no source mask is given")
    if len(known) == 1:
        return known[0]
    rims = [side.mask & False if side.rim is None else side.rim for side in known]
    has_rim = any(side.rim is not None for side in known)
    return Sides(torch.cat([side.mask for side in known]), torch.cat(rims) if has_rim else None)
