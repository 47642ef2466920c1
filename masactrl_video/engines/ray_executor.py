"""Chunks rendered by actors of Ray: each holds the model, and Ray starts it anew where its process dies."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from pydantic_core import from_json

from masactrl_video.controls.extract import GuidanceBeside
from masactrl_video.engines.handing import Handing, NodeFault, StepsTaken, Worker, WorkerLost
from masactrl_video.engines.letter import Answer
from masactrl_video.engines.parcel import Parcels
from masactrl_video.engines.ray_cluster import Cluster
from masactrl_video.errors import StorageError, UserError
from masactrl_video.progress import CancelToken, stopped_by, telling
from masactrl_video.render.chunks import Pending
from masactrl_video.render.frames import FramesJob
from masactrl_video.render.plan import Chunk, ChunkResult, RenderPlan
from masactrl_video.render.steps import RenderSteps
from masactrl_video.settings.engine_parts import EngineSettings

logger = logging.getLogger(__name__)

_LEAVE_SECONDS = 5.0

Inside = Callable[[Mapping[str, Any], Callable[[Any], Any]], Any]
"""Makes what works in an actor, from a letter and what fetches contents; see `node.NodeWorker`."""


class RayExecutor:
    """Renders the chunks of a plan on a cluster; the workers are there inside its context."""

    def __init__(
        self,
        cluster: Cluster,
        settings: EngineSettings,
        plan: RenderPlan,
        job: FramesJob,
        progress: RenderSteps,
        inside: Inside | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            job: what the owner has open.
            inside: what works in the actors, by default `NodeWorker`.
        """
        self._cluster, self._plan, self._progress, self._inside = cluster, plan, progress, inside
        self._guidance = job.given
        gpus = settings.gpus_per_worker
        self._gpus = float(job.denoising.model.device.type == "cuda") if gpus is None else gpus
        self._workers = settings.workers
        self._parcels = Parcels(plan, storage=settings.storage, everything_is_seen=cluster.is_own)
        self._token, self._open, self._actors = CancelToken(), ExitStack(), list[_RayWorker]()
        self._handing = Handing(self._hired, progress, plan.settings.num_inference_steps, why_waiting=self._why_waiting)

    def __enter__(self) -> RayExecutor:
        with ExitStack() as stack:
            for pictures in self._guidance:
                if isinstance(pictures, GuidanceBeside):  # workers look for whole guidance
                    pictures.whole()
            stack.enter_context(stopped_by(self._token))
            stack.enter_context(telling(self._progress.task))
            self._letter = stack.enter_context(self._parcels.letter(self._put))
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
            self._leave()
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

    def _hired(self, there: int) -> Sequence[Worker]:
        wanted = self._cluster.room(self._gpus) if self._workers is None else self._workers
        wanted = min(wanted, len(self._plan.chunks))
        if wanted <= there:
            return ()
        actor = self._cluster.ray.remote(
            max_restarts=-1,
            max_task_retries=-1,
            concurrency_groups={"tell": 1},
            num_cpus=0 if self._gpus else 1,
            num_gpus=self._gpus,
            scheduling_strategy="SPREAD",
        )(_chunk_actor())
        new = [
            _RayWorker(self._cluster.ray, actor.remote(self._letter, self._inside), self._parcels)
            for _ in range(wanted - there)
        ]
        self._actors += new
        return new

    def _why_waiting(self) -> str:
        need = f"{self._gpus:g} GPUs" if self._gpus else "a CPU"
        return f"each needs {need}, and {self._cluster.describe()}; or a model takes long to load"

    def _put(self, content: Any) -> Any:
        from ray import exceptions

        try:
            return self._cluster.ray.put(content)
        except (exceptions.ObjectStoreFullError, exceptions.OutOfDiskError) as error:
            raise StorageError(
                f"engine ray: the object store of this node has no room for {content.nbytes / 1e6:.0f} MB of the "
                "source; give ray start a larger --object-store-memory, or --storage with a folder that all nodes see"
            ) from error

    def _leave(self) -> None:
        """Have the workers remove what was laid down on their nodes."""
        leaving = [worker.leave() for worker in self._actors if not worker.is_killed]
        if leaving:
            self._cluster.ray.wait(leaving, num_returns=len(leaving), timeout=_LEAVE_SECONDS)

    def _end(self) -> None:
        self._handing.stop()
        for worker in self._actors:
            worker.kill()


class _RayWorker:
    """An actor, as `Handing` has it."""

    def __init__(self, ray: Any, actor: Any, parcels: Parcels) -> None:
        self._ray, self._actor, self._parcels = ray, actor, parcels
        self.is_killed = False

    def begin(self) -> Future[str]:
        """Load the model; the node's name."""
        return _answered(self._actor.begin.remote(), lambda node, answer: node)

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
        return _answered(self._actor.run.remote(chunk.model_dump_json(), pictures), pending)

    def steps(self) -> Future[StepsTaken]:
        """How far it is."""
        asked = self._actor.steps.options(concurrency_group="tell").remote()
        return _answered(asked, lambda node, answer: StepsTaken(*answer))

    def leave(self) -> Any:
        """Have it tidy up."""
        return self._actor.leave.options(concurrency_group="tell").remote()

    def kill(self) -> None:
        """End its process at once."""
        if not self.is_killed:
            self.is_killed = True
            self._ray.kill(self._actor, no_restart=True)


def _answered(ref: Any, read: Callable[[str, Answer], Any]) -> Future[Any]:
    """What an actor will have answered, or NodeFault, UserError or WorkerLost."""
    ours: Future[Any] = Future()

    def done(theirs: Future[Any]) -> None:
        try:
            node, kind, *answer = theirs.result()
            if kind == "ok":
                ours.set_result(read(node, tuple(answer)))
                return
            error: Exception = (NodeFault if kind == "node" else UserError)(f"node {node}: {answer[0]}")
        except Exception as raised:  # of Ray: it has given the actor up
            error = WorkerLost(f"{type(raised).__name__}: {str(raised).strip().splitlines()[0][:200]}")
        ours.set_exception(error)

    ref.future().add_done_callback(done)
    return ours


def _chunk_actor() -> type:
    """A class that is sent as code, so that a node without this package, or with another version of it, can say so."""

    class ChunkActor:
        def __init__(self, letter: Any, inside: Any) -> None:
            self._letter, self._inside, self._worker = letter, inside, None

        def begin(self) -> Any:
            return self._tried("begin")

        def run(self, chunk: str, pictures: Any) -> Any:
            return self._tried("run", chunk, pictures)

        def steps(self) -> Any:
            return self._tried("steps") if self._worker is not None else ("", "ok", 0, 0, 0)

        def leave(self) -> Any:
            return self._tried("leave") if self._worker is not None else ("", "ok")

        def _tried(self, name: str, *arguments: Any) -> Any:
            import socket

            import ray

            node = f"{socket.gethostname()} ({ray.util.get_node_ip_address()})"
            try:
                if self._worker is None:
                    self._open()
                return (node, *getattr(self._worker, name)(*arguments))
            except ImportError as error:
                return (node, "node", f"masactrl-video cannot be loaded there: {error}; install it on every node")
            except Exception as error:
                return (node, "node", f"{type(error).__name__}: {error}")

        def _open(self) -> None:
            import ray

            import masactrl_video

            here, there = masactrl_video.__version__, self._letter["version"]
            if here != there:
                raise ImportError(f"it is version {here}, and the owner has {there}")
            inside = self._inside
            if inside is None:
                from masactrl_video.engines.node import NodeWorker

                inside = NodeWorker
            self._worker = inside(self._letter, ray.get)

    return ChunkActor
