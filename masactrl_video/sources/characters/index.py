"""What is known of a saved character: its recipe, and the checksums of its files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

import masactrl_video
from masactrl_video.errors import UserError
from masactrl_video.settings.control import Control
from masactrl_video.settings.names import Name, PredictionType, SchedulerName

FORMAT_VERSION = 1
INDEX_NAME = "character.json"
PICTURE_NAME = "picture.png"
TENSORS_NAME = "source.safetensors"
REFERENCE_NAME = "reference.safetensors"
POSE_NAME = "pose.json"
MAX_INDEX_BYTES = 2**20
MAX_FILE_BYTES = 2**33

FileName = Annotated[
    str, Field(pattern=r"^(picture\.png|(source|reference)\.safetensors|pose\.json|guidance-[0-9]{1,2}\.png)$")
]


def guidance_name(number: int) -> str:
    """File of the guidance picture that belongs to a control, counted from 0."""
    return f"guidance-{number}.png"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


class SavedFile(_Record):
    """Size and checksum of a file."""

    bytes: Annotated[int, Field(ge=0, le=MAX_FILE_BYTES)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ReferenceFacts(_Record):
    """What is kept of a reference picture."""

    network: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    """Fingerprint of the network that made it, the only one that it belongs to."""
    layers: PositiveInt
    tokens: PositiveInt
    dtype: str
    """Number format of keys and values."""
    bytes: PositiveInt
    """Of all of them."""


class Recipe(_Record):
    """How the source was made: everything that a later run needs to record it again."""

    kind: Literal["generated", "real", "reference"]
    """`reference`: keys and values are kept themselves, for every step, prompt and size; no step is recorded again."""
    prompt: str
    """Of a generated source, or a generated reference picture; of an inverted picture the source prompt, usually
    empty."""
    negative_prompt: str
    caption: str
    """Text that names the character: the prompt, or what was said of the picture; empty where nothing was said."""
    words: list[str]
    """The character's words in the caption."""
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    guidance_scale: float
    width: PositiveInt
    height: PositiveInt
    model: str
    revision: str | None
    variant: str | None
    lora: dict[str, float]
    scheduler: SchedulerName
    num_inference_steps: PositiveInt
    controls: list[Control] = Field(max_length=16)
    """Networks under whose guidance it was generated, in the order of the guidance pictures."""
    pose: str | None
    """As it was given, for people to read."""
    prediction_type: PredictionType | None = None
    true_cfg_scale: Annotated[float, Field(ge=1)] = 1.0
    cfg_normalization: Annotated[float, Field(ge=0)] = 0.0
    cfg_truncation: Annotated[float, Field(ge=0, le=1)] = 1.0
    reference: ReferenceFacts | None = None

    @property
    def said(self) -> str:
        """What is known of what the picture shows."""
        return self.caption or self.prompt

    @model_validator(mode="after")
    def _facts_of_references(self) -> Self:
        if (self.reference is not None) != (self.kind == "reference"):
            raise ValueError("`reference` belongs to a character of that kind, and to no other")
        return self


class PictureRecipe(_Record):
    """A picture that belongs to no model: the one that renders it inverts it, as any given picture."""

    kind: Literal["picture"]
    caption: str
    """What was said of the picture; empty where nothing was said."""
    words: list[str]
    """The character's words in the caption."""
    width: PositiveInt
    height: PositiveInt
    has_pose: bool
    """Whether its pose is kept, on the picture's own canvas."""

    @property
    def said(self) -> str:
        """What is known of what the picture shows."""
        return self.caption


class CharacterIndex(_Record):
    """Content of `character.json`."""

    format_version: Literal[1]
    name: Name
    created: AwareDatetime
    made_by: str
    """Version of this program."""
    recipe: Annotated[Recipe | PictureRecipe, Field(discriminator="kind")]
    files: dict[FileName, SavedFile]

    @classmethod
    def made_now(cls, name: str, recipe: Recipe | PictureRecipe) -> Self:
        """By this program, before it has files."""
        created, made_by = datetime.now(UTC), masactrl_video.__version__
        return cls(format_version=1, name=name, created=created, made_by=made_by, recipe=recipe, files={})

    @property
    def needed(self) -> set[str]:
        """Names of the files that the recipe implies."""
        if isinstance(self.recipe, PictureRecipe):
            return {PICTURE_NAME, POSE_NAME} if self.recipe.has_pose else {PICTURE_NAME}
        if self.recipe.kind == "reference":
            return {PICTURE_NAME, REFERENCE_NAME}
        return {PICTURE_NAME, TENSORS_NAME, *(guidance_name(n) for n in range(len(self.recipe.controls)))}


class CharacterDamaged(UserError):  # noqa: N818, a state of the character
    """A saved character that must not be used."""

    def __init__(self, place: Path, what: str) -> None:
        super().__init__(f"character {place}: it cannot be used: {what}")


def parse_index(data: bytes, place: Path) -> CharacterIndex:
    """Check the content of `character.json`.

    Raises:
        CharacterDamaged: it is too large, no JSON, of another version, or does not fit the schema.
    """
    if len(data) > MAX_INDEX_BYTES:
        raise CharacterDamaged(place, f"{INDEX_NAME} has more than {MAX_INDEX_BYTES} bytes")
    try:
        index = CharacterIndex.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(repr(part)[1:-1] if isinstance(part, str) else str(part) for part in first["loc"])
        raise CharacterDamaged(place, f"{INDEX_NAME} is wrong at {where or 'the top'}: {first['msg']}") from error
    if set(index.files) != index.needed:
        odd = sorted(index.needed ^ set(index.files))[0]
        raise CharacterDamaged(place, f"{odd} is {'not listed' if odd in index.needed else 'listed, but not needed'}")
    return index
