"""Characters of the cartoon world as a clip of poses, alone in comic panels, and two in one panel: what is rendered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from masactrl_video.demo.world.caption import caption
from masactrl_video.demo.world.identity import Identity, World
from masactrl_video.demo.world.poses import random_pose
from masactrl_video.evaluate.cases import Posed, make_cases
from masactrl_video.poses import pose as keypoints
from masactrl_video.poses.pose_json import write_poses

_SEED = 1_000_033


@dataclass(frozen=True)
class Actor:
    """A character that no training saw, its source's pose, and the poses in which it is wanted."""

    name: str
    identity: Identity
    seed: int
    source: Posed
    targets: tuple[Posed, ...]

    def prompt(self, posed: Posed, scene: str | None = None) -> str:
        """The caption of the character in a pose, in its own scene if no other is given."""
        return caption(self.identity if scene is None else replace(self.identity, scene=scene), posed.action)

    @property
    def words(self) -> list[str]:
        """The words of a caption that stand for the character."""
        return [self.identity.species, "shirt", "pants"]


def make_actors(actors: int, targets: int, size_px: int, world: World) -> list[Actor]:
    """Held-out characters, each in poses of all actions in turn; the first is always the same."""
    made = []
    for number, case in enumerate(make_cases(actors, 1, size_px, world)):
        random = np.random.default_rng((_SEED, number))
        actions = [world.actions[n % len(world.actions)] for n in range(targets)]
        poses = tuple(Posed(random_pose(action, random, 1.0), action, size_px) for action in actions)
        made.append(Actor(f"actor{number}", case.identity, case.seed, case.source, poses))
    return made


def make_pairs(actors: Sequence[Actor]) -> list[tuple[Actor, Actor]]:
    """Each character beside the next one of another species: two of one kind may be too alike to be told apart."""
    pairs = []
    for number, one in enumerate(actors):
        others = [*actors[number + 1 :], *actors[:number]]
        other = next((other for other in others if other.identity.species != one.identity.species), None)
        if other is not None:
            pairs.append((one, other))
    return pairs


def write_clip(actor: Actor, path: Path) -> dict[str, Any]:
    """Write the source's pose and the targets' as one sequence; returns the settings that render it."""
    write_poses(path, [_pose(posed) for posed in (actor.source, *actor.targets)])
    size_px = actor.source.size_px
    return {
        "clip": path,
        "prompt": actor.prompt(actor.source),
        "seed": actor.seed,
        "guidance": ["pose"],
        "width": size_px,
        "height": size_px,
        "side_by_side": False,
    }


def write_single_story(actor: Actor, settings: dict[str, Any], folder: Path) -> Path:
    """A comic of one character, a panel for each pose; the whole panel queries its source, as a clip's frames do."""
    panels = [
        {"prompt": actor.prompt(posed), "pose": _written(posed, folder, f"{actor.name}-{number}"), **_size(posed, 1)}
        for number, posed in enumerate(actor.targets)
    ]
    return _write(folder / f"{actor.name}.yaml", [_member(actor, folder, words=False)], panels, settings)


def write_pair_story(pair: tuple[Actor, Actor], panels: int, settings: dict[str, Any], folder: Path) -> Path:
    """A comic of two characters side by side in every panel, each with a half, a pose and a prompt of its own."""
    scene = pair[0].identity.scene
    written = []
    for number in range(panels):
        cast = {
            actor.name: {
                "prompt": actor.prompt(actor.targets[number], scene),
                "pose": _written(actor.targets[number], folder, f"{actor.name}-pair-{number}"),
                "box": [place / 2, 0, (place + 1) / 2, 1],
            }
            for place, actor in enumerate(pair)
        }
        both = " ".join(actor.prompt(actor.targets[number], scene) for actor in pair)
        written.append({"prompt": both, "characters": cast, **_size(pair[0].source, 2)})
    members = [_member(actor, folder, words=True) for actor in pair]
    return _write(folder / f"{pair[0].name}-{pair[1].name}.yaml", members, written, settings)


def _member(actor: Actor, folder: Path, *, words: bool) -> dict[str, Any]:
    member = {
        "prompt": actor.prompt(actor.source),
        "seed": actor.seed,
        "pose": _written(actor.source, folder, f"{actor.name}-source"),
        "size": [actor.source.size_px] * 2,
    }
    return {actor.name: member | ({"words": actor.words} if words else {})}


def _write(path: Path, members: Sequence[dict[str, Any]], panels: list[Any], settings: dict[str, Any]) -> Path:
    across = min(4, len(panels))
    rows = [[1] * len(panels[first : first + across]) for first in range(0, len(panels), across)]
    data = {
        "settings": settings,
        "characters": {name: entry for member in members for name, entry in member.items()},
        "panels": panels,
        "layout": rows,
        "page": {"width": 800, "height": 200 * len(rows), "margin": 8, "gutter": 8},
    }
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return path


def _size(posed: Posed, times: int) -> dict[str, Any]:
    return {"size": [times * posed.size_px, posed.size_px]}


def _written(posed: Posed, folder: Path, name: str) -> str:
    write_poses(folder / f"{name}.json", [_pose(posed)])
    return f"{name}.json"


def _pose(posed: Posed) -> keypoints.Pose:
    body = np.ones((keypoints.BODY_POINTS, 3), np.float32)
    body[:, :2] = posed.pose.keypoints() * posed.size_px
    return keypoints.Pose((keypoints.Person(body),), posed.size_px, posed.size_px)
