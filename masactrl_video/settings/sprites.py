"""Settings of sprite sheets: those of a render, with movements instead of a clip."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import field_validator, model_validator

from masactrl_video.settings.fields import SPRITES, option
from masactrl_video.settings.home import MAY_BE_AT_HOME
from masactrl_video.settings.presets import resolve_as, with_scaled_step
from masactrl_video.settings.settings import Settings

_sheet = partial(option, "sprites", changes="file", commands=SPRITES)

SHIPPED = ("idle", "walk", "run", "jump", "wave")
FACINGS = (1, 2, 4, 8)
MOST_COLOURS = 256


class SpriteSettings(Settings):
    """Resolved settings of `sprites`. What belongs to a clip has no effect."""

    clip: Annotated[Path, MAY_BE_AT_HOME] = option(
        "clip", "has no effect on sprites", Path(), changes="source", commands=frozenset(), by_hand=True
    )

    actions: Annotated[list[str], MAY_BE_AT_HOME] = _sheet(
        f"movements, a row each: {', '.join(SHIPPED)}, or pose JSON of a closed loop", list(SHIPPED), changes="frames"
    )
    facings: int = _sheet(
        "1: as a paper puppet, which faces us; 2: that and its mirror image; 4: down, left, right, up; 8: diagonals "
        "too (4 and 8 need a model that can draw people from the side and from behind)",
        1,
        changes="frames",
    )
    mirror: bool = _sheet(
        "left facings are the mirror image of the right ones; --no-mirror renders them", True, changes="frames"
    )
    action_rate: float | None = _sheet(
        "frames a second of every movement (if not given, its own: idle 6, wave 8, walk and jump 10, run 12, pose JSON "
        "12)",
        None,
        gt=0,
        le=60,
    )
    cell: int = _sheet("side of a cell in px; pictures are made smaller to fit, never larger", 128, ge=8, le=2048)
    palette: str | None = _sheet(
        "one palette for all cells: so many colours (2 to 256), or a file with them (.hex, .gpl or .png)", None
    )
    dither: bool = _sheet("with a palette: mix its colours in a fixed pattern", False)
    edge: Literal["auto", "soft", "hard"] = _sheet(
        "alpha of the outline: soft; hard (a pixel is there or not); auto: hard with a palette, soft without", "auto"
    )

    @field_validator("facings")
    @classmethod
    def _is_a_number_of_facings(cls, value: int) -> int:
        if value not in FACINGS:
            raise ValueError(f"got {value}; give 1, 2, 4 or 8")
        return value

    @field_validator("palette", mode="before")
    @classmethod
    def _is_a_palette(cls, value: Any) -> Any:
        text = None if value is None else str(value)
        if text is not None and text.lstrip("-").isdigit() and not 2 <= int(text) <= MOST_COLOURS:
            raise ValueError(f"got {text}; give 2 to {MOST_COLOURS} colours, or a .hex, .gpl or .png file")
        return text

    @model_validator(mode="after")
    def _sprites_agree(self) -> Self:
        if not self.actions:
            raise ValueError(f"actions: none given; there are {', '.join(SHIPPED)}, or give pose JSON")
        names = [Path(action).stem for action in self.actions]
        if doubled := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"actions: {doubled[0]!r} is named twice; give each movement once")
        if self.dither and self.palette is None:
            raise ValueError("dither: it mixes the colours of a palette; give palette too")
        if (self.width or self.height) and self.width != self.height:
            raise ValueError(
                f"width {self.width} and height {self.height}: sprites are rendered on a square; give both alike"
            )
        if self.source == "clip" or self.sources or self.key_frames:
            raise ValueError("source: sprites have no clip to take it from; give character, source_image or a prompt")
        if self.kinds != ["pose"]:
            raise ValueError(f"guidance: sprites are made of poses, got {', '.join(self.kinds) or 'none'}; give pose")
        return self

    @property
    def hard(self) -> bool:
        """Whether a pixel of a cell is there or not, and nothing between."""
        return self.edge == "hard" or (self.edge == "auto" and self.palette is not None)

    def of_render(self, poses: Path) -> Settings:
        """Settings of the clip of all poses."""
        own = {name: getattr(self, name) for name in Settings.model_fields}
        masks = {"save_masks": True} if self.masked else {}
        changes = {"clip": poses, "side_by_side": False, "audio": False, "frame_rate": None, **masks}
        return Settings.model_validate(own | changes)


def resolve_sprites(base: Mapping[str, Any], changes: Mapping[str, Any]) -> SpriteSettings:
    """Settings of sprites from a preset, or an earlier run's, and what the user changed.

    Raises:
        UserError: an unknown setting, a value that it cannot have, or a change without effect.
    """
    return resolve_as(SpriteSettings, base, with_scaled_step(base, changes))
