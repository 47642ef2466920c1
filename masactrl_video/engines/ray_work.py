"""A `Work`, done by actors of Ray."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

import masactrl_video
from masactrl_video.engines.handing import Handing, Worker, WorkerFigures
from masactrl_video.engines.letter import Answer
from masactrl_video.engines.parcel import sent_source
from masactrl_video.engines.ray_actors import WORK, RayActor, RayActors, answered
from masactrl_video.engines.ray_cluster import Cluster
from masactrl_video.engines.work import Work, WorkLetter, weights_in
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.offload import set_aside
from masactrl_video.progress import check_cancelled
from masactrl_video.render.plan import Chunk
from masactrl_video.settings.engine_parts import EngineSettings

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class _Made:
    """A number that is done."""

    number: int
    result: Any
    seconds: float
    frames_rendered: int = 1


class EachOnRay:
    """Workers of a cluster do them, each with a model of its own; a number whose worker dies goes to another."""

    def __init__(self, cluster: Cluster, settings: EngineSettings) -> None:
        self._cluster, self._settings = cluster, settings
        self._figures: list[WorkerFigures] = []
        self._model: DiffusionModel | None = None

    def __call__(
        self, work: Work[_Result], numbers: Sequence[int], here: Callable[[int], _Result]
    ) -> Iterator[tuple[int, _Result]]:
        """Each number with its result, as it comes; `here` is not called.

        Raises:
            UserError: a number cannot be done by anybody, or there is nobody to do it.
        """
        if not numbers:
            return
        actors = RayActors(self._cluster, self._settings, most=len(numbers), on_gpu=torch.cuda.is_available())
        letter = self._letter(work, actors.put)

        def hire(there: int) -> Sequence[Worker[_Made]]:
            return actors.hire(there, letter, WORK, _WorkActor)

        handing = Handing(hire, _NotTold(), 1, why_waiting=actors.why_waiting, called=_called)
        with ExitStack() as stack:
            stack.enter_context(set_aside(self._model.modules if self._model else ()))
            stack.callback(actors.end)
            stack.callback(handing.stop)
            for made in handing.map_unordered([Chunk(batches=((number, number + 1),)) for number in numbers]):
                yield made.number, made.result
            self._figures += handing.figures
            actors.leave()

    def weights(self, model: DiffusionModel) -> Mapping[str, str]:
        """Hashes of all its networks; while others work, it is set aside."""
        self._model = model
        return weights_in(model)

    def figures(self) -> dict[str, Any]:
        """For the report: what each worker did."""
        return {"engine": "ray", "workers": [vars(worker) for worker in self._figures]}

    def _letter(self, work: Work[_Result], put: Callable[[Any], Any]) -> Mapping[str, Any]:
        return vars(
            WorkLetter(
                version=masactrl_video.__version__,
                work=put(work),
                run=secrets.token_hex(16),
                threads=torch.get_num_threads(),
                sources=[str(path) if self._seen(path) else sent_source(path, put) for path in work.sources],
            )
        )

    def _seen(self, path: Path) -> bool:
        storage = self._settings.storage
        return self._cluster.is_own or (storage is not None and path.resolve().is_relative_to(storage.resolve()))


def _called(chunk: Chunk) -> str:
    return f"picture {chunk.batches[0][0] + 1}"


class _NotTold:
    """Nobody is told of steps; each result is."""

    def taken_elsewhere(self, steps: int, frames_done: int, frame: int, step: int) -> None:
        """Stop here if somebody asks for it."""
        check_cancelled()


class _WorkActor(RayActor):
    """An actor that does numbers of a work, as `Handing` has it."""

    def run(self, chunk: Chunk, /) -> Future[Callable[[], _Made]]:
        """Do the number that the chunk stands for."""
        number = chunk.batches[0][0]

        def read(node: str, answer: Answer) -> Callable[[], _Made]:
            result, seconds, warnings = answer

            def taken_over() -> _Made:
                for warning in warnings:
                    logger.warning("node %s: %s", node, warning)
                return _Made(number, result, seconds)

            return taken_over

        return answered(self._actor.run.remote(number), read)
