import os

import numpy as np
import pytest
import torch
from controlnet_aux.open_pose.face import FaceNet
from controlnet_aux.open_pose.model import bodypose_model, handpose_model

from masactrl_video.errors import UserError
from masactrl_video.poses.detectors import openpose as openpose_detector
from masactrl_video.poses.detectors.base import open_pose_detector
from masactrl_video.poses.detectors.openpose import WEIGHT_FILES, AuxOpenposeDetector

BODY = "body_pose_model.pth"


def constant_weights(model, *, drop_prefix):
    """A checkpoint of the model's shapes; each tensor repeats one stored number, so the file is small."""
    random = torch.Generator().manual_seed(0)
    names = {name: name.split(".", 1)[1] if drop_prefix else name for name in model.state_dict()}
    return {
        names[name]: (0.01 * torch.randn(1, generator=random)).expand(tensor.shape)
        for name, tensor in model.state_dict().items()
    }


@pytest.fixture(scope="module")
def weights_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openpose")
    torch.save(constant_weights(bodypose_model(), drop_prefix=True), folder / BODY)
    torch.save(constant_weights(handpose_model(), drop_prefix=True), folder / "hand_pose_model.pth")
    torch.save(constant_weights(FaceNet(), drop_prefix=False), folder / "facenet.pth")
    return folder


@pytest.fixture(scope="module")
def detector(weights_folder):
    return AuxOpenposeDetector(str(weights_folder), hands_and_face=True)


@pytest.fixture
def copied_folder(weights_folder, tmp_path):
    for name in WEIGHT_FILES:
        (tmp_path / name).symlink_to(weights_folder / name)
    return tmp_path


class _Touch:
    """Unpickling this would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def found_body(monkeypatch, detector, points):
    """Lets the body network answer with one person at these points; everything after it stays as it is."""
    candidate = np.array([(x, y, 0.8, index) for index, (x, y) in enumerate(points)])
    subset = np.array([[*range(len(points)), *[-1] * (18 - len(points)), 10.0, len(points)]])
    estimate = type(detector._detector.body_estimation)
    monkeypatch.setattr(estimate, "__call__", lambda self, image: (candidate, subset))


def test_an_untrained_network_finds_nobody(detector):
    pose = detector(np.full((64, 96, 3), 90, np.uint8))
    assert (pose.people, pose.width_px, pose.height_px) == ((), 96, 64)


def test_found_points_keep_pixels_and_confidence(monkeypatch, detector):
    points = [(100 + 5 * index, 60 + 4 * index) for index in range(8)]
    found_body(monkeypatch, detector, points)
    (person,) = detector(np.zeros((256, 320, 3), np.uint8)).people
    np.testing.assert_allclose(person.body[:8], [(x, y, 0.8) for x, y in points], rtol=1e-6)
    assert not person.body[8:].any()


def test_identity_follows_content_and_options(detector, copied_folder):
    assert AuxOpenposeDetector(str(copied_folder), hands_and_face=True).identity == detector.identity
    assert AuxOpenposeDetector(str(copied_folder)).identity != detector.identity


def test_code_in_a_checkpoint_is_never_run(monkeypatch, copied_folder):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    (copied_folder / BODY).unlink()
    torch.save({"weights": _Touch(copied_folder / "touched")}, copied_folder / BODY)
    with pytest.raises(UserError, match="never unpickled"):
        AuxOpenposeDetector(str(copied_folder))
    assert not (copied_folder / "touched").exists()


def test_a_missing_file_is_named(copied_folder):
    (copied_folder / "facenet.pth").unlink()
    with pytest.raises(UserError, match=r"facenet\.pth not there"):
        AuxOpenposeDetector(str(copied_folder))


def test_weights_of_another_network_are_refused(copied_folder):
    (copied_folder / BODY).unlink()
    torch.save({"conv.weight": torch.zeros(3)}, copied_folder / BODY)
    with pytest.raises(UserError, match="do not fit"):
        AuxOpenposeDetector(str(copied_folder))


@pytest.mark.parametrize("name", ["lllyasviel/Annotators", "no such folder/at/all"])
def test_without_weights_the_error_says_what_to_give(name):
    with pytest.raises(UserError, match=r"\.onnx network"):
        AuxOpenposeDetector(name)


def test_the_hub_is_not_asked_for_what_is_no_hub_id(monkeypatch):
    asked = []
    monkeypatch.setattr(openpose_detector, "hf_hub_download", lambda *names: asked.append(names))
    with pytest.raises(UserError, match="'openpose': no such folder; give a folder"):
        AuxOpenposeDetector("openpose")
    assert not asked


def test_a_large_picture_is_searched_at_a_smaller_size(monkeypatch, detector):
    monkeypatch.setattr(openpose_detector, "LARGEST_PX", 160 * 128)
    found_body(monkeypatch, detector, [(50, 60)] * 8)
    pose = detector(np.zeros((256, 320, 3), np.uint8))
    assert (pose.width_px, pose.height_px) == (320, 256)
    np.testing.assert_allclose(pose.people[0].body[0, :2], [2 * 50.5 - 0.5, 2 * 60.5 - 0.5])


def test_its_threshold_cannot_be_set(weights_folder):
    with pytest.raises(UserError, match=r"pose_threshold: .* whose threshold is fixed"):
        open_pose_detector(str(weights_folder), 0.5)
