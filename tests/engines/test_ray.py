"""Whole runs on small clusters of Ray: same bits, and kills of workers and owner. Skipped where Ray is not installed.

`pytest tests/engines/test_ray.py -n 0` after `pip install 'masactrl-video[ray]'` runs them, in some minutes.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from engines.test_node import short_settings

import masactrl_video
from masactrl_video.cli.main import main
from masactrl_video.engines.ray_actors import WORK, RayActors, _chunk_actor
from masactrl_video.engines.ray_cluster import Cluster
from masactrl_video.errors import StorageError
from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.settings.engine_parts import EngineSettings
from masactrl_video.settings.settings import Settings
from masactrl_video.video.png import read_png, read_png_text

pytest.importorskip("ray", reason="Ray is not installed: pip install 'masactrl-video[ray]'")
pytestmark = pytest.mark.slow

RUN = """
import sys
from pathlib import Path
from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.settings.settings import Settings
render_clip(Settings.model_validate_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
"""
DASHBOARD_PORT = 8265
SECRET = "a bear in a very secret hat"


class Owner:
    """A run in a process of its own, which can be killed with its whole cluster."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        (folder / "settings.json").write_text(settings.model_dump_json())
        self.output = folder / "ray.mp4"
        self.frames = folder / "ray" / "frames"
        own = {"PYTHONPATH": str(Path(masactrl_video.__file__).parents[1])}
        words = [sys.executable, "-c", RUN, str(folder / "settings.json"), str(self.output)]
        self.process = subprocess.Popen(words, env={**os.environ, **own}, stderr=subprocess.PIPE, text=True)
        self.all: dict[int, psutil.Process] = {}

    def workers(self) -> list[psutil.Process]:
        """Processes of actors."""
        return [process for process in self.descendants() if "ChunkActor" in " ".join(_line(process))]

    def descendants(self) -> list[psutil.Process]:
        """All processes below it; those seen once are remembered."""
        try:
            found = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            found = []
        self.all |= {process.pid: process for process in found}
        return found

    def words(self) -> list[str]:
        """Of all command lines below it."""
        return [word for process in self.descendants() for word in _line(process)]

    def made(self) -> int:
        return len(list(self.frames.glob("[0-9]*.png")))

    def addresses(self) -> set[tuple[str, int]]:
        """At which any process below it listens."""
        sockets = [socket for process in self.descendants() for socket in process.net_connections("inet")]
        listening = [socket.laddr for socket in sockets if socket.status == psutil.CONN_LISTEN]
        return {(address.ip.removeprefix("::ffff:"), address.port) for address in listening}

    def times(self) -> dict[str, int]:
        """Name of each frame → when it was written."""
        return {path.name: path.stat().st_mtime_ns for path in self.frames.glob("[0-9]*.png")}

    def wait_for(self, frames: int, seconds: float = 120) -> None:
        """Until so many frames are there, or it has ended."""
        until = time.monotonic() + seconds
        while self.made() < frames and self.process.poll() is None:
            assert time.monotonic() < until, "no progress"
            self.descendants()
            time.sleep(0.05)

    def ended(self, seconds: float = 150) -> int:
        """Its exit status; none of its processes is there any more, a few seconds later.

        Where it is killed itself, two agents of Ray end by themselves some time later.
        """
        _, errors = self.process.communicate(timeout=seconds)
        sys.stderr.write(errors)
        killed = self.process.returncode == -signal.SIGKILL
        mine = [process for process in self.all.values() if not (killed and "Agent" in " ".join(_line(process)))]
        psutil.wait_procs(mine, timeout=15)
        left = [process for process in mine if process.is_running() and _line(process)]
        assert left == []
        return self.process.returncode


def _line(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def pictures(folder: Path) -> dict[str, tuple[bytes, str]]:
    """Of each frame: its pixels, and what it was made from. Its text has the engine too."""
    return {
        path.name: (read_png(path).tobytes(), read_png_text(path)["made-from"])
        for path in sorted((folder / "frames").iterdir())
    }


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 24 frames in this process, and the cache with its source."""
    folder = tmp_path_factory.mktemp("local")
    render_clip(settings_of(folder), folder / "local.mp4")
    return folder


def settings_of(folder: Path, **changes: object) -> Settings:
    many: dict[str, Any] = {
        "seconds": 2.4,
        "frame_load_cap": 24,
        "prompt": "a bear",
        "batch_size": 2,
        "chunk_frames": 2,
    }
    return short_settings(folder, **many | changes)


def test_workers_are_killed_at_random_moments_and_the_frames_are_those_of_one_process(
    local: Path, tmp_path: Path, full: bool
) -> None:
    chance, most = random.Random(0), 20 if full else 2
    many: dict[str, Any] = {"frame_load_cap": 64, "seconds": 6.4} if full else {}
    if full:
        render_clip(settings_of(local, **many), local / "long.mp4")
    owner = Owner(settings_of(local, engine="ray", workers=2, **many), tmp_path)
    kills, times = 0, dict[str, int]()
    while kills < most:
        owner.wait_for(owner.made() + chance.randint(1, 3))
        assert owner.process.poll() is None, "it ended before all were killed"
        times |= owner.times()
        for worker in owner.workers()[:1]:
            worker.kill()
            kills += 1
    assert owner.ended() == 0
    assert times.items() <= owner.times().items()  # none is rendered again once it is there
    assert pictures(tmp_path / "ray") == pictures(local / ("long" if full else "local"))
    report = json.loads((tmp_path / "ray" / "report.json").read_text())
    assert report["engine"] == "ray"
    assert sum(worker["chunks"] for worker in report["workers"]) == (32 if full else 12)


def test_the_owner_is_killed_and_the_same_command_goes_on(local: Path, tmp_path: Path, full: bool) -> None:
    settings, times = settings_of(local, engine="ray", workers=1), dict[str, int]()
    for kill in range(5 if full else 1):
        owner = Owner(settings, tmp_path)
        owner.wait_for(3 * kill + 4)
        owner.descendants()
        owner.process.kill()
        assert owner.ended() == -signal.SIGKILL
        now = owner.times()
        assert times.items() <= now.items()  # none is rendered again
        times = now
    assert 4 <= len(times) < 24
    assert Owner(settings, tmp_path).ended() == 0
    assert pictures(tmp_path / "ray") == pictures(local / "local")
    assert times.items() <= owner.times().items()


def test_ctrl_c_leaves_no_process_and_no_prompt_in_a_log(local: Path, tmp_path: Path) -> None:
    owner = Owner(settings_of(local, engine="ray", workers=1, prompt=SECRET), tmp_path)
    owner.wait_for(1)
    owner.descendants()
    (session,) = {Path(word.split("=", 1)[1]) for word in owner.words() if word.startswith("--temp-dir=")}
    logs = [path for path in session.rglob("*") if path.is_file() and not path.is_symlink()]
    said = "".join(path.read_text(errors="replace") for path in logs)
    assert logs and SECRET not in said and str(local) not in said
    assert {host for host, _ in owner.addresses()} <= {"127.0.0.1", "::1"}
    assert DASHBOARD_PORT not in {port for _, port in owner.addresses()}
    begun = time.monotonic()
    owner.process.send_signal(signal.SIGINT)
    assert owner.ended() != 0
    assert time.monotonic() - begun < 30
    assert not session.exists()


def test_a_node_that_joins_late_gets_work_and_nothing_of_the_owners_disk_is_used(local: Path, tmp_path: Path) -> None:
    """Two nodes on this machine, which the program has started itself; sources and frames go through the cluster."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100_000_000})
    try:
        ray.init(address=cluster.address, log_to_driver=False, configure_logging=False, logging_level=40)
        output, settings = tmp_path / "ray.mp4", settings_of(local, engine="ray", frame_load_cap=20)
        with ThreadPoolExecutor(1) as thread:
            run = thread.submit(render_clip, settings, output)

            def wait_for(frames: int) -> None:
                while not run.done() and len(list((tmp_path / "ray").glob("frames/0*.png"))) < frames:
                    time.sleep(0.05)

            wait_for(2)
            below = psutil.Process().children(recursive=True)
            first = next(process for process in below if "ChunkActor" in " ".join(_line(process)))
            first.suspend()  # so that there is work left when the other has its model
            cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
            wait_for(8)
            first.resume()
            run.result(timeout=100)
    finally:
        ray.shutdown()
        cluster.shutdown()
    made, all_made = pictures(tmp_path / "ray"), pictures(local / "local")
    assert {name: pixels for name, (pixels, _) in made.items()} == {name: all_made[name][0] for name in made}
    assert len(made) == 20
    workers = json.loads((tmp_path / "ray" / "report.json").read_text())["workers"]
    assert len(workers) == 2 and all(worker["chunks"] > 0 for worker in workers)


def test_a_grid_a_comic_and_an_evaluation_are_the_same_on_ray(tmp_path: Path) -> None:
    """Through a cluster that this program has started, which sends sources and results."""
    import ray

    ray.init(num_cpus=1, include_dashboard=False, object_store_memory=100_000_000, log_to_driver=False)
    try:
        for engine in ("local", "ray"):
            folder = tmp_path / engine
            folder.mkdir()
            common = ["--engine", engine, "--cache-dir", str(tmp_path / "cache"), "--num-inference-steps", "2"]
            common += ["--masa-step", "1", "--width", "64", "--height", "64"]
            (folder / "story.txt").write_text("waving in the meadow\nsitting in the snow\n")
            grid = ["--prompt", "a bear", "--columns", "masa_layer=4,10", *common]
            assert main(["sweep", "-o", str(folder / "grid"), *grid]) == 0
            page = [str(folder / "story.txt"), "-o", str(folder / "page.png"), "--prompt", "a bear in a red shirt"]
            assert main(["comic", *page, *common[:8]]) == 0
            figures = ["-o", str(folder / "figures"), "--cases", "1", "--no-curves", "--engine", engine]
            assert main(["evaluate", *figures]) == 0
    finally:
        ray.shutdown()

    def pixels(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): read_png(path).tobytes() for path in sorted(folder.rglob("*.png"))}

    assert pixels(tmp_path / "local") == pixels(tmp_path / "ray")
    values = [(tmp_path / engine / "figures" / "values.json").read_text() for engine in ("local", "ray")]
    assert values[0] == values[1]
    workers = json.loads((tmp_path / "ray" / "grid" / "report.json").read_text())["workers"]
    assert sum(worker["chunks"] for worker in workers) == 2


def test_a_node_with_another_version_says_so_in_one_line() -> None:
    actor = _chunk_actor()({"version": "0.0.1"}, WORK)
    node, kind, said = actor.begin()
    assert kind == "node" and "\n" not in said
    here = masactrl_video.__version__
    assert said.endswith(f"it is version {here}, and the owner has 0.0.1; install it on every node")
    assert "(" in node


def test_a_full_object_store_is_said_with_what_helps() -> None:
    from ray.exceptions import ObjectStoreFullError

    class FullRay:
        def put(self, content: object) -> None:
            raise ObjectStoreFullError("full")

    actors = RayActors(Cluster(FullRay(), is_own=False), EngineSettings(engine="ray"), most=1, on_gpu=False)
    with pytest.raises(StorageError, match="no room for 2 MB of the source; give ray start a larger"):
        actors.put(np.zeros(2_000_000, np.uint8))
