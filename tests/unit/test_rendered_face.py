"""The rendered face: what is believed of a detection, and what is found on phantoms."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fw_gear_hndeface.landmarks import rendered_face
from fw_gear_hndeface.landmarks.contract import Evidence
from fw_gear_hndeface.landmarks.detector import Detection, detect
from fw_gear_hndeface.landmarks.rendered_face import LIDS, SOURCE, Sighting, look, sight
from fw_gear_hndeface.model import Grid, Landmarks, Volume
from fw_gear_hndeface.ops.head import HeadScan, head_windows
from fw_gear_hndeface.ops.render import Pose, render
from tests import phantom as make
from tests.chain import SEED


@cache
def window(seed: int = SEED) -> HeadScan:
    return next(head_windows(make.phantom(seed, plain=True).volume))


@cache
def seen() -> Sighting:
    sighting = sight(window().skin)
    assert sighting is not None
    return sighting


def mark_errors(found: Landmarks, seed: int = SEED) -> dict[str, float]:
    truth = make.phantom(seed, plain=True).landmarks
    return {name: float(np.linalg.norm(mark.point - truth[name].point)) for name, mark in found.items()}


@pytest.mark.parametrize("seed", [SEED, 7])
def test_landmarks_lie_within_millimetres_of_the_truth(seed: int) -> None:
    found = SOURCE.locate(Evidence(window(seed)))
    errors = mark_errors(found, seed)
    assert errors["nose_tip"] < 7.0
    assert max(errors["mouth_left"], errors["mouth_right"]) < 12.0
    assert max(errors["globe_left"], errors["globe_right"]) < 15.0, "a phantom's lids lie 7 mm nearer the globe than people's"
    assert np.median(list(errors.values())) < 8.0


def test_points_lie_on_the_skin_and_globes_behind_the_lids() -> None:
    found = SOURCE.locate(Evidence(window()))
    skin = window().skin.points
    for name in ("nose_tip", "mouth_left", "brow_right", "chin"):
        assert np.linalg.norm(skin - found[name].point, axis=1).min() < 3.0, name
    sighting = seen()
    for name, indices in LIDS.items():
        lids = np.nanmedian(sighting.points[list(indices)], axis=0)
        assert found[name].point[1] - lids[1] > 12.0, "backwards is +y"


def test_the_picture_s_left_is_the_patient_s_right() -> None:
    sighting = seen()
    picture_right = sighting.pose.axes[0]
    assert (sighting.points[45] - sighting.points[36]) @ picture_right > 50.0
    assert sighting.points[45][0] > sighting.points[36][0] + 50.0


def test_a_weak_score_is_a_larger_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    sure = SOURCE.locate(Evidence(window()))
    weak = Sighting(0.1, seen().pose, seen().points)
    monkeypatch.setattr(rendered_face, "sight", lambda skin: weak)
    found = SOURCE.locate(Evidence(window()))
    assert found["nose_tip"].sigma_mm > 1.3 * sure["nose_tip"].sigma_mm
    assert sure["chin"].sigma_mm > sure["nose_tip"].sigma_mm, "jaw points slide along the silhouette"


@pytest.mark.parametrize(("axis", "degrees"), [(2, 90.0), (2, 180.0), (1, 180.0)])
def test_a_head_on_its_side_on_its_face_or_upside_down_is_seen(axis: int, degrees: float) -> None:
    head = make.phantom(SEED, plain=True)
    centre = head.volume.grid.corners().mean(axis=0)
    turn = Rotation.from_euler("xyz"[axis], degrees, degrees=True).as_matrix()
    affine = head.volume.grid.affine.copy()
    affine[:3, :3], affine[:3, 3] = turn @ affine[:3, :3], turn @ (affine[:3, 3] - centre) + centre
    scan = Volume(Grid(head.volume.grid.shape, affine, ""), head.volume.array)
    found = SOURCE.locate(Evidence(next(head_windows(scan))))
    away = [
        float(np.linalg.norm(mark.point - (turn @ (head.landmarks[n].point - centre) + centre))) for n, mark in found.items()
    ]
    assert len(away) > 15
    assert np.median(away) < 9.0


def test_the_back_of_the_head_shows_no_face() -> None:
    assert look(window().skin, Pose(0.0, 180.0)) is None


def test_faces_of_impossible_size_are_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    pose = Pose(0.0)
    assert look(window().skin, pose) is not None
    real = detect(render(window().skin, pose, pixel_mm=rendered_face.PIXEL_MM).grey)[0]
    left, top, _, _ = real.box
    small = Detection(3.0, (left, top, left + 30, top + 30))
    monkeypatch.setattr(rendered_face, "detect", lambda grey: [small])
    assert look(window().skin, pose) is None


@pytest.mark.parametrize("spoil", ["eyes too near", "nose behind", "lopsided", "no mouth"])
def test_shapes_that_are_no_face_are_not_believed(spoil: str) -> None:
    sighting = seen()
    assert rendered_face._plausible(sighting)
    points = sighting.points.copy()
    if spoil == "eyes too near":
        points[42:48, 0] -= 40.0
    elif spoil == "nose behind":
        points[28:34, 1] += 60.0
    elif spoil == "lopsided":
        points[28:34, 0] += 25.0
    else:
        points[48:60] = np.nan
    assert not rendered_face._plausible(Sighting(sighting.score, sighting.pose, points))


def test_points_off_the_surface_are_left_out_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    sighting = seen()
    points = sighting.points.copy()
    points[8] = np.nan
    monkeypatch.setattr(rendered_face, "sight", lambda skin: Sighting(1.0, sighting.pose, points))
    found = SOURCE.locate(Evidence(window()))
    assert "chin" not in found
    assert "nose_tip" in found


def test_nothing_seen_is_nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendered_face, "detect", lambda grey: [])
    assert len(SOURCE.locate(Evidence(window()))) == 0


def test_empty_pictures_hold_no_face() -> None:
    assert detect(np.zeros((120, 100), dtype=np.uint8)) == []


def test_detections_come_best_first_with_their_boxes() -> None:
    grey = render(window().skin, Pose(0.0), pixel_mm=1.5).grey
    found = detect(grey, lowest=-1.0)
    assert [face.score for face in found] == sorted((face.score for face in found), reverse=True)
    assert found[0].width == found[0].box[2] - found[0].box[0] > 40


def test_of_several_boxes_the_points_most_like_a_face_are_taken_and_none_makes_a_face_of_what_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A detector that frames the face too tightly squeezes it: the box that holds more gives its shape."""
    picture = render(window().skin, Pose(0.0), pixel_mm=rendered_face.PIXEL_MM)
    face = detect(picture.grey)[0]
    left, top, right, bottom = face.box
    tight = Detection(face.score, (left + 12, top + 6, right - 12, bottom - 18))
    monkeypatch.setattr(rendered_face, "detect", lambda grey: [tight])
    alone = rendered_face.STARTS[:1]
    many = look(window().skin, Pose(0.0))
    monkeypatch.setattr(rendered_face, "STARTS", alone)
    one = look(window().skin, Pose(0.0))
    assert one is not None
    assert many is not None
    assert rendered_face._quality(many) > rendered_face._quality(one)
    monkeypatch.setattr(rendered_face, "STARTS", ((0.0, 0.0), *alone))
    monkeypatch.setattr(rendered_face, "_plausible", lambda sighting: sighting is not first)
    sightings = list(rendered_face._sightings(picture, tight, Pose(0.0)))
    first = sightings[0]
    monkeypatch.setattr(rendered_face, "_sightings", lambda *_: iter(sightings))
    assert look(window().skin, Pose(0.0)) is None, "what the detector framed shows no face"


@pytest.mark.parametrize(
    ("front", "around", "taken"), [(0.2, 0.5, True), (None, 0.5, False), (None, 0.9, True), (0.9, 2.0, False)]
)
def test_elsewhere_a_better_face_is_taken_and_in_place_of_none_a_sure_one(
    front: float | None, around: float, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = seen()

    def looked(skin: object, pose: Pose) -> Sighting | None:
        score = around if pose in rendered_face.AROUND_POSES else front
        return None if score is None else Sighting(score, pose, true.points)

    monkeypatch.setattr(rendered_face, "look", looked)
    monkeypatch.setattr(rendered_face, "_frontal", lambda skin, best: None)
    found = sight(window().skin)
    assert (found is not None and found.pose in rendered_face.AROUND_POSES) is taken
    assert (found is None) is (front is None and not taken)
