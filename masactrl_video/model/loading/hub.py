"""From a hub id to a local folder: downloaded now, or taken from the cache of earlier downloads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffusers import DiffusionPipeline
from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from masactrl_video.errors import UserError


def fetch_model_index(name: str, revision: str | None) -> Path:
    """`model_index.json` of a pipeline on the hub: small, and says whether the rest is of use."""
    with _mendable(name, "model", revision):
        return Path(hf_hub_download(name, "model_index.json", revision=revision))


def fetch_pipeline(name: str, revision: str | None, variant: str | None) -> Path:
    """Folder with all parts of a pipeline but the safety checker."""
    with _mendable(name, "model", revision):
        folder = DiffusionPipeline.download(
            name,
            revision=revision,
            variant=variant,
            use_safetensors=True,
            safety_checker=None,
            feature_extractor=None,
        )
    return Path(folder)


def fetch_network(name: str, what: str, revision: str | None, variant: str | None) -> Path:
    """Folder of a ControlNet or T2I-Adapter."""
    stem = f"diffusion_pytorch_model.{variant}" if variant else "diffusion_pytorch_model"
    wanted = ["config.json", f"{stem}.safetensors", f"{stem}-*.safetensors", "*.safetensors.index*.json"]
    with _mendable(name, what, revision):
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted))


def fetch_configs(name: str) -> Path:
    """Folder of a model's configurations and tokenizers, without weights."""
    with _mendable(name, "config", None):
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.txt"]))


@contextmanager
def _mendable(name: str, what: str, revision: str | None) -> Iterator[None]:
    """What the hub's client reports, as one line for the user."""
    try:
        yield
    except GatedRepoError as error:
        raise UserError(
            f"{what} {name!r}: accept its licence at https://huggingface.co/{name}, then run `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"{what} {name!r}: neither a local folder nor a repository on the hub; a private one needs `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise UserError(f"{what} {name!r}: the hub has no revision {revision!r} of it") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError) as error:
        raise UserError(
            f"{what} {name!r}: it is neither a local folder nor among the downloads on this machine, and the "
            f"hub cannot be reached; {_way_out(name)}"
        ) from error
    except EntryNotFoundError as error:
        raise UserError(f"{what} {name!r}: that repository holds no diffusers model of this kind") from error
    except OSError as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{what} {name!r}: it cannot be downloaded ({reason}); {_way_out(name)}") from error


def _way_out(name: str) -> str:
    return f"run `hf download {name}` while online, give a local folder, or use the preset demo"
