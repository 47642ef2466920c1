"""One guidance network as settings name it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from masactrl_video.settings.home import MAY_BE_AT_HOME, OwnName
from masactrl_video.settings.names import AdapterKind


class Control(BaseModel):
    """A ControlNet, a T2I-Adapter or a reference picture: what it reads, how strongly and when it acts."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")  # part of file names
    """`pose` and `canny` are extracted from the clip; any other kind needs ready-made pictures (`guidance_video`)."""
    adapter: AdapterKind
    model: Annotated[str, MAY_BE_AT_HOME] = Field(default="", validate_default=True)
    """Hub id, local folder, or (ControlNet) one `.safetensors` file; none for adapter `reference`."""
    scale: float = Field(default=1.0, ge=0)
    start: float = Field(default=0.0, ge=0, le=1)
    end: float = Field(default=1.0, ge=0, le=1)
    revision: str | None = None
    variant: str | None = None
    single_file_config: OwnName = None
    """For a `.safetensors` file: hub id or folder with its configuration."""

    @field_validator("model")
    @classmethod
    def _is_named(cls, model: str, info: ValidationInfo) -> str:
        if not model and info.data.get("adapter", "reference") != "reference":
            raise ValueError("missing; name a hub id, a folder or a file")
        return model

    @model_validator(mode="after")
    def _has_no_network_beside(self) -> Self:
        if self.adapter == "reference" and (self.model or self.scale != 1 or self.revision or self.variant):
            raise ValueError(
                "adapter reference: the model itself reads the pictures, so there is no network and no scale"
            )
        return self

    @model_validator(mode="after")
    def _acts_at_all(self) -> Self:
        if self.start >= self.end:
            raise ValueError(
                f"it begins to act at {self.start:g} and stops at {self.end:g}: give a start below the end"
            )
        return self
