import numpy as np

from masactrl_video.poses.detectors.part_affinity import FIELD_CHANNELS, FIELD_LIMBS, group_people

SHAPE = (30, 30)


def peaks_of(*people):
    """People as {part: (x, y)} made into a list of peaks for each part."""
    parts = [[(*person[part], 1.0) for person in people if part in person] for part in range(18)]
    return [np.array(peaks, np.float32).reshape(-1, 3) for peaks in parts]


def fields_of(*people):
    """Along each person's limbs, a unit vector in their direction; 0 elsewhere."""
    fields = np.zeros((38, *SHAPE), np.float32)
    for person in people:
        for (start, end), channel in zip(FIELD_LIMBS, FIELD_CHANNELS, strict=True):
            if start in person and end in person:
                first, last = np.array(person[start], float), np.array(person[end], float)
                for place in np.linspace(first, last, 60):
                    column, row = np.rint(place).astype(int)
                    fields[channel : channel + 2, row, column] = (last - first) / np.linalg.norm(last - first)
    return fields


LEFT = {0: (5, 3), 1: (5, 8), 2: (2, 8), 3: (2, 14), 4: (2, 20)}
RIGHT = {0: (15, 3), 1: (15, 8), 2: (12, 8), 3: (12, 14), 4: (12, 20)}


def test_parts_go_to_the_person_whose_field_they_lie_on():
    groups = group_people(peaks_of(LEFT, RIGHT), fields_of(LEFT, RIGHT), 0.05)
    assert sorted(groups, key=lambda group: group[0]) == [dict.fromkeys(LEFT, 0), dict.fromkeys(RIGHT, 1)]


def test_a_peak_without_a_field_belongs_to_nobody():
    without_wrist = {part: place for part, place in LEFT.items() if part != 4}
    groups = group_people(peaks_of(LEFT), fields_of(without_wrist), 0.05)
    assert [sorted(group) for group in groups] == [[0, 1, 2, 3]]


def test_a_field_on_half_of_the_limb_joins_nothing():
    arm = {2: (5, 5), 3: (5, 25)}
    fields = fields_of(arm)
    fields[:, 15:] = 0
    assert group_people(peaks_of(arm), fields, 0.05) == []


def test_a_field_against_the_limb_joins_nothing():
    assert group_people(peaks_of(LEFT), -fields_of(LEFT), 0.05) == []


def test_head_and_body_without_a_neck_are_joined_from_ear_to_shoulder():
    person = {2: (5, 10), 3: (5, 18), 14: (8, 3), 16: (6, 4), 0: (9, 4)}
    groups = group_people(peaks_of(person), fields_of(person), 0.05)
    assert [sorted(group) for group in groups] == [[0, 2, 3, 14, 16]]


def test_no_peaks_are_nobody():
    assert group_people(peaks_of(), fields_of(), 0.05) == []
