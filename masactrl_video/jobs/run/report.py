"""The figures of a run, in a JSON file beside its output."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masactrl_video.progress import StageBegan, StageEnded, check_cancelled, emit
from masactrl_video.storage.replace import replacing
from masactrl_video.storage.text import encodable

if TYPE_CHECKING:  # what is wrong with the input of a run is said before any of this is loaded
    import torch

    from masactrl_video.model.diffusion import DiffusionModel

REPORT_NAME = "report.json"

REPORTS = __name__
"""Name of the logger that says when stages begin and end."""

logger = logging.getLogger(REPORTS)

Tell = Callable[[dict[str, Any]], None]
"""Takes what happens, as plain data: {"stage": …} when one begins, with "seconds" when it ends, and how far it is."""


@dataclass
class Report:
    """Figures gathered during a run."""

    figures: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    """Stage → wall-clock time."""
    tell: Tell = lambda event: None
    """Told when a stage begins and ends."""
    model: DiffusionModel | None = None
    """Of a run that has one."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        start = time.perf_counter()
        check_cancelled()
        emit(StageBegan(name))
        self.tell({"stage": name})
        logger.debug("%s begins", name)
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)
        emit(StageEnded(name, self.seconds[name]))
        self.tell({"stage": name, "seconds": self.seconds[name]})
        logger.debug("%s took %.3f seconds", name, self.seconds[name])

    def picture(self, done: int, pictures: int) -> None:
        """Tell that so many of the pictures are there."""
        self.tell({"stage": "pictures", "picture": done, "pictures": pictures})

    def write(self, path: Path, model: DiffusionModel | None = None) -> None:
        """Write everything as JSON, with versions, and with a model its device and the peak memory."""
        from masactrl_video.model.versions import versions

        model = model or self.model
        about: dict[str, Any] = {"versions": versions()}
        if model is not None:
            about |= {"device": str(model.device), "dtype": str(model.dtype)}
            about["peak_memory_bytes"] = _peak_memory_bytes(model.device)
        about["seconds"] = self.seconds
        with replacing(path) as partial:
            text = json.dumps(self.figures | about, indent=1, ensure_ascii=False)
            partial.write_text(encodable(text), encoding="utf-8")


def _peak_memory_bytes(device: torch.device) -> int | None:
    """Of the device if it has memory of its own, else of this process; None where the system does not say."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource  # not on Windows

    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes
