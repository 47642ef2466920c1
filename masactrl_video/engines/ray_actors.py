"""Actors of Ray, as many as a cluster has room for: each works where it is, and Ray starts it anew where it dies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import numpy as np

from masactrl_video.engines.handing import NodeFault, StepsTaken, WorkerLost
from masactrl_video.engines.letter import Answer
from masactrl_video.engines.ray_cluster import Cluster
from masactrl_video.errors import StorageError, UserError
from masactrl_video.settings.engine_parts import EngineSettings

_LEAVE_SECONDS = 5.0

Inside = Callable[[Mapping[str, Any], Callable[[Any], Any]], Any] | str
"""Makes what works in an actor, from a letter and what fetches contents; or names that, as MODULE:CLASS."""

CHUNKS = "masactrl_video.engines.node:NodeWorker"
"""Renders the chunks of a plan."""
WORK = "masactrl_video.engines.node_work:WorkWorker"
"""Does the numbers of a work."""


class RayActor:
    """A worker whose process Ray keeps; the first part of what `handing.Worker` is."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor
        self.is_killed = False

    def begin(self) -> Future[str]:
        """Load what it needs; the node's name."""
        return answered(self._actor.begin.remote(), lambda node, answer: node)

    def steps(self) -> Future[StepsTaken]:
        """How far it is."""
        asked = self._actor.steps.options(concurrency_group="tell").remote()
        return answered(asked, lambda node, answer: StepsTaken(*answer))

    def leave(self) -> Any:
        """Have it tidy up."""
        return self._actor.leave.options(concurrency_group="tell").remote()

    def kill(self) -> None:
        """End its process at once."""
        if not self.is_killed:
            self.is_killed = True
            self._ray.kill(self._actor, no_restart=True)


_Actor = TypeVar("_Actor", bound=RayActor)


class RayActors:
    """Hires actors, and ends them."""

    def __init__(self, cluster: Cluster, settings: EngineSettings, *, most: int, on_gpu: bool) -> None:
        """Hire nobody yet.

        Args:
            most: how many there is work for.
            on_gpu: whether each takes a GPU where the settings do not say.
        """
        self._cluster, self._most, self._workers = cluster, most, settings.workers
        self._gpus = float(on_gpu) if settings.gpus_per_worker is None else settings.gpus_per_worker
        self._hired: list[RayActor] = []

    def hire(
        self, there: int, letter: Mapping[str, Any], inside: Inside, kind: Callable[[Any, Any], _Actor]
    ) -> Sequence[_Actor]:
        """More of them, if there is room.

        Args:
            there: how many there are, those of faulty nodes too.
            inside: what works in them.
            kind: makes what is given back, of Ray's module and an actor.
        """
        wanted = self._cluster.room(self._gpus) if self._workers is None else self._workers
        wanted = min(wanted, self._most)
        if wanted <= there:
            return ()
        ray = self._cluster.ray
        actor = ray.remote(
            max_restarts=-1,
            max_task_retries=-1,
            concurrency_groups={"tell": 1},
            num_cpus=0 if self._gpus else 1,
            num_gpus=self._gpus,
            scheduling_strategy="SPREAD",
        )(_chunk_actor())
        new = [kind(ray, actor.remote(letter, inside)) for _ in range(wanted - there)]
        self._hired += new
        return new

    def why_waiting(self) -> str:
        """What may keep them from beginning."""
        need = f"{self._gpus:g} GPUs" if self._gpus else "a CPU"
        return f"each needs {need}, and {self._cluster.describe()}; or a model takes long to load"

    def put(self, content: Any) -> Any:
        """Leave an array, or a work, in the object store; what stands for it.

        Raises:
            StorageError: there is no room for it.
        """
        from ray import exceptions

        try:
            return self._cluster.ray.put(content)
        except (exceptions.ObjectStoreFullError, exceptions.OutOfDiskError) as error:
            what = f"{content.nbytes / 1e6:.0f} MB of the source" if isinstance(content, np.ndarray) else "the work"
            raise StorageError(
                f"engine ray: the object store of this node has no room for {what}; give "
                "ray start a larger --object-store-memory, or --storage with a folder that all nodes see"
            ) from error

    def leave(self) -> None:
        """Have them remove what was laid down on their nodes."""
        leaving = [actor.leave() for actor in self._hired if not actor.is_killed]
        if leaving:
            self._cluster.ray.wait(leaving, num_returns=len(leaving), timeout=_LEAVE_SECONDS)

    def end(self) -> None:
        """End all of them."""
        for actor in self._hired:
            actor.kill()


def answered(ref: Any, read: Callable[[str, Answer], Any]) -> Future[Any]:
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

        def run(self, *what: Any) -> Any:
            return self._tried("run", *what)

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
            import importlib

            import ray

            import masactrl_video

            here, there = masactrl_video.__version__, self._letter["version"]
            if here != there:
                raise ImportError(f"it is version {here}, and the owner has {there}")
            inside = self._inside
            if isinstance(inside, str):
                module, _, name = inside.partition(":")
                inside = getattr(importlib.import_module(module), name)
            self._worker = inside(self._letter, ray.get)

    return ChunkActor
