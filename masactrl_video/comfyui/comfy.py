"""ComfyUI's own modules, which are there inside ComfyUI alone."""

from __future__ import annotations

try:
    import folder_paths
    from comfy_api.latest import ComfyExtension, io
except ImportError as error:
    raise ImportError(
        "masactrl_video.comfyui.nodes: it runs inside ComfyUI 0.3.60 or later alone (comfy_api was not found); see "
        "docs/comfyui.md for how to install the nodes there"
    ) from error

__all__ = ["CATEGORY", "ComfyExtension", "folder_paths", "io"]

CATEGORY = "MasaCtrl video"
"""Where all nodes stand in the menu."""
