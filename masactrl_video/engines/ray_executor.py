"""Chunks of a plan, rendered by actors of Ray, each of which holds the model."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from pydantic_core import from_json

from masactrl_video.controls.extract import GuidanceBeside
from masactrl_video.engines.handing import Handing, Worker
from masactrl_video.engines.letter import Answer
from masactrl_video.engines.parcel import Parcels
from masactrl_video.engines.ray_actors import CHUNKS, Inside, RayActor, RayActors, answered
from masactrl_video.engines.ray_cluster import Cluster
from masactrl_video.model.offload import set_aside
from masactrl_video.progress import CancelToken, stopped_by, telling
from masactrl_video.render.chunks import Pending
from masactrl_video.render.frames import FramesJob
from masactrl_video.render.plan import Chunk, ChunkResult, RenderPlan
from masactrl_video.render.steps import RenderSteps
from masactrl_video.settings.engine_parts import EngineSettings

logger = logging.getLogger(__name__)


class RayExecutor:
    """Renders the chunks of a plan on a cluster; the workers are there inside its context."""

    def __init__(
        self,
        cluster: Cluster,
        settings: EngineSettings,
        plan: RenderPlan,
        job: FramesJob,
        progress: RenderSteps,
        inside: Inside = CHUNKS,
    ) -> None:
        """Start nothing yet.

        Args:
            job: what the owner has open.
            inside: what works in the actors.
        """
        self._plan, self._progress, self._inside = plan, progress, inside
        self._guidance = job.given
        self._model = job.denoising.model
        on_gpu = self._model.device.type == "cuda"
        self._actors = RayActors(cluster, settings, most=len(plan.chunks), on_gpu=on_gpu)
        self._parcels = Parcels(plan, storage=settings.storage, everything_is_seen=cluster.is_own)
        self._token, self._open = CancelToken(), ExitStack()
        steps, why = plan.settings.num_inference_steps, self._actors.why_waiting
        self._handing = Handing(self._hire, progress, steps, why_waiting=why)

    def __enter__(self) -> RayExecutor:
        with ExitStack() as stack:
            for pictures in self._guidance:
                if isinstance(pictures, GuidanceBeside):  # workers look for whole guidance
                    pictures.whole()
            stack.enter_context(set_aside(self._model.modules))  # a worker has its GPU
            stack.enter_context(stopped_by(self._token))
            stack.enter_context(telling(self._progress.task))
            self._letter = stack.enter_context(self._parcels.letter(self._actors.put))
            for folder in (self._plan.pictures, self._plan.masks):
                if folder is not None:
                    folder.mkdir(parents=True, exist_ok=True)
            stack.callback(self._end)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._actors.leave()
        self._open.__exit__(kind, error, trace)

    def map_unordered(self, chunks: Iterable[Chunk], /) -> Iterator[ChunkResult]:
        """The result of each chunk as it comes."""
        return self._handing.map_unordered(chunks)

    def cancel(self) -> None:
        """Have it stop within a second; what the workers have in hand is lost, frames that are written stay."""
        self._token.cancel()

    def figures(self) -> dict[str, Any]:
        """For the report: what each worker did."""
        return {"engine": "ray", "workers": [vars(worker) for worker in self._handing.figures]}

    def _hire(self, there: int) -> Sequence[Worker[ChunkResult]]:
        def worker(ray: Any, actor: Any) -> _ChunkActor:
            return _ChunkActor(ray, actor, self._parcels)

        return self._actors.hire(there, self._letter, self._inside, worker)

    def _end(self) -> None:
        self._handing.stop()
        self._actors.end()


class _ChunkActor(RayActor):
    """An actor that renders chunks, as `Handing` has it."""

    def __init__(self, ray: Any, actor: Any, parcels: Parcels) -> None:
        super().__init__(ray, actor)
        self._parcels = parcels

    def run(self, chunk: Chunk, /) -> Future[Pending]:
        """Render a chunk."""

        def pending(node: str, answer: Answer) -> Pending:
            result, files, warnings = answer

            def taken_over() -> ChunkResult:
                for warning in warnings:
                    logger.warning("node %s: %s", node, warning)
                return self._parcels.arrived(ChunkResult.model_validate(from_json(result)), files)

            return taken_over

        pictures = self._parcels.pictures_for(chunk)
        return answered(self._actor.run.remote(chunk.model_dump_json(), pictures), pending)
