"""Pictures of the example workflows: `COMFYUI_PATH=/path/to/ComfyUI python tests/comfyui/make_pictures.py [FOLDER]`.

Each workflow runs in ComfyUI with the package's own small models at 128x128, and lands under its drawing, beside its
file. What it gave is also left in FOLDER, if that is named. Changed are loaders, sizes, and the settings that the
presets demo and demo-dit have for these models; prompts, seeds, nodes and wires are the workflows' own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from comfyui.server import FILES, PACK, Server, as_prompt, make_folders

from masactrl_video.settings.presets import read_preset

SIDE, USUAL = 128, 512
TESTS = Path(__file__).resolve().parents[1]
DEMO = {
    "CheckpointLoaderSimple": "DemoCheckpoint",
    "UNETLoader": "DemoFlux",
    "DualCLIPLoader": "DemoFluxText",
    "VAELoader": "DemoFluxVae",
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        make_folders(base)
        (base / "custom_nodes" / "demo").mkdir()
        line = "from comfyui.demo_nodes import NODE_CLASS_MAPPINGS\n"
        (base / "custom_nodes" / "demo" / "__init__.py").write_text(line)
        os.environ["PYTHONPATH"] = os.pathsep.join([str(PACK.parents[2]), str(TESTS), os.environ.get("PYTHONPATH", "")])
        server = Server(base)
        try:
            server.wait()
            for file in FILES:
                run(server, file)
        finally:
            server.end()
        subprocess.run([sys.executable, PACK / "draw_workflows.py", base / "output"], check=True)
        if len(sys.argv) > 1:
            shutil.copytree(base / "output", sys.argv[1], dirs_exist_ok=True)


def run(server: Server, file: Path) -> None:
    workflow = json.loads(file.read_text())
    preset = read_preset("demo-dit" if any(node["type"] == "UNETLoader" for node in workflow["nodes"]) else "demo")
    own = {
        "steps": preset["num_inference_steps"],
        "cfg": preset["guidance_scale"],
        "first_step": preset["masa_step"],
        "first_layer": preset["masa_layer"],
        "mask_grid_divisor": preset["mask_grid_divisor"],
        "threshold": preset["mask_threshold"],
    }

    def with_demo(kind: str, values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if kind in DEMO:
            return DEMO[kind], {}
        sizes = {name: values[name] * SIDE // USUAL for name in ("width", "height") if name in values}
        kept = {"first_layer": 0} if kind == "MasaCtrlRecordSource" else {}
        return kind, values | {name: value for name, value in own.items() if name in values} | sizes | kept

    done = server.run(as_prompt(workflow, server.ask("object_info"), with_demo))
    if done["status"]["status_str"] != "success":
        sys.exit(f"{file.name}: {done['status']['messages'][-1]}\n{server.log.read_text()[-3000:]}")
    texts = [text for out in done["outputs"].values() for text in out.get("text", ())]
    print(file.stem, *texts, sep="\n  ")


if __name__ == "__main__":
    main()
