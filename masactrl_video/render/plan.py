"""What is to be rendered, as plain JSON: whoever has it, and the files that it names, writes the same frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeInt,
    PlainSerializer,
    PositiveInt,
    SerializationInfo,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import from_json

from masactrl_video.errors import UserError
from masactrl_video.poses.warp import Skeletons
from masactrl_video.settings.control import Control
from masactrl_video.settings.fields import settings_where
from masactrl_video.settings.home import MAY_BE_AT_HOME
from masactrl_video.settings.names import ships
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.timeline import Timeline

if TYPE_CHECKING:  # a plan is read and written without torch
    from masactrl_video.attention.plan import ControlPlan

SCHEMA_VERSION = 1

ANEW = "make it anew, by the version that renders"
"""What to do about a plan that cannot be used."""

_BELOW = "./"
"""Begins a path that is below the base folder; every other path is absolute."""


def _shortened(path: str, base: Path | None) -> str:
    """A path as a plan has it."""
    if base is None or not Path(path).is_relative_to(base):
        return path
    return _BELOW + Path(path).relative_to(base).as_posix()


def _placed(path: str, base: Path | None) -> str:
    """The path that `_shortened` has made that of."""
    if not path.startswith(_BELOW):
        return path
    if base is None:
        raise ValueError(f"{path} is below a base folder, and none is given")
    return str(base / path.removeprefix(_BELOW))


def _base_of(info: SerializationInfo | ValidationInfo) -> Path | None:
    context: Mapping[str, Path | None] = info.context or {}
    return context.get("base")


def _read_path(path: str | Path, info: ValidationInfo) -> Path:
    found = Path(_placed(str(path), _base_of(info)))
    if not found.is_absolute():
        raise ValueError(f"{path} is no absolute path, and none that begins with {_BELOW}")
    return found


def _write_path(path: Path, info: SerializationInfo) -> str:
    return _shortened(str(path), _base_of(info))


FilePath = Annotated[Path, BeforeValidator(_read_path), PlainSerializer(_write_path)]
"""Absolute; in JSON below the base folder, where there is one."""


def _each_path(data: dict[str, JsonValue], record: type[BaseModel], change: Callable[[str], str]) -> None:
    """Change the paths, and what may be one, among the values of a record."""

    def changed(value: JsonValue) -> JsonValue:
        if isinstance(value, dict):  # of files to numbers, or of kinds to files
            return {change(key) if isinstance(item, float) else key: changed(item) for key, item in value.items()}
        return change(value) if isinstance(value, str) else value

    for name, field in record.model_fields.items():
        if name in data and MAY_BE_AT_HOME in field.metadata:
            data[name] = changed(data[name])


def _settings_data(settings: Settings, change: Callable[[str], str]) -> dict[str, JsonValue]:
    """Those of the settings that frames depend on, or the work at them."""
    matter = [*settings_where(Settings, lambda about: about.changes in ("source", "frames")), *_WORK]
    data: dict[str, JsonValue] = settings.model_dump(mode="json", include=set(matter))
    _each_path(data, Settings, change)
    data |= {"sources": {}, "key_frames": None}  # the plan names what they have become
    assert isinstance(data["controls"], dict)
    for control in data["controls"].values():
        assert isinstance(control, dict)
        _each_path(control, Control, change)
    return data


_BESIDE = ("target_masks", "clip", "whose", "places")
_WORK = ("offload", "cache_memory")


def _absolute(name: str) -> str:
    """A file's or folder's absolute path; other names, of the demo and on the hub, stay."""
    is_file = bool(name) and not ships(name) and Path(name).exists()
    return str(Path(name).absolute()) if is_file else name


def planned_settings(settings: Settings) -> Settings:
    """The settings as a plan has them: all paths absolute, and the rest of them at its default."""
    return Settings.model_validate(_settings_data(settings, _absolute))


def _read_settings(data: object, info: ValidationInfo) -> object:
    if not isinstance(data, dict):
        return data
    read = dict(data)
    controls = read.get("controls")
    if isinstance(controls, dict):
        read["controls"] = {name: dict(item) if isinstance(item, dict) else item for name, item in controls.items()}
        for control in filter(lambda item: isinstance(item, dict), read["controls"].values()):
            _each_path(control, Control, lambda path: _placed(path, _base_of(info)))
    _each_path(read, Settings, lambda path: _placed(path, _base_of(info)))
    return read


def _write_settings(settings: Settings, info: SerializationInfo) -> dict[str, JsonValue]:
    return _settings_data(settings, lambda path: _shortened(path, _base_of(info)))


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Chunk(_Part):
    """Frames whose latents are in memory together; the source is read once for them."""

    batches: tuple[tuple[NonNegativeInt, PositiveInt], ...]
    """First frame, and the one after the last, of those that go through the model together: sums in floating point
    depend on it."""

    def ranges(self) -> list[range]:
        """The frames of each batch."""
        return [range(first, end) for first, end in self.batches]


class RecordedEntry(_Part):
    """A source in the cache."""

    folder: FilePath
    """Of the entry; its name is the entry's fingerprint."""
    content: str
    """SHA-256 over the checksums of its files."""
    frame: NonNegativeInt = 0
    """From which on frames follow it."""
    person: NonNegativeInt | None = None
    """Who follows it, where people have sources of their own."""
    of_character: bool = False
    """Whether it is a saved character, with networks of its own."""
    beside: bool = False
    """Whether it holds references that stand beside every frame, whichever source that follows."""


class ControlPictures(_Part):
    """Pictures that are there for every frame, or will be."""

    kind: str
    folder: FilePath
    key: str
    """Names all that they are made from."""


class ControlledWhere(_Part):
    """Where, and how, attention uses the source."""

    mode: str
    steps: tuple[NonNegativeInt, ...]
    layers: tuple[str, ...]

    @classmethod
    def of(cls, plan: ControlPlan) -> ControlledWhere:
        """The same of a plan against a loaded model."""
        return cls(mode=plan.mode, steps=plan.steps, layers=tuple(layer.name for layer in plan.layers))


class RenderPlan(_Part):
    """All that a process needs to know to render frames; live objects are made of it where it is read."""

    schema_version: int = SCHEMA_VERSION
    made_from: dict[str, str]
    """Versions of what computes."""
    settings: Annotated[Settings, BeforeValidator(_read_settings), PlainSerializer(_write_settings)]
    frames: PositiveInt
    """Of the whole clip."""
    size_px: tuple[PositiveInt, PositiveInt]
    """Height and width."""
    batch_size: PositiveInt
    chunks: tuple[Chunk, ...]
    """What was to be rendered when the plan was made; no frame is in two of them."""
    sources: tuple[RecordedEntry, ...] = Field(min_length=1)
    """By their frames, the first at 0; references beside all of them come last."""
    mixed_frames: NonNegativeInt = 0
    """At each source's frame, so many frames follow both it and the one before."""
    control: ControlledWhere
    controls: tuple[ControlPictures, ...]
    """One for each network, in the order of the settings' `guidance`."""
    target_masks: ControlPictures | None = None
    skeletons: Skeletons | None = None
    """Of the sources and of all frames, where the sources' keys go with the limbs."""
    clip: ControlPictures | None = None
    """The clip's own frames, where their ground is attended to."""
    whose: ControlPictures | None = None
    """The parts of people in the frames, where each follows the own source."""
    places: ControlPictures | None = None
    """Where each point of the frames' noise lies in the source's, where it follows bodies."""
    pictures: FilePath
    """Folder of the frames."""
    masks: FilePath | None = None
    """Folder of their masks, where these are saved."""
    text: dict[str, str]
    """For every picture's text chunks."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        end = 0
        for first, stop in sorted(batch for chunk in self.chunks for batch in chunk.batches):
            if not end <= first < stop <= self.frames:
                raise ValueError(f"chunks: frames {first} to {stop - 1} overlap with others, or are not in the clip")
            end = stop
        if len(self.followed) < max(1, len(self.sources) - 1) or any(one.beside for one in self.sources[:-1]):
            raise ValueError("sources: frames follow none, or the last one alone may hold references beside them")
        starts = [source.frame for source in self.followed]
        people = [source.person for source in self.followed]
        if people[0] is not None:
            if None in people or len(set(people)) < len(people) or any(starts) or self.whose is None:
                raise ValueError("sources: of people, each has one of its own, from frame 0 on, and whose says where")
        elif starts[0] != 0 or starts != sorted(set(starts)) or starts[-1] >= self.frames:
            raise ValueError(f"sources: their frames are {starts}, and must rise from 0 and be in the clip")
        if len(self.controls) != len(self.settings.guidance):
            raise ValueError("controls: there are not as many as networks in use")
        limbs = self.skeletons and (len(self.skeletons.sources), len(self.skeletons.frames))
        if limbs != ((len(self.followed), self.frames) if self.settings.source_positions == "pose" else None):
            raise ValueError("skeletons: there is not one for each source and frame, or they are not asked for")
        return self

    @property
    def followed(self) -> tuple[RecordedEntry, ...]:
        """The sources that frames follow."""
        return tuple(source for source in self.sources if not source.beside)

    @property
    def given(self) -> tuple[ControlPictures, ...]:
        """All pictures that must be there to render: of each network, then given masks, then the clip's own frames."""
        return (*self.controls, *self.beside().values())

    def beside(self) -> dict[str, ControlPictures]:
        """Those that there are beside the controls', by the names of `render.frames.Beside`, in their order."""
        found = {name: getattr(self, name) for name in _BESIDE}
        return {name: pictures for name, pictures in found.items() if pictures is not None}

    def picture(self, frame: int) -> Path:
        """Where a frame's picture goes."""
        return self.pictures / f"{frame:06d}.png"

    def mask(self, frame: int) -> Path | None:
        """Where its mask goes, if anywhere."""
        return None if self.masks is None else self.masks / f"{frame:06d}.png"

    def files(self, frame: int) -> tuple[Path, ...]:
        """All that is made of a frame."""
        mask = self.mask(frame)
        return (self.picture(frame),) if mask is None else (self.picture(frame), mask)

    @property
    def timeline(self) -> Timeline:
        """Which source a frame follows."""
        if self.sources[0].person is not None:
            return Timeline()
        return Timeline(tuple(source.frame for source in self.followed), self.mixed_frames)

    @property
    def todo_frames(self) -> int:
        """Frames in all chunks."""
        return sum(end - first for chunk in self.chunks for first, end in chunk.batches)

    def to_json(self, base: Path | None = None) -> str:
        """As plain JSON.

        Args:
            base: paths below this absolute folder are written so that the folder may lie elsewhere for who reads them.
        """
        return self.model_dump_json(indent=1, context={"base": base})

    @classmethod
    def from_json(cls, text: str | bytes, base: Path | None = None) -> RenderPlan:
        """A plan that `to_json` wrote.

        Args:
            base: the absolute folder that paths are below, where they were written so.

        Raises:
            UserError: it is no plan, a damaged one, or another version's.
        """
        try:
            raw = from_json(text)
            version = raw.get("schema_version") if isinstance(raw, dict) else None
            if version != SCHEMA_VERSION:
                raise UserError(f"plan: its schema_version is {version!r}, here it is {SCHEMA_VERSION}; {ANEW}")
            return cls.model_validate(raw, context={"base": base})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the top"
            raise UserError(f"plan: it is wrong at {where}: {first['msg']}; {ANEW}") from error
        except ValueError as error:
            raise UserError(f"plan: it is not JSON: {error}; {ANEW}") from error


class WrittenFile(_Part):
    """A file of a chunk, whole and in its place."""

    path: FilePath
    sha256: str


class SourceReads(_Part):
    """What reading a cached source has cost."""

    held_in_memory: bool = False
    steps_read: NonNegativeInt = 0
    waited_seconds: float = 0.0
    """How long the model had to wait for steps."""


class ChunkResult(_Part):
    """What became of a chunk."""

    files: tuple[WrittenFile, ...]
    """Of all its frames, also those that were there before."""
    batch_size: PositiveInt
    """At the end: smaller than the plan's where memory did not hold that."""
    frames_rendered: NonNegativeInt = 0
    attention: dict[str, int] = {}
    """Counts of controlled attention calls."""
    source_shares: dict[int, float] = {}
    """Frame → part of its attention on the source, at its last controlled step."""
    again_in_float32: tuple[int, ...] = ()
    """Frames that failed in half precision."""
    black: tuple[int, ...] = ()
    """Frames that are black all over."""
    reads: SourceReads = SourceReads()
    seconds: float = 0.0


def cut_chunks(
    frames: int,
    batch_size: int,
    chunk_frames: int,
    made: Sequence[Callable[[int], Path]],
    cuts: Iterable[int] = (),
    *,
    whole: bool = False,
) -> list[Chunk]:
    """Chunks of those batches of which any file is not there yet.

    Batches are always cut at multiples of `batch_size`: sums in floating point depend on a batch's composition, and
    frames must come out the same after an interruption.

    Args:
        made: frame → each of its files.
        cuts: frames that do not share a batch with the one before (see `Timeline.cuts`).
        whole: chunks are cut as if nothing were there, and come with all of their batches where any file is not: a
            frame with a neighbour depends on those before it in its chunk.
    """
    firsts = sorted({*range(0, frames, batch_size), *(frame for frame in cuts if 0 < frame < frames)})
    batches = list(zip(firsts, [*firsts[1:], frames], strict=True))

    def is_made(batch: tuple[int, int]) -> bool:
        return all(of(frame).exists() for of in made for frame in range(*batch))

    todo = [batch for batch in batches if whole or not is_made(batch)]
    each = max(1, chunk_frames // batch_size)
    chunks = [tuple(todo[first : first + each]) for first in range(0, len(todo), each)]
    return [Chunk(batches=chunk) for chunk in chunks if not all(map(is_made, chunk))]
