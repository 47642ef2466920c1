import logging

import numpy as np
import pytest
from PIL import Image

from masactrl_video.controls.extract import extract_guidance, frame_ranges
from masactrl_video.controls.extractors import CannyGuidance, DetectedPoses, GivenFrames, GivenPoses, canny_edges
from masactrl_video.controls.store import GuidanceFrames
from masactrl_video.errors import UserError
from masactrl_video.poses.draw import draw_pose
from masactrl_video.poses.pose import Person, Pose
from masactrl_video.poses.pose_json import read_poses
from masactrl_video.poses.repair import PoseTreatment

HEIGHT_PX, WIDTH_PX = 48, 72


class BrightSpotDetector:
    """Finds a person, all points in one place, at the brightest pixel of a frame that is not black."""

    identity = "bright spot"
    threshold = 0.25

    def __call__(self, image):
        height, width = image.shape[:2]
        if not image.any():
            return Pose((), width, height)
        row, column = np.unravel_index(image[:, :, 0].argmax(), (height, width))
        body = np.tile(np.array([column + 0.5, row + 0.5, 1], np.float32), (18, 1))
        return Pose((Person(body),), width, height)


class DoubtfulDetector(BrightSpotDetector):
    """Is never quite certain."""

    def __call__(self, image):
        pose = super().__call__(image)
        for person in pose.people:
            person.body[:, 2] = 0.5
        return pose


def clip(*columns):
    """Frames with a bright spot at a column of row 20; black where the column is None."""
    for column in columns:
        frame = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
        if column is not None:
            frame[20, column] = 255
        yield frame


def no_frames_wanted():
    raise AssertionError("the frames were read")
    yield


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "new" / "guidance"


def extract(folder, frames, make, key="key"):
    return extract_guidance(frames, folder=folder, key=key, make=make, total=None)


def spots(guidance):
    return [int(np.median(np.nonzero(picture.any(axis=2))[1])) if picture.any() else None for picture in guidance]


def test_canny_of_each_frame_is_kept_without_loss(folder):
    guidance = extract(folder, clip(10, 20, 30), CannyGuidance(50, 150))
    assert (len(guidance), guidance.size, guidance.key, guidance.missing) == (3, (WIDTH_PX, HEIGHT_PX), "key", ())
    for picture, frame in zip(guidance, clip(10, 20, 30), strict=True):
        np.testing.assert_array_equal(picture, canny_edges(frame, 50, 150))
    assert guidance.pose_path is None


def test_frames_without_a_person_are_black_and_reported(folder, caplog):
    guidance = extract(folder, clip(10, None, None, 40, None), DetectedPoses(BrightSpotDetector()))
    assert spots(guidance) == [10, None, None, 40, None]
    assert guidance.missing == (1, 2, 4)
    assert "no person found in frames 1–2, 4 (3 of 5): their guidance is black" in caplog.text
    extract(folder.with_name("one"), clip(10, None), DetectedPoses(BrightSpotDetector()))
    assert "no person found in frame 1 (1 of 2): its guidance is black" in caplog.text


def test_gaps_are_filled_when_asked_and_still_reported(folder, caplog):
    make = DetectedPoses(BrightSpotDetector(), PoseTreatment(fill_missing=True))
    guidance = extract(folder, clip(10, None, None, 40, None), make)
    assert spots(guidance) == [10, 20, 30, 40, 40]
    assert guidance.missing == (1, 2, 4)
    assert "filled from their neighbours" in caplog.text
    assert [pose.has_person for pose in read_poses(guidance.pose_path)] == [True] * 5


@pytest.mark.parametrize("treatment", [PoseTreatment(), PoseTreatment(fill_missing=True), PoseTreatment(person="0")])
def test_a_clip_without_anybody_is_refused_with_the_ways_out(folder, treatment):
    told = []
    ways = r"another --pose-detector, or a --pose-threshold below 0\.25, or --guidance canny"
    with pytest.raises(UserError, match=f"no person is found in any of the 2 frames of the clip; take {ways}"):
        extract_guidance(
            clip(None, None),
            folder=folder,
            key="key",
            make=DetectedPoses(BrightSpotDetector(), treatment),
            tell=told.append,
        )
    assert told == []
    assert list(folder.parent.iterdir()) == []


def test_people_who_are_all_too_doubtful_are_refused(folder):
    with pytest.raises(UserError, match=r"found in 1 of 2 frames, .* a confidence of 1; lower --pose-confidence"):
        doubtful = DetectedPoses(DoubtfulDetector(), PoseTreatment(min_confidence=1))
        extract(folder, clip(10, None), doubtful)


def test_poses_without_anybody_in_the_frames_taken_are_refused(folder):
    poses = [Pose((), WIDTH_PX, HEIGHT_PX)] * 2
    with pytest.raises(UserError, match=r"a\.json: nobody is in any of the 2 frames that are taken"):
        extract(folder, clip(1, 2), GivenPoses(poses, name="a.json"))


def test_edges_and_pictures_that_are_nowhere_are_said(folder, caplog):
    assert len(extract(folder, clip(None, None), CannyGuidance())) == 2
    assert "no edge is found in any frame" in caplog.text
    extract(folder, clip(1, 2), GivenFrames(clip(None, None)), key="other")
    assert "all pictures are black" in caplog.text


def test_pictures_that_may_be_black_are_nowhere_complained_of(folder, caplog):
    """Places of noise near the origin, parts of the first persons of a cast, and a dark clip's own frames."""
    assert len(extract(folder, clip(None, None), GivenFrames(clip(None, None), ""))) == 2
    assert not caplog.text


def test_people_are_found_in_frames_of_another_size_and_drawn_on_the_canvas(folder):
    def placed(pose):
        return pose.scaled(width_px=36, height_px=24)

    guidance = extract(folder, clip(20, None), DetectedPoses(BrightSpotDetector(), placed=placed))
    assert guidance.size == (36, 24)
    assert spots(guidance) == [10, None]


def test_people_outside_of_what_is_drawn_do_not_count(folder):
    def cut(pose):
        return pose.transform(lambda xy: xy - [30, 0], width_px=20, height_px=HEIGHT_PX)

    guidance = extract(folder, clip(40, 10), DetectedPoses(BrightSpotDetector(), placed=cut))
    assert guidance.missing == (1,)


def test_poses_on_disk_are_those_that_were_drawn(folder):
    guidance = extract(folder, clip(10, None), DetectedPoses(BrightSpotDetector()))
    for picture, pose in zip(guidance, read_poses(guidance.pose_path), strict=True):
        np.testing.assert_array_equal(picture, draw_pose(pose))


def test_given_poses_are_drawn(folder):
    poses = [BrightSpotDetector()(frame) for frame in clip(15, 25)]
    assert spots(extract(folder, clip(1, 1), GivenPoses(poses))) == [15, 25]


def test_given_frames_are_kept_as_they_are(folder):
    guidance = extract(folder, clip(1, 2), GivenFrames(clip(3, 4)))
    assert spots(guidance) == [3, 4]
    assert guidance.index.kind == "given"


@pytest.mark.parametrize(("count", "named"), [(2, "2 {} for 3 frames"), (5, "5 {} for 3 frames")])
def test_given_guidance_must_match_the_clips_count(folder, count, named):
    pictures = list(clip(*range(count)))
    poses = [BrightSpotDetector()(picture) for picture in clip(*range(1, count + 1))]
    with pytest.raises(UserError, match=named.format("guidance pictures")):
        extract(folder, clip(1, 2, 3), GivenFrames(pictures))
    with pytest.raises(UserError, match=named.format("poses")):
        extract(folder, clip(1, 2, 3), GivenPoses(poses))
    assert list(folder.parent.iterdir()) == []


def test_given_guidance_must_have_the_frames_size(folder):
    with pytest.raises(UserError, match="frame 0: its guidance is 10x8, the frame 72x48"):
        extract(folder, clip(1), GivenFrames([np.zeros((8, 10, 3), np.uint8)]))
    with pytest.raises(UserError, match="frame 0: its guidance is 512x512"):
        extract(folder, clip(1), GivenPoses([Pose((), 512, 512)]))


def test_the_same_key_reuses_and_reads_no_frames(folder, caplog):
    caplog.set_level(logging.INFO)
    extract(folder, clip(10, 20), CannyGuidance())
    assert len(extract(folder, no_frames_wanted(), CannyGuidance())) == 2
    assert "reused" in caplog.text


def test_another_key_replaces_the_guidance_and_its_longer_rest(folder):
    extract(folder, clip(10, 20, 30), DetectedPoses(BrightSpotDetector()))
    extract(folder, clip(1), CannyGuidance(), key="other")
    assert sorted(path.name for path in folder.iterdir()) == ["000000.png", "index.json"]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_guidance_with_a_picture_gone_is_made_anew(folder):
    extract(folder, clip(10, 20), CannyGuidance())
    (folder / "000001.png").unlink()
    with pytest.raises(UserError, match=r"1 of 2 pictures are gone, the first is 000001\.png"):
        GuidanceFrames.open(folder)
    assert len(extract(folder, clip(10, 20), CannyGuidance())) == 2
    assert (folder / "000001.png").is_file()


@pytest.mark.parametrize("content", [{"holiday.png": "x"}, {"index.json": "{}"}])
def test_a_folder_that_is_not_ours_is_left_alone(folder, content):
    folder.mkdir(parents=True)
    for name, text in content.items():
        (folder / name).write_text(text)
    with pytest.raises(UserError, match=str(folder)):
        extract(folder, no_frames_wanted(), CannyGuidance())
    assert {path.name: path.read_text() for path in folder.iterdir()} == content


def test_other_files_beside_our_guidance_are_not_deleted(folder):
    extract(folder, clip(10), CannyGuidance())
    (folder / "notes.txt").write_text("mine")
    assert len(extract(folder, no_frames_wanted(), CannyGuidance())) == 1
    with pytest.raises(UserError, match=r"notes\.txt"):
        extract(folder, no_frames_wanted(), CannyGuidance(), key="other")
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_failure_leaves_the_old_guidance_and_nothing_half_written(folder):
    extract(folder, clip(10), CannyGuidance())

    def breaking():
        yield from clip(1, 2)
        raise RuntimeError("decoder")

    with pytest.raises(RuntimeError, match="decoder"):
        extract(folder, breaking(), CannyGuidance(), key="other")
    assert GuidanceFrames.open(folder).key == "key"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_no_frames_are_an_error(folder):
    with pytest.raises(UserError, match="no frames"):
        extract(folder, clip(), CannyGuidance())


def test_a_picture_is_read_when_asked_for(folder):
    guidance = extract(folder, clip(10, 20), CannyGuidance())
    np.testing.assert_array_equal(guidance[-1], guidance[1])
    with pytest.raises(IndexError):
        guidance[2]
    Image.new("L", (WIDTH_PX, HEIGHT_PX)).save(folder / "000000.png")
    (folder / "000001.png").write_bytes(b"\x89PNG")
    for index in (0, 1):
        with pytest.raises(UserError, match=rf"00000{index}\.png"):
            guidance[index]


def test_frame_numbers_are_told_in_ranges():
    assert frame_ranges([3, 4, 5, 6, 7, 12]) == "frames 3–7, 12"
    assert frame_ranges([0]) == "frame 0"
    assert frame_ranges([1, 3]) == "frames 1, 3"
