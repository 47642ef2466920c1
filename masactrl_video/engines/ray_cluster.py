"""A cluster of Ray: one that runs, or one that is started on this machine for a run and is gone after it."""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masactrl_video.errors import UserError, counted
from masactrl_video.storage.lock import is_abandoned, lock_folder

logger = logging.getLogger(__name__)

_INSTALL = "Ray is not installed; pip install 'masactrl-video[ray]', or take --engine local"
_STORE_BYTES = 100_000_000
"""Object store of a cluster on this machine, where all that is large goes by files."""
_REACHED_SECONDS = 5.0
_LONGEST_FOLDER = 25
_PREFIX = "mv-ray-"


@dataclass(frozen=True)
class ClusterNode:
    """A machine, or a pod, of a cluster."""

    name: str
    id: str
    cpus: float
    gpus: float
    store_bytes: int


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to."""

    ray: Any
    """The module."""
    is_own: bool
    """Whether it was started on this machine for this run."""

    def nodes(self) -> list[ClusterNode]:
        """Those that are there now."""
        return [
            ClusterNode(
                name=f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})",
                id=node["NodeID"],
                cpus=node["Resources"].get("CPU", 0.0),
                gpus=node["Resources"].get("GPU", 0.0),
                store_bytes=int(node["Resources"].get("object_store_memory", 0)),
            )
            for node in self.ray.nodes()
            if node["Alive"]
        ]

    def room(self, gpus_per_worker: float) -> int:
        """For how many workers there are GPUs, or without GPUs, nodes."""
        nodes = self.nodes()
        if gpus_per_worker > 0:
            return sum(int(node.gpus / gpus_per_worker + 1e-6) for node in nodes)
        return sum(node.cpus >= 1 for node in nodes)

    def describe(self) -> str:
        """What it has, in one line."""
        nodes = self.nodes()
        cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
        return f"the cluster has {counted(len(nodes), 'node')}, {cpus:g} CPUs, {gpus:g} GPUs"


def check_ray() -> None:
    """See that Ray is installed, which is not loaded for that.

    Raises:
        UserError: it is not.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError(f"engine ray: {_INSTALL}")


@contextmanager
def connected(address: str | None, workers: int | None = None) -> Iterator[Cluster]:
    """Inside the context, a cluster; one of its own has ended with all its processes when the context has.

    Args:
        address: `auto` or HOST:PORT of one that runs; None: one is started here, which listens to this machine alone.
        workers: for which one that is started has room, though it has fewer CPUs.

    Raises:
        UserError: Ray is not installed, or no cluster that fits answers.
    """
    check_ray()
    if address is not None:
        _check_reached(address)
    ray = _loaded(loopback=address is None)
    if ray.is_initialized():  # by the program that this one is a part of; it stays so
        yield Cluster(ray, is_own=False)
        return
    quiet = {"log_to_driver": False, "configure_logging": False, "logging_level": logging.ERROR}
    folder = _short_folder() if address is None else None
    lock = lock_folder(folder, shared=True) if folder is not None else None
    try:
        if address is None:
            cpus = max(os.cpu_count() or 1, workers or 1)
            own = {"num_cpus": cpus, "object_store_memory": _STORE_BYTES, "_temp_dir": str(folder)}
            ray.init(address="local", include_dashboard=False, **own, **quiet)
        else:
            with _environment(**_token_mode()):
                ray.init(address=address, **quiet)
        with _saying_nothing(ray):
            yield Cluster(ray, is_own=address is None)
    except (OSError, RuntimeError, ValueError) as error:  # the last where this is not the main thread
        if ray.is_initialized():
            raise
        raise _refused(address, error) from error
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            lock.close()


def _loaded(*, loopback: bool) -> Any:
    """The module; what it is told by its environment is read when it is loaded."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    here = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"} if loopback else {}  # its word for: by the loopback address alone
    with _environment(**here):
        import ray
    return ray


def _token_mode() -> dict[str, str]:
    """What has Ray send the token that is here; a cluster that asks for none does not mind."""
    given = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    return {"RAY_AUTH_MODE": "token"} if given or (Path.home() / ".ray" / "auth_token").is_file() else {}


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Inside the context, variables that are not set have these values."""
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


@contextmanager
def _saying_nothing(ray: Any) -> Iterator[None]:
    """Inside the context, what Ray says of workers that died goes to our log: it would be printed among our answers."""
    name = "print_to_stdstream"  # for which there is no setting
    printed = getattr(ray._private.worker, name)

    def note(data: dict[str, Any], ignore_prefix: bool) -> None:
        for line in data["lines"]:
            logger.debug("ray: %s", line)

    setattr(ray._private.worker, name, note)
    try:
        yield
    finally:
        setattr(ray._private.worker, name, printed)


def _short_folder() -> Path:
    """A new folder whose path leaves room for Ray's sockets below it: they may have 107 letters."""
    usual = tempfile.gettempdir()
    above = Path(usual if len(usual) <= _LONGEST_FOLDER or os.name == "nt" else "/tmp")
    for other in above.glob(f"{_PREFIX}*"):  # of owners that were killed
        if is_abandoned(other):
            shutil.rmtree(other, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=above))


def _check_reached(address: str) -> None:
    """Ray itself would try for a minute."""
    host, _, port = address.rpartition(":")
    if address == "auto":
        return
    if not host or "/" in host or not port.isdigit():
        raise UserError(
            f"ray_address: {address} is none; give auto, or HOST:PORT of the cluster's head, such as h:6379"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACHED_SECONDS).close()
    except OSError as error:
        raise _refused(address, error) from error


def _refused(address: str | None, error: Exception) -> UserError:
    if address is None:
        return UserError(f"engine ray: Ray does not start on this machine: {_first_line(error)}")
    if "version" in str(error).lower():
        import ray

        here = f"here are Ray {ray.__version__} and Python {platform.python_version()}"
        told = " ".join(str(error).split())
        return UserError(f"ray_address {address}: the cluster is of another version, {here}: {told[:300]}")
    return UserError(
        f"ray_address {address}: no cluster of Ray answers there ({_first_line(error)}); start one with ray start "
        "--head, set RAY_AUTH_TOKEN where it asks for a token, or leave --ray-address out for one on this machine"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def node_versions(cluster: Cluster, seconds: float = 30.0) -> dict[str, dict[str, str]]:
    """Node → versions of Python, Ray and this package there; of one that does not answer in time, nothing."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def look() -> dict[str, str]:  # sent as code: the package may not be there
        import platform
        from importlib import metadata

        try:
            own = metadata.version("masactrl-video")
        except metadata.PackageNotFoundError:
            own = ""
        return {"python": platform.python_version(), "masactrl-video": own}

    remote, asked = cluster.ray.remote(num_cpus=0)(look), {}
    for node in cluster.nodes():
        where = NodeAffinitySchedulingStrategy(node.id, soft=False)
        asked[node.name] = remote.options(scheduling_strategy=where).remote()
    ready, _ = cluster.ray.wait(list(asked.values()), num_returns=len(asked), timeout=seconds)
    return {name: cluster.ray.get(answer) if answer in ready else {} for name, answer in asked.items()}
