"""Cases that were measured before a run was stopped: each is a picture whose text holds its values."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from masactrl_video.evaluate.measure import Measured
from masactrl_video.video.png import read_png, read_png_text, write_png


@dataclass(frozen=True)
class KeptCases:
    """The cases of an evaluation that is not done yet, in a folder of their own."""

    folder: Path
    made_from: str
    """Names everything that determines a case's values; cases of anything else are measured anew."""

    def read(self, number: int) -> Measured | None:
        """A case, if it was measured."""
        path = self._path(number)
        text = read_png_text(path) if path.exists() else {}
        if text.get("made-from") != self.made_from:
            return None
        return Measured(json.loads(text["values"]), [np.split(read_png(path), int(text["pictures"]), axis=1)])

    def write(self, number: int, case: Measured) -> None:
        """Keep a case, whose one row has pictures of one size."""
        (row,) = case.rows
        self.folder.mkdir(parents=True, exist_ok=True)
        text = {"made-from": self.made_from, "values": json.dumps(case.values), "pictures": str(len(row))}
        write_png(self._path(number), np.concatenate(row, axis=1), text)

    def remove(self) -> None:
        """Remove all of them: the results are written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:03d}.png"
