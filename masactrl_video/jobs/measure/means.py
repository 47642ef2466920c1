"""Flow, detector and networks by which clips are measured, loaded once for all of them."""

from __future__ import annotations

from collections.abc import Callable

from masactrl_video.errors import UserError
from masactrl_video.measure.clip import Means
from masactrl_video.measure.flow import DisFlow, RaftFlow
from masactrl_video.measure.opening import Given
from masactrl_video.measure.options import MeasureOptions


def means_of(given: Given, options: MeasureOptions) -> Callable[[], Means]:
    """What makes the means of one clip, as often as it is asked: its meters are new, their networks are not.

    Raises:
        UserError: weights that cannot be read, or options that do not go together.
    """
    find_flow = DisFlow() if options.raft is None else RaftFlow(options.raft, options.device)
    find_pose = None
    name = options.pose_detector or given.pose_detector
    has_wanted = given.poses is not None or given.wanted or given.original is not None
    if options.pose_detector is not None and not has_wanted:
        raise UserError("--pose-detector: there is no pose to follow; give --poses, or the clip's --input")
    if name is not None and given.result_poses is None:
        from masactrl_video.controls.pose_plan import detector_named

        find_pose = detector_named(name, options.pose_threshold)
    elif options.pose_threshold is not None:
        raise UserError("--pose-threshold: it would have no effect without --pose-detector; leave it out")
    return lambda: Means(find_flow, find_pose, (), options.loop)
