"""The source, and how frames follow it."""

from __future__ import annotations

from functools import partial
from typing import Literal

from masactrl_video.settings.fields import ATTEND, COMICS, DECODE, DENOISE, RECORD, VIDEOS, Part, option
from masactrl_video.settings.home import OwnPath
from masactrl_video.settings.inactive import (
    CHARACTER_IS_SOURCE,
    LAYERS_LISTED,
    MASKED,
    NO_FRAME_IN_SOURCE,
    NO_MASK_BY_WORDS,
    PICTURE_IS_SOURCE,
    STEPS_LISTED,
)
from masactrl_video.settings.modes import HELP, Mode, needs_of
from masactrl_video.settings.names import SourcePositions

_source = partial(option, "source", changes="source", commands=VIDEOS | RECORD)
_any_source = partial(option, "source", changes="source", commands=DENOISE - COMICS, sweepable=True)
_attention = partial(option, "attention", changes="frames", commands=ATTEND, sweepable=True)
_mask = partial(option, "attention", changes="source", commands=ATTEND - COMICS, only=MASKED, sweepable=True)


class SourceSettings(Part):
    """Where the source comes from."""

    source: Literal["generate", "clip"] = _source(
        "generate the source from a prompt, or invert the clip's own frame", "generate", inactive=(PICTURE_IS_SOURCE,)
    )
    source_frame: int = _source(
        "frame (of those taken, from 0) whose guidance or picture is the source's",
        0,
        inactive=(PICTURE_IS_SOURCE, CHARACTER_IS_SOURCE, NO_FRAME_IN_SOURCE),
        ge=0,
    )
    source_image: OwnPath = _any_source(
        "invert this picture as the source", None, commands=DENOISE - COMICS - {"synthesize"}
    )
    source_prompt: str | None = _any_source(
        "prompt of the source (the prompt if generated, empty if inverted, when not given)", None
    )
    character: str | None = _any_source(
        "a saved character is the source (masactrl-video source make); its recipe must fit the model",
        None,
        commands=ATTEND - COMICS,
    )
    source_caption: str | None = _any_source(
        "masked mode, inverted source: a caption that names the object (the prompt if not given)",
        None,
        commands=ATTEND - COMICS - {"synthesize"},
        only=MASKED,
    )

    @property
    def real_source(self) -> bool:
        """Whether the source is a given picture, which is inverted."""
        return self.source == "clip" or self.source_image is not None


class AttentionSettings(Part):
    """Where, and how, frames use the keys and values of the source."""

    masa_step: int = _attention(
        "S: denoising step from which the source's keys and values are used", 4, inactive=(STEPS_LISTED,), ge=0
    )
    masa_layer: int = _attention(
        "L: self-attention layer (forward order) from which they are used", 10, inactive=(LAYERS_LISTED,), ge=0
    )
    masa_steps: list[int] | None = _attention("explicit steps instead of S", None)
    masa_layers: list[str] | None = _attention("explicit layers instead of L: numbers or names", None)
    source_positions: SourcePositions = _attention(
        "FLUX: where the source's keys stand: as-is, as in the source; shifted, beside the frame; free, nowhere",
        "as-is",
        commands=ATTEND - COMICS,
    )
    attention_mode: Mode = _attention(HELP, "source", changes="source", commands=ATTEND - {"comic"})
    mask_words: list[str] = _mask("masked mode: words of the object in the prompt", [])
    source_mask_words: list[str] | None = _mask("its words in the source's prompt, if others", None)
    source_mask: OwnPath = _mask("masked mode: picture, white where the source's object is", None)
    target_masks: OwnPath = _mask(
        "masked mode: video or folder, white where each frame's object is",
        None,
        changes="frames",
        commands=VIDEOS | RECORD,
        sweepable=False,
    )
    mask_threshold: float = _attention(
        "normalised attention from which a pixel is the object's",
        0.1,
        commands=DECODE,
        inactive=(NO_MASK_BY_WORDS,),
        ge=0,
        le=1,
    )
    mask_grid_divisor: int = _attention(
        "masks come from cross-attention at latent side / this", 4, changes="source", inactive=(NO_MASK_BY_WORDS,), ge=1
    )

    @property
    def masked(self) -> bool:
        """Whether its mode asks where the object is."""
        return "masks" in needs_of(self.attention_mode)

    @property
    def masked_by_words(self) -> bool:
        """Whether a mask, of the source or of the frames, is found by the words of the object."""
        return self.masked and (self.target_masks is None or self.source_mask is None)
