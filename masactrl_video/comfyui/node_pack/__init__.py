"""The folder that lies in ComfyUI's `custom_nodes`: it only leads to the package."""

from masactrl_video.comfyui.nodes import comfy_entrypoint

__all__ = ["comfy_entrypoint"]
