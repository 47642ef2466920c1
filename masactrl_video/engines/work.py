"""Work that is done number by number, each for itself: a comic's panels, the cells of a grid, the cases of a test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.cache.store import open_entry
from masactrl_video.errors import UserError
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.storage.fingerprint import hash_module

_Result = TypeVar("_Result")
_Result_co = TypeVar("_Result_co", covariant=True)


class Work(Protocol[_Result_co]):
    """What any process can do. It travels: its class is found by its name, and what it holds is plain data."""

    @property
    def sources(self) -> Sequence[Path]:
        """Folders of the recorded sources that it reads."""

    def open(self, sources: Sequence[Path]) -> Callable[[int], _Result_co]:
        """Load what it needs, in another process than its owner's; what does one number then.

        Args:
            sources: where the recorded sources lie there, in their order.

        Raises:
            UserError: anything is missing there, or is not what its owner has.
        """


@dataclass(frozen=True)
class WorkLetter:
    """All that a worker needs to begin. It travels as the dictionary of its fields."""

    version: str
    """Of this package, where the letter was written."""
    work: Any
    """What stands for a `Work`; it is fetched when it is known that the worker has the owner's version."""
    run: str
    """Names the run, the same for all of its workers and for nobody else."""
    threads: int
    """Of torch on a CPU, as the owner has them: sums in floating point may depend on it."""
    sources: Sequence[Mapping[str, Any] | str]
    """For each recorded source its files by name, or the path of its folder where all see it."""


class Each(Protocol):
    """Does some numbers of a work; results come in any order."""

    def __call__(
        self, work: Work[_Result], numbers: Sequence[int], here: Callable[[int], _Result]
    ) -> Iterator[tuple[int, _Result]]:
        """Each number with its result.

        Args:
            here: does a number in this process, with what is loaded already.
        """

    def weights(self, model: DiffusionModel) -> Mapping[str, str]:
        """What workers compare their model with; nothing where they have this one, which else makes room for them."""

    def figures(self) -> dict[str, Any]:
        """What the report says of it."""


class EachHere:
    """This process does them in order."""

    def __call__(
        self, work: Work[_Result], numbers: Iterable[int], here: Callable[[int], _Result]
    ) -> Iterator[tuple[int, _Result]]:
        """Each number with its result."""
        return ((number, here(number)) for number in numbers)

    def weights(self, model: DiffusionModel) -> Mapping[str, str]:
        """Nothing."""
        return {}

    def figures(self) -> dict[str, Any]:
        """Nothing: the report has it all."""
        return {}


def weights_in(model: DiffusionModel) -> dict[str, str]:
    """Name of each network of a model → hash of its weights; equal on all nodes that make the same pictures."""
    parts = {name: part for name, part in model.pipe.components.items() if isinstance(part, torch.nn.Module)}
    parts |= {f"control {network.name}": network.module for network in model.networks}
    return {name: hash_module(part) for name, part in sorted(parts.items())}


def check_weights(model: DiffusionModel, owner: Mapping[str, str]) -> None:
    """See that a model is the owner's.

    Raises:
        UserError: a network is another one, or missing.
    """
    here = weights_in(model)
    for name in sorted({*here, *owner}):
        if here.get(name) != owner.get(name):
            raise UserError(f"its model is another than the owner's: the {name} differs; give all nodes the same files")


def recorded_at(folder: Path, model: DiffusionModel, *, exact: bool) -> CachedSource:
    """A recorded source, checked, for a model.

    Args:
        exact: whether it is stored in the model's number format.

    Raises:
        UserError: it is not there, or damaged.
    """
    entry = open_entry(folder.parent, folder.name)
    if entry is None:
        raise UserError(f"the recorded source {folder.name} is not in {folder.parent}; run the same command again")
    return CachedSource(entry, model.device, None if exact else model.dtype)


def own_device(device: str | None) -> str | None:
    """What a worker calls a device that its owner calls so: it sees its own GPU alone."""
    return "cuda" if device is not None and device.startswith("cuda:") else device
