"""A real ComfyUI, started without a window on the CPU, in a folder of its own, and example workflows for it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import masactrl_video

PACK = Path(masactrl_video.__file__).parent / "comfyui" / "node_pack"
FILES = sorted((PACK / "example_workflows").glob("*.json"))

Replace = Callable[[str, dict[str, Any]], tuple[str, dict[str, Any]]]
"""A node's type and its inputs → those that are run in its stead."""


def make_folders(base: Path) -> None:
    """What ComfyUI needs of a base directory, with the node pack in it."""
    for folder in ("models/checkpoints", "front", "input", "output", "user"):
        (base / folder).mkdir(parents=True)
    (base / "front" / "index.html").write_text("<html></html>")
    shutil.copytree(PACK, base / "custom_nodes" / "masactrl_video")


class Server:
    def __init__(self, base: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = base / "log.txt"
        options = ["--cpu", "--force-fp32", "--disable-api-nodes", "--preview-method", "none"]
        folders = ["--base-directory", str(base), "--front-end-root", str(base / "front")]
        database = ["--database-url", f"sqlite:///{base}/comfyui.db"]
        self.process = subprocess.Popen(
            [sys.executable, "main.py", "--port", str(self.port), *options, *folders, *database],
            cwd=os.environ["COMFYUI_PATH"],
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
        )

    def ask(self, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{path}", data)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error

    def wait(self) -> None:
        for _ in range(240):
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                self.ask("system_stats")
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.5)
        raise AssertionError(self.log.read_text()[-3000:])

    def run(self, prompt: dict[str, Any]) -> Any:
        number = self.ask("prompt", {"prompt": prompt})["prompt_id"]
        for _ in range(600):
            if number in (history := self.ask(f"history/{number}")):
                return history[number]
            time.sleep(0.5)
        raise AssertionError(self.log.read_text()[-3000:])

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)


def as_prompt(workflow: dict[str, Any], about: dict[str, Any], replace: Replace) -> dict[str, Any]:
    """A workflow as the page keeps it → as the server takes it.

    Args:
        about: the server's `object_info`.
    """
    links = {number: [str(source), slot] for number, source, slot, *_ in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        inputs, given = about[node["type"]]["input"], list(node["widgets_values"])
        values = {each["name"]: links[each["link"]] for each in node["inputs"] if each["link"] is not None}
        for name, (kind, *options) in {**inputs.get("required", {}), **inputs.get("optional", {})}.items():
            if isinstance(kind, list) or kind in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"):
                value = given.pop(0)
                values.setdefault(name, value)
                if options and options[0].get("control_after_generate"):
                    given.pop(0)
        assert not given, f"{node['type']}: {given} is left of its widgets"
        kind, values = replace(node["type"], values)
        prompt[str(node["id"])] = {"class_type": kind, "inputs": values}
    return prompt
