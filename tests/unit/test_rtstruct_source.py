"""Globe centres from drawn eyes."""

from __future__ import annotations

import numpy as np
import pytest

from fw_gear_hndeface.landmarks.contract import Evidence
from fw_gear_hndeface.landmarks.rtstruct import SOURCE
from fw_gear_hndeface.model import Landmarks, Roi, RoiKind
from fw_gear_hndeface.ops.head import HeadScan

LEFT, RIGHT = np.array([36.0, -140.0, 512.0]), np.array([-27.5, -138.0, 515.0])


def ring(name: str, centre: np.ndarray, radius_mm: float = 12.0, kind: RoiKind = RoiKind.LANDMARK) -> Roi:
    """A ball contoured on slices 3 mm apart."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    contours = []
    for z in np.arange(-9.0, 9.1, 3.0):
        r = np.sqrt(max(radius_mm**2 - z**2, 1.0))
        contours.append(centre + np.column_stack([r * np.cos(angles), r * np.sin(angles), np.full(24, z)]))
    return Roi(name, 1, kind, tuple(contours))


def located(*rois: Roi) -> Landmarks:
    head: HeadScan = None  # type: ignore[assignment]
    return SOURCE.locate(Evidence(head, rois))


@pytest.mark.parametrize("names", [("Eye_L", "Eye_R"), ("Auge re", "Auge li"), ("globe 1", "globe 2"), ("Orbit_R", "Orbit_L")])
def test_two_eyes_give_two_globes_by_position_not_by_name(names: tuple[str, str]) -> None:
    marks = located(ring(names[0], RIGHT), ring(names[1], LEFT))
    assert set(marks) == {"globe_left", "globe_right"}
    assert np.allclose(marks["globe_left"].point, LEFT, atol=0.01)
    assert np.allclose(marks["globe_right"].point, RIGHT, atol=0.01)
    assert marks["globe_left"].sigma_mm <= 3.0


def test_one_region_that_holds_both_eyes_is_not_a_pair() -> None:
    one, other = ring("Eyes", LEFT), ring("Eyes", RIGHT)
    assert len(located(Roi("Eyes", 1, RoiKind.LANDMARK, one.contours_mm + other.contours_mm))) == 0


def test_lenses_alone_are_less_sure_and_globes_outrank_them() -> None:
    front = np.array([0.0, -8.0, 0.0])
    lenses = ring("Lens_L", LEFT + front, 4.0), ring("Lens_R", RIGHT + front, 4.0)
    alone = located(*lenses)
    assert alone["globe_left"].sigma_mm >= 5.0
    both = located(*lenses, ring("Eye_L", LEFT), ring("Eye_R", RIGHT))
    assert np.allclose(both["globe_left"].point, LEFT, atol=0.01)
    assert both["globe_left"].sigma_mm < alone["globe_left"].sigma_mm


def test_several_contours_of_an_eye_are_one_eye() -> None:
    marks = located(ring("Eye_L", LEFT), ring("Orbit_L", LEFT + np.array([1.0, 2.0, 0.0])), ring("Eye_R", RIGHT))
    assert np.linalg.norm(marks["globe_left"].point - LEFT) < 2.0
    assert np.allclose(marks["globe_right"].point, RIGHT, atol=0.01)


@pytest.mark.parametrize(
    "rois",
    [
        (),
        (ring("Eye_L", LEFT),),
        (ring("Eye_L", LEFT), ring("Eye_R", LEFT + np.array([-20.0, 0.0, 0.0]))),
        (ring("Eye_L", LEFT), ring("Eye_R", LEFT + np.array([-200.0, 0.0, 0.0]))),
        (ring("Parotid_L", LEFT, kind=RoiKind.ORGAN), ring("Parotid_R", RIGHT, kind=RoiKind.ORGAN)),
        (ring("Eye_L", LEFT), Roi("Eye_R", 2, RoiKind.LANDMARK, ())),
    ],
    ids=["nothing", "one", "too near", "too far", "organs", "empty"],
)
def test_what_is_no_pair_of_eyes_says_nothing(rois: tuple[Roi, ...]) -> None:
    assert len(located(*rois)) == 0


def arch(depth_mm: float) -> np.ndarray:
    """Points along a jaw from its joints down and forward to the symphysis, for both sides."""
    t = np.linspace(0.0, 1.0, 40)
    half = np.column_stack([50.0 * (1.0 - t**2), 60.0 - depth_mm * t, -10.0 - (depth_mm + 10.0) * t])
    return np.concatenate([half, half * np.array([-1.0, 1.0, 1.0])])


@pytest.mark.parametrize("name", ["Mandible", "Bone_Mandible", "Unterkiefer"])
def test_a_drawn_jaw_gives_the_chin_below_its_middle(name: str) -> None:
    marks = located(Roi(name, 1, RoiKind.ORGAN, (arch(80.0),)))
    assert set(marks) == {"chin"}
    symphysis = np.array([0.0, -20.0, -100.0])
    assert 5.0 < np.linalg.norm(marks["chin"].point - symphysis) < 14.0
    assert abs(marks["chin"].point[0]) < 2.0
    assert marks["chin"].sigma_mm > 4.0, "where drawing stopped is no sure end"


def test_a_piece_of_a_jaw_or_another_organ_gives_no_chin() -> None:
    assert len(located(Roi("Mandible", 1, RoiKind.ORGAN, (0.3 * arch(80.0),)))) == 0
    assert len(located(Roi("Larynx", 1, RoiKind.ORGAN, (arch(80.0),)))) == 0
