import shutil
from pathlib import Path

from video.made_clips import make_clip

from masactrl_video.video.fingerprint import fingerprint_clip
from masactrl_video.video.frame import Selection


def test_the_same_content_has_the_same_fingerprint_under_another_name(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4")
    copied = Path(shutil.copy(clip, tmp_path / "b.mp4"))
    assert fingerprint_clip(clip) == fingerprint_clip(copied) == fingerprint_clip(clip, Selection())


def test_one_changed_byte_or_another_selection_changes_it(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4")
    before = {fingerprint_clip(clip), fingerprint_clip(clip, Selection(1)), fingerprint_clip(clip, Selection(0, 2))}
    clip.write_bytes(clip.read_bytes() + b"\0")
    assert len(before | {fingerprint_clip(clip)}) == 4


def test_a_folder_counts_by_its_images_in_order(tmp_path: Path) -> None:
    for name, content in (("1.png", b"one"), ("2.png", b"two")):
        (tmp_path / name).write_bytes(content)
    before = fingerprint_clip(tmp_path)
    (tmp_path / "notes.txt").write_text("no frame")
    assert fingerprint_clip(tmp_path) == before
    (tmp_path / "1.png").rename(tmp_path / "3.png")
    assert fingerprint_clip(tmp_path) != before
