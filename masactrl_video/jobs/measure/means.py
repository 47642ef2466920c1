"""Flow, detector and networks by which clips are measured, loaded once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from masactrl_video.errors import UserError
from masactrl_video.measure.clip import Means
from masactrl_video.measure.flow import DisFlow, RaftFlow
from masactrl_video.measure.moments import Meter, Picture
from masactrl_video.measure.opened import FindPose, Given
from masactrl_video.measure.options import MeasureOptions
from masactrl_video.video.image_folder import read_image


def means_of(given: Given, options: MeasureOptions) -> Callable[[], Means]:
    """What makes the means of one clip, as often as it is asked: its meters are new, their networks are not.

    Raises:
        UserError: weights that cannot be read, or options that do not go together.
    """
    find_pose = _detector(given, options)
    find_flow = DisFlow() if options.raft is None else RaftFlow(options.raft, options.device)
    makers = _learned(given, options)
    return lambda: Means(find_flow, find_pose, [make() for make in makers], options.loop)


def _detector(given: Given, options: MeasureOptions) -> FindPose | None:
    name = options.pose_detector or given.pose_detector
    has_wanted = given.poses is not None or given.wanted or given.original is not None
    if options.pose_detector is not None and not has_wanted:
        raise UserError("--pose-detector: there is no pose to follow; give --poses, or the clip's --input")
    if name is not None and given.result_poses is None:
        from masactrl_video.controls.pose_plan import detector_named

        return detector_named(name, options.pose_threshold)
    if options.pose_threshold is not None:
        raise UserError("--pose-threshold: it would have no effect without --pose-detector; leave it out")
    return None


def _learned(given: Given, options: MeasureOptions) -> Sequence[Callable[[], Meter]]:
    """Makers of meters for the networks that are given."""
    if options.prompt and options.clip is None:
        raise UserError("--prompt: it would have no effect without --clip; leave it out")
    if options.lpips is not None and given.original is None:
        raise UserError("--lpips: there is nothing to compare with; give the clip's --input")
    if options.dreamsim is not None and given.source is None:
        raise UserError("--dreamsim: there is nothing to compare with; give a picture of the character with --source")
    if not any((options.dino, options.clip, options.lpips, options.dreamsim)):
        return []
    from masactrl_video.measure import learned, networks

    makers: list[Callable[[], Meter]] = []
    if options.dino is not None:
        embed = networks.open_dino(options.dino, options.device)
        makers.append(partial(learned.Consistency, learned.SUBJECT, embed, options.dino))
    if options.clip is not None:
        embed, embed_text = networks.open_clip(options.clip, options.device)
        text = embed_text(options.prompt) if options.prompt else None
        makers.append(partial(learned.Consistency, learned.BACKGROUND, embed, options.clip, neighbours=True, text=text))
    if options.lpips is not None:
        distance, net = networks.open_lpips(options.lpips, options.device)
        makers.append(partial(learned.KeptPerceptually, distance, net))
    if options.dreamsim is not None and given.source is not None:
        source: Picture = read_image(given.source)
        makers.append(partial(learned.ToSource, networks.open_dreamsim(options.dreamsim, options.device), source))
    return makers
