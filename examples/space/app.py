"""The page of `masactrl-video web` on a Hugging Face Space; locally: `python examples/space/app.py`."""

import os
from pathlib import Path

from masactrl_video.web.server import ServerOptions, serve

if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the model that ships with the package is all that a Space has
    on_space = "SPACE_ID" in os.environ
    options = ServerOptions(
        folder=Path(os.environ.get("MASACTRL_VIDEO_RUNS", "masactrl-runs")),
        host="0.0.0.0" if on_space else "127.0.0.1",  # a Space's own proxy is who calls
        port=7860 if on_space else None,
        max_upload_bytes=100 << 20,
    )
    serve(options, print)
