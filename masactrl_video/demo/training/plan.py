"""What one training is asked to do."""

from dataclasses import dataclass
from pathlib import Path

from masactrl_video.demo.architecture import SIZES, Size
from masactrl_video.demo.training.run import Settings


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The command line's options; see ``python -m masactrl_video.demo.train --help``."""

    out: Path
    networks: str
    world: str
    size: int
    frames: int
    minutes: float
    until: float | None
    batch_size: int
    learning_rate: float
    device: str
    bfloat16: bool
    compile: bool
    workers: int
    seed: int

    @property
    def network_size(self) -> Size:
        """The widths that ``networks`` names."""
        return SIZES[self.networks]

    @property
    def frames_folder(self) -> Path:
        """Where the drawn pictures lie."""
        return self.out / "frames"

    def settings(self) -> Settings:
        """The part that every stage's loop needs."""
        return Settings(
            minutes=self.minutes,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            device=self.device,
            bfloat16=self.bfloat16,
            until=self.until,
            seed=self.seed,
        )
