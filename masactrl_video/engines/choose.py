"""The engine that the settings name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from masactrl_video.errors import UserError
from masactrl_video.settings.engine_parts import EngineSettings

if TYPE_CHECKING:  # torch and Ray are loaded when there is something to render
    from masactrl_video.engines.ray_cluster import Cluster
    from masactrl_video.engines.work import Each
    from masactrl_video.render.executor import Executor, StartExecutor
    from masactrl_video.render.frames import FramesJob
    from masactrl_video.render.plan import RenderPlan
    from masactrl_video.render.steps import RenderSteps


@contextmanager
def engine_of(settings: EngineSettings) -> Iterator[StartExecutor | None]:
    """Inside the context, what starts the executor; None where this process renders.

    Raises:
        UserError: Ray is not installed, or its cluster does not answer.
    """
    if settings.engine == "local":
        yield None
        return
    with _cluster(settings) as cluster:

        def start(plan: RenderPlan, job: FramesJob, progress: RenderSteps) -> AbstractContextManager[Executor]:
            from masactrl_video.engines.ray_executor import RayExecutor

            return RayExecutor(cluster, settings, plan, job, progress)

        yield start


@contextmanager
def each_of(settings: EngineSettings) -> Iterator[Each]:
    """Inside the context, what does a `Work`: this process, or workers of the cluster that the settings name.

    Raises:
        UserError: Ray is not installed, or its cluster does not answer.
    """
    if settings.engine == "local":
        from masactrl_video.engines.work import EachHere

        yield EachHere()
        return
    with _cluster(settings) as cluster:
        from masactrl_video.engines.ray_work import EachOnRay

        yield EachOnRay(cluster, settings)


@contextmanager
def _cluster(settings: EngineSettings) -> Iterator[Cluster]:
    if settings.storage is not None and not settings.storage.is_dir():
        raise UserError(f"storage: no such folder: {settings.storage}; name one that all nodes see")
    from masactrl_video.engines.ray_cluster import connected

    with connected(settings.ray_address, settings.workers) as cluster:
        yield cluster
