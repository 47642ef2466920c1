"""Figures cut out of pictures whose silhouette is known: as large as they are, and nothing of the ground in the rim."""

import cv2
import numpy as np
import pytest
from sprites.conftest import SIDE_PX, Drawn

from masactrl_video.errors import UserError
from masactrl_video.poses.pose import Pose
from masactrl_video.sprites.alpha import cut_out, matte_of, mattes_of
from masactrl_video.sprites.body import Body
from masactrl_video.sprites.ground import Ground, corrected


def figures(drawn: list[Drawn]) -> np.ndarray:
    """For each figure IoU, error over black and over white in a rim of 2 px, and over white about the feet."""
    rows = []
    for one in drawn:
        alpha = one.figure[..., 3:].astype(np.float32) / 255
        whole = np.concatenate([one.figure[..., :3] * alpha, alpha], axis=2)
        small = cv2.resize(whole, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
        colours, alpha = small[..., :3], small[..., 3]
        true = 1 - (one.over_white.astype(float) - one.over_black).mean(axis=2) / 255
        mask, kernel = (true >= 0.5).astype(np.uint8), np.ones((3, 3), np.uint8)
        rim = (cv2.dilate(mask, kernel, iterations=2) - cv2.erode(mask, kernel, iterations=2)) > 0
        ours = alpha >= 0.5
        off_white = np.abs(colours + 255 * (1 - alpha[..., None]) - one.over_white)
        feet = rim & (np.arange(SIDE_PX)[:, None] >= one.body.lowest_px * SIDE_PX / one.body.side_px)
        rows.append(
            (
                (ours & (mask > 0)).sum() / (ours | (mask > 0)).sum(),
                np.abs(colours - one.over_black)[rim].mean(),
                off_white[rim].mean(),
                off_white[feet].mean(),
            )
        )
    return np.array(rows)


def test_the_silhouette_is_the_true_one_and_no_halo_is_left(drawn: list[Drawn]) -> None:
    overlap, black, white, feet = figures(drawn).T
    assert overlap.min() >= 0.95
    assert black.mean() <= 5
    assert white.mean() <= 9
    assert feet.mean() <= 17  # the shadow is as dark as outlines there


def test_an_eye_that_looks_like_the_ground_is_no_hole(drawn: list[Drawn]) -> None:
    one = drawn[0]
    frame, scale = one.frame.copy(), len(one.figure) // SIDE_PX
    middle = one.body.points[[0, 14, 15]].mean(axis=0) - (0, 0.3 * one.body.trunk_px)
    x, y = (middle / scale).round().astype(int)
    eye = (slice(y - 2, y + 3), slice(x - 2, x + 3))
    frame[eye] = one.ground.picture[y * scale, x * scale]
    assert cut_out(frame, matte_of(frame, one.body, one.ground))[y * scale, x * scale, 3] == 255


def test_an_edge_of_the_ground_may_wander_a_little() -> None:
    picture = np.zeros((32, 32, 3), np.float32)
    picture[16:] = 200
    ground = Ground(picture, np.ones((32, 32), bool))
    assert not ground.off(np.roll(picture, 3, axis=0))[3:].any()
    assert ground.off(np.roll(picture, 6, axis=0))[20].min() == 200


def test_nothing_is_at_the_edge_of_the_picture(drawn: list[Drawn]) -> None:
    assert not any(one.figure[[0, -1], :, 3].any() or one.figure[:, [0, -1], 3].any() for one in drawn)


def test_a_body_without_hips_is_refused(drawn: list[Drawn]) -> None:
    with pytest.raises(UserError, match="without neck and hips"):
        Body.of(Pose((), 512, 512), 512)


def test_what_an_outline_shuts_in_stays_if_it_is_nearer_to_the_body_than_to_the_ground(drawn: list[Drawn]) -> None:
    fur, snow, line = (223, 204, 208), (200, 209, 223), (50, 40, 45)
    body, hands = drawn[-1].body, []
    picture = np.full((body.side_px, body.side_px, 3), snow, np.uint8)
    picture[cv2.dilate(body.likely().astype(np.uint8), np.ones((9, 9))) > 0] = line
    for (elbow, wrist), inside in zip(((3, 4), (6, 7)), (fur, snow), strict=True):
        way = body.points[wrist] - body.points[elbow]
        hands.append(np.round(body.points[wrist] + 36 * way / np.linalg.norm(way)).astype(int).tolist())
        cv2.circle(picture, hands[-1], 26, line, -1)
        cv2.circle(picture, hands[-1], 18, inside, -1)
    picture[body.likely()] = fur
    frame = cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    known = Ground(np.full(picture.shape, snow, np.float32), np.ones(picture.shape[:2], bool))
    alpha = matte_of(frame, body, known).alpha
    assert [float(alpha[y, x]) for x, y in hands] == [1, 0]


def test_a_gap_between_ears_is_ground_although_the_shirt_is_like_the_sky(drawn: list[Drawn]) -> None:
    fur, shirt, sky, line = (220, 190, 190), (165, 205, 248), (140, 190, 240), (50, 40, 45)
    body = drawn[0].body
    picture = np.full((body.side_px, body.side_px, 3), sky, np.uint8)
    head = body.points[[0, 14, 15, 16, 17]].mean(axis=0).round().astype(int)
    ears = [head - away for away in ((32, 110), (-32, 110))]
    gap = head - (0, 105)
    cv2.rectangle(picture, (ears[0] - (0, 40)).tolist(), (ears[1] - (0, 30)).tolist(), line, -1)
    picture[cv2.dilate(body.likely().astype(np.uint8), np.ones((9, 9))) > 0] = line
    for ear in ears:
        cv2.ellipse(picture, ear.tolist(), (22, 60), 0, 0, 360, line, -1)
        cv2.ellipse(picture, ear.tolist(), (17, 55), 0, 0, 360, fur, -1)
    picture[body.likely()] = shirt
    cv2.circle(picture, head.tolist(), round(0.45 * body.trunk_px), fur, -1)
    cv2.rectangle(picture, (gap - (9, 35)).tolist(), (gap + np.array([9, 50])).tolist(), shirt, -1)
    frame = cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    known = Ground(np.full(picture.shape, sky, np.float32), np.ones(picture.shape[:2], bool))
    alpha = matte_of(frame, body, known).alpha
    assert [float(alpha[y, x]) for x, y in (*ears, gap)] == [1, 1, 0]


def alpha_in_the_meadow(body: Body, legs: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Alpha of a body in green pants, its outline around it and a grey shadow under it."""
    meadow = (95, 180, 70)
    picture = np.full((body.side_px, body.side_px, 3), meadow, np.uint8)
    cv2.ellipse(picture, shadow_of(body), (round(body.trunk_px), 14), 0, 0, 360, (86, 92, 96), -1)
    picture[line], picture[legs] = (50, 45, 45), (50, 160, 80)
    frame = cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    known = Ground(np.full(picture.shape, meadow, np.float32), np.ones(picture.shape[:2], bool))
    return matte_of(frame, body, known).alpha


def shadow_of(body: Body) -> list[int]:
    """x and y of its middle."""
    return [round(float(body.points[[10, 13], 0].mean())), round(body.lowest_px + 12)]


def wider(flags: np.ndarray, px: int) -> np.ndarray:
    """Flags, so many px wider on each side."""
    return cv2.dilate(flags.astype(np.uint8), np.ones((2 * px + 1, 2 * px + 1))) > 0


def test_a_green_leg_is_no_shadow_of_the_meadow(drawn: list[Drawn]) -> None:
    body = drawn[0].body
    legs = wider(body.likely(), 8)
    alpha = alpha_in_the_meadow(body, legs, wider(legs, 3))
    low = body.low(0.12) & ~body.feet() & ~wider(~legs, 2)
    assert low.sum() > 200
    assert alpha[low].mean() > 0.99
    x, y = shadow_of(body)
    assert alpha[y, [x, x - round(0.9 * body.trunk_px)]].max() == 0


def test_the_outline_of_a_green_leg_is_kept_beside_its_shadow(drawn: list[Drawn]) -> None:
    kept = []
    for body in (one.body for one in drawn):
        legs = wider(body.likely(), 4)
        line = wider(legs, 4) & ~legs
        alpha = alpha_in_the_meadow(body, legs, line)
        beside = line & body.low(0.12) & ~body.feet() & (np.arange(body.side_px)[:, None] < body.lowest_px)
        kept.append((alpha[beside] > 0.5).mean())
    assert np.mean(kept) > 0.75


def test_a_cloud_that_no_frame_shows_hides_no_white_bobble(drawn: list[Drawn]) -> None:
    white, scale, frames, places = (250, 252, 255), len(drawn[0].figure) // SIDE_PX, [], []
    for one in drawn:
        x = round(float(one.body.points[0, 0]))
        top = int(np.flatnonzero(one.figure[:, x, 3] > 127)[0])
        places.append((x, top - 10))
        frames.append(cv2.circle(one.frame.copy(), (x // scale, (top - 8) // scale), 4, white, -1, cv2.LINE_AA))
    picture = drawn[0].ground.picture.copy()
    cv2.ellipse(picture, np.mean(places, axis=0).astype(int).tolist(), (70, 70), 0, 0, 360, white, -1)
    ground = Ground(picture, drawn[0].ground.known)
    bodies = [one.body for one in drawn]
    alone = [matte_of(frame, body, ground) for frame, body in zip(frames, bodies, strict=True)]
    together = mattes_of(frames, bodies, ground)
    lost, kept = (
        sum(matte.alpha[y, x] < 0.5 for matte, (x, y) in zip(some, places, strict=True)) for some in (alone, together)
    )
    assert lost > len(drawn) // 2
    assert kept == 0


def test_a_ground_that_the_frames_show_stays_as_it_is(drawn: list[Drawn]) -> None:
    alphas = [one.figure[..., 3].astype(np.float32) / 255 for one in drawn]
    frames, bodies, ground = [one.frame for one in drawn], [one.body for one in drawn], drawn[0].ground
    assert corrected(ground, frames, bodies, alphas) is ground


def test_an_outline_before_a_dark_ground_is_no_mix_of_ground_and_shirt(drawn: list[Drawn]) -> None:
    shirt, tree, line = (65, 105, 225), (60, 130, 65), (45, 40, 40)
    body = drawn[0].body
    likely = body.likely().astype(np.uint8)
    outlined = cv2.dilate(likely, np.ones((9, 9))) > 0
    picture = np.full((body.side_px, body.side_px, 3), tree, np.uint8)
    picture[outlined], picture[likely > 0] = line, shirt
    frame = cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    known = Ground(np.full(picture.shape, tree, np.float32), np.ones(picture.shape[:2], bool))
    alpha = matte_of(frame, body, known).alpha
    in_the_line = (cv2.dilate(likely, np.ones((5, 5))) > cv2.dilate(likely, np.ones((3, 3)))) & ~body.low(0.5)
    assert alpha[in_the_line].mean() > 0.85
    assert alpha[cv2.dilate(outlined.astype(np.uint8), np.ones((13, 13))) == 0].max() == 0
