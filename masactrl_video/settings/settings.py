"""Everything that determines a rendered video, as one flat, frozen record.

The names are those of the YAML keys and, with dashes, of the command line's flags; the descriptions are their help.
All else that must be known of a setting stands with it too (`fields.Option`); lists of settings are derived from it.
The record is flat, and made of parts, so that a function that reads one part can ask for that part alone.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import field_validator, model_validator

from masactrl_video.settings.agreement import (
    check_guidance,
    check_masks,
    check_neighbour,
    check_noise,
    check_positions,
    check_source,
    check_speed,
)
from masactrl_video.settings.attention_parts import AttentionSettings, SourceSettings
from masactrl_video.settings.cast import check_cast
from masactrl_video.settings.clip_parts import FrameSettings, SizeSettings
from masactrl_video.settings.engine_parts import EngineSettings
from masactrl_video.settings.guidance_parts import GuidanceSettings
from masactrl_video.settings.inactive import MASKED, ON_RAY, POSED, STILL, check_only
from masactrl_video.settings.model_parts import ModelSettings, SamplingSettings
from masactrl_video.settings.timeline import check_timeline
from masactrl_video.settings.work_parts import OutputSettings, SpeedSettings, WorkSettings
from masactrl_video.storage.text import encodable


class Settings(
    OutputSettings,
    EngineSettings,
    SpeedSettings,
    WorkSettings,
    AttentionSettings,
    SourceSettings,
    SamplingSettings,
    ModelSettings,
    GuidanceSettings,
    SizeSettings,
    FrameSettings,
):  # the last one's settings come first
    """Resolved settings of a render."""

    @field_validator("prompt", "negative_prompt", "source_prompt", "source_caption")
    @classmethod
    def _has_letters_only(cls, text: str | None) -> str | None:
        if text is not None and encodable(text) != text:
            raise ValueError("it holds bytes that are no letters in UTF-8, which is wanted")
        return text

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        check_guidance(self)
        check_source(self)
        check_speed(self)
        if self.masked:
            check_masks(self)
        check_only(self, MASKED)
        check_only(self, STILL)
        check_positions(self)
        check_only(self, POSED)
        check_timeline(self)
        check_cast(self)
        check_noise(self)
        check_neighbour(self)
        check_only(self, ON_RAY)
        return self

    @property
    def unguided_steps(self) -> int:
        """How many steps are without the unconditional branch."""
        return round(self.skip_uncond * self.num_inference_steps) if self.guided else 0

    def as_yaml_data(self) -> dict[str, Any]:
        """Plain data for a YAML file that reproduces these settings."""
        data: dict[str, Any] = self.model_dump(mode="json")
        return data
