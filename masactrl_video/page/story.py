"""A comic as its author writes it: characters, panels, and how the page looks.

Paths in a story are relative to the story's file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from masactrl_video.settings.home import MAY_BE_AT_HOME, OwnName, OwnPath
from masactrl_video.settings.names import Box, Fraction, Ground, Name
from masactrl_video.settings.schema import DIALECT, settings_schema
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.yaml_file import SettingsOf

NO_CHARACTER = "[NC]"
"""Begins the prompt of a panel without any character, as in StoryDiffusion's scripts."""

SavedName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
"""Of a saved character."""

Text = Annotated[str, Field(min_length=1, max_length=1000)]
Words = Annotated[list[Text], Field(min_length=1, max_length=20)]
Place = Literal["top-left", "top", "top-right", "left", "centre", "right", "bottom-left", "bottom", "bottom-right"]
Side = Annotated[int, Field(ge=1, le=20000)]
Weight = Annotated[float, Field(gt=0, le=100)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Character(_Record):
    """Somebody who looks the same in every panel: made from a prompt, a picture, or a saved character."""

    prompt: Text | None = None
    """The source is generated from it."""
    image: OwnPath = None
    """The source is this picture, inverted."""
    source: SavedName | None = None
    """The source is a saved character (`masactrl-video source make`)."""
    words: Words | None = None
    """How prompts name the character: where the words are in a panel, and only there, it follows its source."""
    source_words: Words | None = None
    """Its words in the source's prompt or caption, if others."""
    caption: Text | None = None
    """For a picture: a text that names the character, so that its words can be found in it."""
    pose: OwnName = None
    """For a prompt: the pose in which the source is made."""
    seed: int | None = Field(default=None, ge=0, lt=2**32)
    size: tuple[Side, Side] | None = None
    """Width and height of the source in px; the model's own size (a picture's shape) if not given."""

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        given = [name for name in ("prompt", "image", "source") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of prompt, image and source, got {' and '.join(given) or 'none of them'}")
        allowed = {"prompt": ("pose", "seed", "size"), "image": ("caption", "size"), "source": ()}[given[0]]
        for name in ("pose", "seed", "size", "caption"):
            if getattr(self, name) is not None and name not in allowed:
                raise ValueError(f"{name} has no effect beside {given[0]}; leave it out")
        if self.source_words and not self.words:
            raise ValueError("source_words: give words too, which say where the character is in a panel")
        if self.image and self.words and not self.caption:
            raise ValueError("caption: a picture needs a text that names the character, so that words can be found")
        return self


class Placement(_Record):
    """A character in one panel."""

    pose: OwnName = None
    box: Box | None = None
    """Where it is; with words, where it may be. Its pose is fitted into the box."""
    prompt: Text | None = None
    """What is read inside its box instead of the panel's prompt, so that nobody else's words act on it."""
    words: Words | None = None
    """How this panel's prompt names it, if otherwise."""

    @model_validator(mode="after")
    def _box_has_an_inside(self) -> Self:
        if self.box and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError(f"box: got {list(self.box)}; write left, top, right, bottom, in fractions of the panel")
        return self


class Caption(_Record):
    """The narrator's text, in a box at the edge of its panel."""

    text: Text
    at: Literal["top", "bottom"] = "top"


class Balloon(_Record):
    """What somebody says, thinks or shouts."""

    text: Text
    by: Name | None = None
    """The character at whom the tail points."""
    kind: Literal["speech", "thought", "shout"] = "speech"
    at: Place | tuple[Fraction, Fraction] | None = None
    """A place in the panel, or its centre in fractions (kept inside the panel); else in reading order from the top."""
    tail: tuple[Fraction, Fraction] | Literal["none"] | None = None
    """Where the tail points, in fractions of the panel; at the speaker's head if not given."""


def _as_caption(value: Any) -> Any:
    return {"text": value} if isinstance(value, str) else value


def _as_balloon(value: Any) -> Any:
    return {"text": value} if isinstance(value, str) else value


def _as_placements(value: Any) -> Any:
    """A list of names stands for characters without anything said of them."""
    if isinstance(value, list) and all(isinstance(name, str) for name in value) and len(set(value)) == len(value):
        return {name: {} for name in value}
    if isinstance(value, dict):
        return {name: {} if placed is None else placed for name, placed in value.items()}
    return value


class Panel(_Record):
    """One picture of the story."""

    prompt: Text
    negative_prompt: str | None = None
    characters: Annotated[dict[Name, Placement] | None, BeforeValidator(_as_placements)] = Field(None, max_length=8)
    """Who is in it, by name; the story's only character if not given."""
    pose: OwnName = None
    """Of the whole panel: a named pose, a pose JSON, or a ready-made pose picture."""
    seed: int | None = Field(default=None, ge=0, lt=2**32)
    size: tuple[Side, Side] | None = None
    """Width and height in px at which it is rendered; the shape of its place at the model's area if not given."""
    caption: Annotated[Caption | None, BeforeValidator(_as_caption)] = None
    balloons: list[Annotated[Balloon, BeforeValidator(_as_balloon)]] = Field([], max_length=20)

    @model_validator(mode="before")
    @classmethod
    def _without_the_character(cls, data: Any) -> Any:
        prompt = data.get("prompt") if isinstance(data, dict) else None
        if not isinstance(prompt, str) or not prompt.lstrip().startswith(NO_CHARACTER):
            return data
        if data.get("characters") or data.get("pose"):
            raise ValueError(f"{NO_CHARACTER} is a panel without characters; leave out characters and pose")
        return {**data, "prompt": prompt.lstrip().removeprefix(NO_CHARACTER).strip(), "characters": {}}

    @model_validator(mode="after")
    def _one_pose_each(self) -> Self:
        if self.pose is not None and any(placed.pose for placed in (self.characters or {}).values()):
            raise ValueError("pose: given for the panel and for its character; give it once")
        return self


class Row(_Record):
    """A row of panels: its height and their widths, as parts of what there is."""

    height: Weight = 1.0
    widths: Annotated[list[Weight], Field(min_length=1, max_length=12)]


def _as_rows(value: Any) -> Any:
    if isinstance(value, list):
        return [{"widths": row} if isinstance(row, list) else row for row in value]
    return value


Layout = Annotated[str | Annotated[list[Row], Field(min_length=1, max_length=24)], BeforeValidator(_as_rows)]
"""Name of a layout, or rows: `[[2, 1], [1, 1, 1]]`, or `[{height: 2, widths: [1]}, {widths: [1, 1]}]`."""


class Page(_Record):
    """A page with panels and layout of its own."""

    layout: Layout = "auto"
    panels: list[Panel] = Field(min_length=1, max_length=48)


Fonts = Annotated[list[Path], Field(min_length=1, max_length=16)]


def _as_fonts(value: Any) -> Any:
    return [value] if isinstance(value, str | Path) else value


class PageStyle(_Record):
    """Measures and colours of all pages."""

    width: Side = 1240
    height: Side = 1754
    margin: int = Field(default=56, ge=0)
    """px around the panels."""
    gutter: int = Field(default=24, ge=0)
    """px between panels."""
    border: int = Field(default=5, ge=0, le=100)
    """px of a panel's frame."""
    background: str = Field(default="#ffffff", pattern=r"^#[0-9a-fA-F]{6}$")
    text_size: int = Field(default=30, ge=6, le=400)
    """px; text that does not fit becomes smaller."""
    min_text_size: int = Field(default=16, ge=6, le=400)
    """px; text that does not fit at this size is an error."""
    font: Annotated[Fonts | None, BeforeValidator(_as_fonts), MAY_BE_AT_HOME] = None
    """A TrueType or OpenType file, or several: the first that has a letter writes it. `built-in` names Comic Neue Bold,
    which is taken if none is given."""
    dpi: int = Field(default=150, ge=36, le=1200)
    """Of the PDF and in the PNG's header."""

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        if self.min_text_size > self.text_size:
            raise ValueError(f"min_text_size {self.min_text_size} is more than text_size {self.text_size}")
        return self


class Story(_Record):
    """A whole comic."""

    preset: str | None = None
    settings: Annotated[dict[str, Any], SettingsOf(Settings)] = {}
    """Changes to the preset, by the names of `masactrl-video render`'s settings."""
    characters: dict[Name, Character] = Field({}, max_length=32)
    panels: list[Panel] = Field([], max_length=500)
    """Spread over pages of the same layout."""
    pages: list[Page] = Field([], max_length=200)
    script: OwnPath = None
    """A text file, one line a panel, instead of panels."""
    layout: Layout = "auto"
    page: PageStyle = PageStyle()
    ground: Ground = "self"
    """What the parts of a panel that belong to no character attend to."""

    @model_validator(mode="after")
    def _has_panels(self) -> Self:
        given = [name for name in ("panels", "pages", "script") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"give one of panels, pages and script, got {' and '.join(given) or 'none of them'}")
        if self.pages and self.layout != "auto":
            raise ValueError("layout: each of pages has its own; leave it out")
        return self


def story_schema() -> dict[str, Any]:
    """JSON Schema of a story's file, with the settings that may stand in it (see `settings_schema`)."""
    story, settings = Story.model_json_schema(), settings_schema("story")
    story["$defs"] |= settings.pop("$defs")  # references begin at the root
    del settings["$schema"]
    story["properties"]["settings"] |= settings
    return {"$schema": DIALECT} | story
