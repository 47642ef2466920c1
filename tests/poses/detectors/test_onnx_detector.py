import numpy as np
import pytest
from onnx_writer import write_convolution
from poses.detectors.row_networks import CELL_PX, HEIGHT_PX, WIDTH_PX, picture_with_people, row_network

from masactrl_video.demo.folder import WEIGHTS
from masactrl_video.errors import UserError
from masactrl_video.poses.detectors.base import open_pose_detector
from masactrl_video.poses.detectors.onnx import OnnxPoseDetector, OnnxPoseOptions, declared_input_shape
from masactrl_video.poses.pose_json import read_poses
from masactrl_video.video.clip import open_clip


@pytest.fixture
def network(tmp_path):
    return row_network(tmp_path / "row.onnx")


def expected_x(column, cell_px=CELL_PX):
    return (column - np.arange(18) + 9 + 0.5) * cell_px - 0.5


def test_points_land_on_the_centres_of_their_cells(network):
    pose = open_pose_detector(str(network))(picture_with_people((5, 20, 255)))
    (person,) = pose.people
    np.testing.assert_allclose(person.body[:, 0], expected_x(20), atol=0.01)
    np.testing.assert_allclose(person.body[:, 1], 5.5 * CELL_PX - 0.5, atol=0.01)
    np.testing.assert_allclose(person.body[:, 2], 1, atol=0.01)
    assert (pose.width_px, pose.height_px) == (WIDTH_PX, HEIGHT_PX)


def test_another_size_and_aspect_ratio_is_letterboxed(network):
    picture = picture_with_people((5, 20, 255), height_px=240, width_px=640, cell_px=2 * CELL_PX)
    pose = OnnxPoseDetector(network)(picture)
    np.testing.assert_allclose(pose.people[0].body[:, 0], expected_x(20, 2 * CELL_PX), atol=0.1)
    np.testing.assert_allclose(pose.people[0].body[:, 1], 5.5 * 2 * CELL_PX - 0.5, atol=0.1)
    assert (pose.width_px, pose.height_px) == (640, 240)


def test_several_people_come_most_certain_first(network):
    pose = OnnxPoseDetector(network)(picture_with_people((4, 20, 150), (15, 20, 250)))
    assert [round(float(person.body[0, 1])) for person in pose.people] == [124, 36]


def test_people_below_the_confidence_are_nobody(network):
    picture = picture_with_people((5, 20, 100))
    assert not OnnxPoseDetector(network, OnnxPoseOptions(min_confidence=0.5))(picture).has_person
    assert OnnxPoseDetector(network, OnnxPoseOptions(min_confidence=0.3))(picture).has_person


def test_the_threshold_can_be_set_and_is_part_of_the_identity(network):
    doubtful = picture_with_people((5, 20, 60))
    detector = open_pose_detector(str(network))
    assert not detector(doubtful).has_person
    lower = open_pose_detector(str(network), 0.1)
    assert lower(doubtful).has_person
    assert (detector.threshold, lower.threshold) == (0.28, 0.1)
    assert detector.identity != lower.identity


def test_the_demos_detector_has_a_threshold_too():
    folder = str(WEIGHTS / "keypoints")
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    every, none = open_pose_detector(folder, 0.0), open_pose_detector(folder, 1.0)
    assert (every(picture).people[0].body[:, 2] > 0).all()
    assert not none(picture).has_person
    assert every.identity != none.identity != open_pose_detector(folder).identity


def test_too_few_parts_are_nobody(network):
    picture = picture_with_people((5, 0, 255))  # parts 10 to 17 lie outside the picture
    found = OnnxPoseDetector(network)(picture).people[0].body[:, 2] > 0
    assert 4 <= found.sum() <= 10
    assert not OnnxPoseDetector(network, OnnxPoseOptions(min_parts=11))(picture).has_person


def test_an_open_input_size_is_taken_from_the_options(tmp_path):
    path = row_network(tmp_path / "open.onnx", (1, 3, 0, 0))
    assert declared_input_shape(path) == (1, 3, 0, 0)
    options = OnnxPoseOptions(open_input_size_px=(HEIGHT_PX, WIDTH_PX))
    pose = OnnxPoseDetector(path, options)(picture_with_people((5, 20, 255)))
    np.testing.assert_allclose(pose.people[0].body[:, 0], expected_x(20), atol=0.01)


def test_identity_follows_content_and_options_not_the_path(network, tmp_path):
    same = OnnxPoseDetector(network.rename(tmp_path / "moved.onnx"))
    assert OnnxPoseDetector(tmp_path / "moved.onnx").identity == same.identity
    assert OnnxPoseDetector(tmp_path / "moved.onnx", OnnxPoseOptions(min_parts=5)).identity != same.identity


def test_other_files_and_networks_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        OnnxPoseDetector(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("this is no network")
    with pytest.raises(UserError, match=r"text\.onnx"):
        OnnxPoseDetector(tmp_path / "text.onnx")
    few, wide = np.ones((5, 3, 8, 8)), np.ones((57, 1, 8, 8))
    other = write_convolution(tmp_path / "5.onnx", few, np.ones(5), input_shape=(1, 3, 64, 64), stride=8)
    with pytest.raises(UserError, match="57"):
        OnnxPoseDetector(other)
    grey = write_convolution(tmp_path / "grey.onnx", wide, np.ones(57), input_shape=(1, 1, 64, 64), stride=8)
    with pytest.raises(UserError, match=r"\(1, 1, 64, 64\)"):
        OnnxPoseDetector(grey)


@pytest.mark.parametrize("bad", [{"part_threshold": 2}, {"min_parts": 1}, {"open_input_size_px": (0, 432)}])
def test_options_out_of_range_are_refused(bad):
    with pytest.raises(UserError, match=next(iter(bad))):
        OnnxPoseOptions(**bad)


def test_a_cut_file_is_refused(network):
    network.write_bytes(network.read_bytes()[:1000])
    with pytest.raises(UserError, match="not an ONNX file"):
        OnnxPoseDetector(network)


def test_real_network_agrees_with_openpose_on_a_real_clip(shared_folder):
    detector = OnnxPoseDetector(shared_folder / "weights" / "pose" / "openpose18-mobilenetv2-368x432.onnx")
    clip = [frame.pixels for frame in open_clip(shared_folder / "data" / "clips" / "signing-gebaerden.mp4")]
    truth = read_poses(shared_folder / "data" / "keypoints" / "signing-gebaerden", size_px=(640, 480))
    chosen = range(0, len(clip), 15)
    wanted = np.stack([truth[index].people[0].body for index in chosen])  # -> (frames, 18, 3)
    found = np.stack([detector(clip[index]).people[0].body for index in chosen])
    distance_px = np.linalg.norm(wanted[..., :2] - found[..., :2], axis=-1)
    distance_px[found[..., 2] == 0] = np.inf  # a point that was not found counts as far away
    assert np.median(distance_px[wanted[..., 2] > 0]) <= 15
    assert np.median(distance_px[:, 0]) <= 4


def test_real_network_sees_nobody_in_a_wolf(shared_folder):
    detector = OnnxPoseDetector(shared_folder / "weights" / "pose" / "openpose18-mobilenetv2-368x432.onnx")
    clip = [frame.pixels for frame in open_clip(shared_folder / "data" / "clips" / "wolf.mp4")]
    assert not any(detector(clip[index]).has_person for index in range(0, 40, 5))
