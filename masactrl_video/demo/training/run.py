"""The loop that every stage shares: budget in minutes, learning rate, moving averages, checkpoints, log."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from masactrl_video.demo.training import processes
from masactrl_video.demo.training.checkpoint import load_checkpoint, remove_leftovers, save_checkpoint

Losses = dict[str, Tensor]
"""Parts of a step's loss; their sum is what is minimised."""

Name = TypeVar("Name")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a stage is trained."""

    minutes: float
    """Time in all, over every continuation; the learning rate falls to zero at its end."""
    learning_rate: float
    batch_size: int
    device: str = "cpu"
    bfloat16: bool = False
    until: float | None = None
    """Unix time at which to stop whatever the budget says."""
    seed: int = 0
    average_decay: float = 0.998
    """Of the moving averages, per step."""
    average_every: int = 4
    """Steps between two updates of the averages."""
    warmup_steps: int = 100
    falling_part: float = 0.3
    """Part of the time, at its end, in which the learning rate falls."""
    checkpoint_seconds: float = 180.0


def one_of(parts: Mapping[Name, float], random: np.random.Generator) -> Name:
    """A name, drawn by its part of the whole."""
    return list(parts)[int(random.choice(len(parts), p=list(parts.values())))]


@dataclass
class Run:
    """A training in progress."""

    folder: Path
    networks: Mapping[str, nn.Module]
    settings: Settings
    step: int = 0
    elapsed_seconds: float = 0.0
    samples: int = 0
    averages: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    clock: float = 0.0
    """When the last step was computed."""
    optimizer: torch.optim.AdamW = field(init=False)

    def __post_init__(self) -> None:
        """Moves the networks to the device and continues from the folder's checkpoint when there is one."""
        for name, network in self.networks.items():
            network.to(self.settings.device).to(memory_format=torch.channels_last).train()
            self.averages[name] = {key: tensor.detach().clone() for key, tensor in network.state_dict().items()}
        self.optimizer = torch.optim.AdamW(
            self._parameters(), lr=self.settings.learning_rate, weight_decay=0.01, fused=True
        )
        if processes.rank() == 0:
            remove_leftovers(self.folder)
        if (self.checkpoint / "state.json").exists():
            state = load_checkpoint(self.checkpoint, self.networks, self.averages, self.optimizer)
            self.step, self.samples = int(str(state["step"])), int(str(state["samples"]))
            self.elapsed_seconds = float(str(state["elapsed_seconds"]))

    @property
    def checkpoint(self) -> Path:
        """The folder of the newest checkpoint."""
        return self.folder / "checkpoint"

    @property
    def own_batch(self) -> int:
        """Samples of each step that this process computes."""
        return self.settings.batch_size // processes.count()

    @property
    def progress(self) -> float:
        """Part of the time budget that is used up."""
        return self.elapsed_seconds / (60 * self.settings.minutes)

    def random(self) -> np.random.Generator:
        """The random numbers of this step that all processes share: the same after a continuation."""
        return np.random.default_rng((self.settings.seed, self.step))

    def own_random(self) -> np.random.Generator:
        """The random numbers of this step and this process."""
        return np.random.default_rng((self.settings.seed, self.step, processes.rank()))

    def train(self, losses_of: Callable[[np.random.Generator, np.random.Generator], Losses]) -> None:
        """Steps until the budget is used up, then saves.

        Args:
            losses_of: takes the random numbers that all processes share, and those of this process.
        """
        saved = logged = self.clock = time.monotonic()
        sums: dict[str, float] = {}
        late = False
        while self.progress < 1 and not late:
            losses, late = self._step(losses_of)
            sums |= {name: 0.98 * sums.get(name, value) + 0.02 * value for name, value in losses.items()}
            now = time.monotonic()
            if now - logged > 30:
                self._log(sums)
                logged = now
            if now - saved > self.settings.checkpoint_seconds:
                self.save()
                saved = now
        self._log(sums)
        self.save()

    def save(self) -> None:
        """Writes a checkpoint."""
        if processes.rank() == 0:
            state = {"step": self.step, "samples": self.samples, "elapsed_seconds": self.elapsed_seconds}
            save_checkpoint(self.checkpoint, self.networks, self.averages, self.optimizer, state)

    def _step(
        self, losses_of: Callable[[np.random.Generator, np.random.Generator], Losses]
    ) -> tuple[dict[str, float], bool]:
        """One step; returns its losses, and whether the time is over for all processes."""
        own = self.own_random()
        torch.manual_seed(int(own.integers(2**31)))
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * self._rate()
        device_type = torch.device(self.settings.device).type
        with torch.autocast(device_type, torch.bfloat16, enabled=self.settings.bfloat16):
            losses = losses_of(self.random(), own)
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        late = self.settings.until is not None and time.time() >= self.settings.until
        before, self.clock = self.clock, time.monotonic()
        # Time counts as it passes for all together, so that every process has the same learning rate.
        seconds, part_late = processes.average(self._parameters(), [self.clock - before, float(late)])
        nn.utils.clip_grad_norm_(self._parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        self.samples += self.settings.batch_size
        if self.step % self.settings.average_every == 0:
            self._average()
        self.elapsed_seconds += seconds
        return {name: float(value.detach()) for name, value in losses.items()}, part_late > 0

    def _rate(self) -> float:
        # Weights that were taken up have seen steps which their optimizer has not.
        begun = int(self.optimizer.state.get(self._parameters()[0], {}).get("step", 0))
        warm = min(1.0, (begun + 1) / self.settings.warmup_steps)
        return warm * min(1.0, max(0.0, 1 - self.progress) / self.settings.falling_part)

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.settings.average_decay, (1 + self.step) / (10 + self.step)) ** self.settings.average_every
        for name, network in self.networks.items():
            for key, tensor in network.state_dict().items():
                average = self.averages[name][key]
                if tensor.is_floating_point():
                    average.lerp_(tensor, 1 - decay)
                else:
                    average.copy_(tensor)

    def _parameters(self) -> list[nn.Parameter]:
        return [weight for network in self.networks.values() for weight in network.parameters() if weight.requires_grad]

    def _log(self, losses: Mapping[str, float]) -> None:
        if processes.rank() != 0:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        line = {"step": self.step, "samples": self.samples, "minutes": round(self.elapsed_seconds / 60, 2)}
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps({**line, **{name: round(value, 5) for name, value in losses.items()}}) + "\n")
