"""The source, and how frames follow it."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import ValidationInfo, field_validator

from masactrl_video.settings.fields import ATTEND, COMICS, DECODE, DENOISE, RECORD, SPRITES, VIDEOS, Part, option
from masactrl_video.settings.home import MAY_BE_AT_HOME, OwnName, OwnPath
from masactrl_video.settings.inactive import (
    CHARACTER_IS_SOURCE,
    COLOURS_FREE,
    LAYERS_LISTED,
    MASKED,
    NO_FRAME_IN_SOURCE,
    NO_HAND_OVER,
    NO_MASK_BY_WORDS,
    NO_MASKS,
    NOT_MIXED,
    NOT_PLACED,
    PICTURE_IS_SOURCE,
    POSED,
    SOURCES_PLACED,
    STEPS_LISTED,
    STILL,
)
from masactrl_video.settings.modes import HELP, Mode, needs_of
from masactrl_video.settings.names import Background, HandOver, MaskCells, Rim, SourcePositions, StillMargin
from masactrl_video.settings.timeline import is_inverted

_source = partial(option, "source", changes="source", commands=VIDEOS | RECORD)
_timeline = partial(option, "source", changes="source", commands=VIDEOS)
_any_source = partial(option, "source", changes="source", commands=DENOISE - COMICS, sweepable=True)
_attention = partial(option, "attention", changes="frames", commands=ATTEND, sweepable=True)
_colours = partial(option, "attention", commands=VIDEOS | SPRITES)
_mask = partial(option, "attention", changes="source", commands=ATTEND - COMICS, only=MASKED, sweepable=True)


class SourceSettings(Part):
    """Where the source comes from."""

    source: Literal["generate", "clip"] = _source(
        "generate the source from a prompt, or invert the clip's own frame", "generate", inactive=(PICTURE_IS_SOURCE,)
    )
    source_frame: int = _source(
        "frame (of those taken, from 0) whose guidance or picture is the source's",
        0,
        inactive=(PICTURE_IS_SOURCE, CHARACTER_IS_SOURCE, NO_FRAME_IN_SOURCE, SOURCES_PLACED),
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
    references: list[str] = _any_source(
        "FLUX.2 klein-kv: saved characters whose references stand beside every frame in one softmax, from step 0 on, "
        "whichever source it follows; behind that of the character, if it is one too",
        [],
        commands=ATTEND - COMICS,
        sweepable=False,
    )
    source_caption: str | None = _any_source(
        "masked mode, inverted source: a caption that names the object (the prompt if not given)",
        None,
        commands=ATTEND - COMICS - {"synthesize"},
        only=MASKED,
    )

    sources: Annotated[dict[str, str], MAY_BE_AT_HOME] = _timeline(
        "frame → the source that holds from it on: clip (that frame itself), generated (under its guidance, as the "
        "character of the first source), a picture's path, or a character's name",
        {},
        by_hand=True,
    )
    cast: dict[str, str] = _timeline(
        "several people in a clip: number of a person, by appearance from 0 → a saved character, which that person "
        "follows; needs guidance pose",
        {},
        by_hand=True,
    )
    cast_prompts: dict[str, str] = _timeline(
        "number of a person in cast → what their part of the picture reads instead of the prompt",
        {},
        changes="frames",
        by_hand=True,
    )
    key_frames: int | Literal["auto"] | None = _timeline(
        "so many sources, spread over the clip; auto: another one wherever the guidance leaves what they have shown",
        None,
    )
    key_frame_threshold: float = _timeline(
        "key_frames auto: how far guidance may be from the nearest source's. Pose: mean distance of its points, in "
        "lengths of the torso; canny: share of edges farther than 2 % of the diagonal from all of its edges",
        0.5,
        inactive=(NOT_PLACED,),
        gt=0,
    )
    hand_over: HandOver = _timeline(
        "with several sources: nearest (a frame follows the nearest one at or before it) or mix (from a source's frame "
        "on both it and the one before, with weights that move)",
        "nearest",
        changes="frames",
        inactive=(NO_HAND_OVER,),
    )
    hand_over_frames: int = _timeline(
        "hand_over mix: over how many frames", 8, changes="frames", inactive=(NOT_MIXED,), ge=1
    )

    @field_validator("key_frames", mode="before")
    @classmethod
    def _a_number_or_auto(cls, value: Any) -> Any:
        text = str(value)
        if value is None or value == "auto" or (text.isascii() and text.isdigit() and int(text) > 0):
            return value if value in (None, "auto") else int(text)
        raise ValueError(f"got {value!r}; give a number of 1 or more, or auto")

    @property
    def real_source(self) -> bool:
        """Whether the source, or one of several, is a given picture, which is inverted."""
        return self.source == "clip" or self.source_image is not None or any(map(is_inverted, self.sources.values()))


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
        "FLUX, Chroma, Z-Image, Qwen-Image, Wan: where the source's keys stand: as-is, as in the source; shifted, "
        "beside the frame; free, nowhere; pose, each where the limb that it shows is in the frame (needs guidance "
        "pose)",
        "as-is",
    )
    source_pose: OwnName = _attention(
        "source_positions pose: pose of a source that is no frame of the clip, a name or pose JSON",
        None,
        commands=ATTEND - COMICS,
        only=POSED,
        sweepable=False,
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
    mask_attributes: list[str] = _mask(
        "words of what the object wears or carries, such as scarf hat, in the prompt: their own maps join the object's",
        [],
    )
    mask_rim: Rim = _mask(
        "so many latent points around each mask, the source's and the frames', may ask, and be asked by, both sides: "
        "hats and scarves reach beyond the words; auto: as many as the map takes from its threshold to nothing",
        0,
        changes="frames",
    )
    mask_cells: MaskCells = _attention(
        "masked mode: a cell of a coarser layer is the object's if the first of its points is (nearest, as MasaCtrl's "
        "own code) or if half of its area is (area: far less of the object leaks into the ground beside it)",
        "nearest",
        commands=ATTEND - COMICS,
        inactive=(NO_MASKS,),
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

    neighbour: float = _attention(
        "how much each frame also attends to the frame before it, against 1 for the source, in the same softmax: 0 not "
        "at all, 1 as much; frames then depend on batch_size and chunk_frames, whose first frame has none",
        0.0,
        commands=VIDEOS,
        sweepable=False,
        ge=0,
        le=1,
    )
    background: Background = _colours(
        "masked mode: what stands behind the figure: source (its ground, attended to), own (the frame's own ground, "
        "which may move), still (the source's latents themselves; FLUX.1, SD3 and "
        "Qwen-Image compute the figure alone), or clip (the ground of the clip's own frame, "
        "inverted: pans stay pans, at about twice the work)",
        "source",
        changes="source",
        only=MASKED,
    )
    still_margin: StillMargin = _colours(
        "background still, on UNets: denoise only the figures and so many latent points around them, as if that were "
        "the picture, which is cheaper and not exact; all: denoise the whole picture",
        "all",
        changes="frames",
        only=STILL,
    )
    hold_colours: float = _colours(
        "align each frame's colours to its source's (AdaIN of the predicted clean latents in the late steps, of object "
        "and ground apart where there are masks): 0 not at all, 1 to the full",
        0.0,
        changes="source",
        ge=0,
        le=1,
    )
    colours_from: float = _colours(
        "hold_colours: part of the denoising steps after which frames are aligned",
        0.8,
        changes="frames",
        inactive=(COLOURS_FREE,),
        ge=0,
        lt=1,
    )

    @field_validator("mask_rim", "still_margin", mode="before")
    @classmethod
    def _points_or_word(cls, value: Any, info: ValidationInfo) -> Any:
        text, word = str(value), "auto" if info.field_name == "mask_rim" else "all"
        if value == word or (text.isascii() and text.isdigit() and not isinstance(value, bool)):
            return value if value == word else int(text)
        raise ValueError(f"got {value!r}; give a number of latent points, 0 or more, or {word}")

    @property
    def masked(self) -> bool:
        """Whether its mode asks where the object is."""
        return "masks" in needs_of(self.attention_mode)

    @property
    def masked_by_words(self) -> bool:
        """Whether a mask, of the source or of the frames, is found by the words of the object."""
        return self.masked and (self.target_masks is None or self.source_mask is None)
