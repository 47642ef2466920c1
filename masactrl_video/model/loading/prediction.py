"""What a UNet's output means and which noise levels it knows: read from the model's files, or said by the user."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from diffusers.schedulers import KarrasDiffusionSchedulers
from safetensors import safe_open

from masactrl_video.errors import UserError
from masactrl_video.settings.names import PredictionType

logger = logging.getLogger(__name__)

_DISCRETE = {kind.name for kind in KarrasDiffusionSchedulers} - {"EDMEulerScheduler"}
_DISCRETE |= {"DDIMParallelScheduler", "DDPMParallelScheduler", "DDIMInverseScheduler", "LCMScheduler", "TCDScheduler"}
"""Schedulers of models that were trained on a list of noise levels, as those of this package expect."""

_V_PREDICTION = {"v": "v_prediction", "v_prediction": "v_prediction", "v-prediction": "v_prediction"}
_EDM = ("edm_mean", "edm_std", "edm_vpred.sigma_max", "edm_vpred.sigma_min")


@dataclass(frozen=True)
class Markers:
    """What a file of one piece says of itself; its configuration comes from elsewhere and cannot know it."""

    prediction_types: Mapping[str, str] = field(default_factory=dict)
    """Where it names a prediction type, and which."""
    zero_terminal_snr: bool = False
    """Whether its highest noise level is pure noise (Lin et al. 2024, arXiv 2305.08891)."""

    def __str__(self) -> str:
        said = [f"{place}: {kind}" for place, kind in self.prediction_types.items()]
        return ", ".join(said + ["ztsnr"] * self.zero_terminal_snr)


def read_markers(name: str, path: Path) -> Markers:
    """Read the markers of a checkpoint: empty tensors and metadata, by the habits of trainers.

    Raises:
        UserError: it is of a kind that cannot be denoised here.
    """
    with safe_open(path, framework="numpy") as file:  # reads the header only
        keys, metadata = set(file.keys()), file.metadata() or {}
    if found := [key for key in _EDM if key in keys]:
        raise UserError(
            f"model {name!r}: its file says that it was trained in the EDM formulation (tensor {found[0]}), which is "
            "not supported; take a model with epsilon or v-prediction"
        )
    return Markers(_said(keys, metadata), "ztsnr" in keys)


def _said(keys: set[str], metadata: Mapping[str, str]) -> dict[str, str]:
    """Each place of a file that names a prediction type, and which."""
    said = {"v_pred": "v_prediction"} if "v_pred" in keys else {}
    if kind := metadata.get("modelspec.prediction_type", "").strip().lower():
        said["modelspec.prediction_type"] = _V_PREDICTION.get(kind, kind)
    architecture = metadata.get("modelspec.architecture", "").lower()
    if architecture.startswith("stable-diffusion-v2-768-v"):
        said["modelspec.architecture"] = "v_prediction"
    if metadata.get("ss_v_parameterization", "").lower() == "true":
        said["ss_v_parameterization"] = "v_prediction"
    return said


def check_scheduler_class(name: str, kind: Any) -> None:
    """See that a model's own scheduler knows noise levels as those of this package do.

    Raises:
        UserError: it is for flow matching, EDM, or another formulation.
    """
    if kind not in _DISCRETE:
        raise UserError(
            f"model {name!r}: its scheduler is a {kind}, for another kind of denoising (flow matching, EDM or the "
            "like), which is not supported; take a model with DDIM, PNDM, Euler or the like"
        )


def follow_prediction(name: str, pipe: Any, wanted: PredictionType | None, markers: Markers | None) -> None:
    """Let a pipeline's scheduler know what its UNet predicts; every scheduler is made from that one's configuration.

    What the user wants comes before what the file says, and that before the configuration.

    Raises:
        UserError: a prediction type or noise levels that no scheduler here can take, or markers that disagree.
    """
    check_scheduler_class(name, type(pipe.scheduler).__name__)
    config, markers = pipe.scheduler.config, markers or Markers()
    if config.get("use_flow_sigmas"):
        raise UserError(
            f"model {name!r}: its scheduler is set up for flow matching (use_flow_sigmas), which is not supported; "
            "take SD-1.x, SD-2.x or SDXL with epsilon or v-prediction"
        )
    kind = wanted or _said_by(name, config, markers)
    if wanted and set(markers.prediction_types.values()) - {wanted}:
        logger.warning("prediction_type %s is taken, but the file of model %s says %s", wanted, name, markers)
    changes: dict[str, Any] = {}
    if kind != config.get("prediction_type", "epsilon"):
        changes["prediction_type"] = kind
    if markers.zero_terminal_snr and kind == "v_prediction" and not config.get("rescale_betas_zero_snr"):
        changes |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    if changes and (wanted is None or len(changes) > 1):
        told = ", ".join(f"{key} {value}" for key, value in changes.items())
        logger.info("model %s: by the markers of its file (%s): %s", name, markers, told)
    if changes:  # diffusers does not hand on what it believes to be a default
        defaults = set(config.get("_use_default_values", ())) - set(changes)
        pipe.scheduler = type(pipe.scheduler).from_config({**config, **changes, "_use_default_values": list(defaults)})


def _said_by(name: str, config: Mapping[str, Any], markers: Markers) -> str:
    """The prediction type that the files say."""
    kinds = set(markers.prediction_types.values()) or {config.get("prediction_type", "epsilon")}
    if len(kinds) > 1 or (markers.zero_terminal_snr and kinds != {"v_prediction"}):
        raise UserError(
            f"model {name!r}: its markers do not go together ({markers}); say with prediction_type what it predicts "
            "(v_prediction where it knows zero terminal SNR)"
        )
    (kind,) = kinds
    if kind not in get_args(PredictionType):
        raise UserError(
            f"model {name!r}: it says that it predicts {kind!r}, which is not supported; "
            f"{', '.join(get_args(PredictionType))} are: if it is one of them, say so with prediction_type"
        )
    return str(kind)
