"""Where the face is, on phantoms of every kind: cut, masked, coarse, noisy, turned."""

from __future__ import annotations

import numpy as np
import pytest

from fw_gear_hndeface.casework import Case, locate
from fw_gear_hndeface.errors import LandmarkError
from fw_gear_hndeface.landmarks import Face
from fw_gear_hndeface.model import RoiKind, View, Volume
from fw_gear_hndeface.ops.head import head_windows
from fw_gear_hndeface.settings import Settings
from fw_gear_hndeface.synthetic.head import SyntheticHead, render_head
from fw_gear_hndeface.synthetic.parameters import HeadParameters
from tests import phantom as make
from tests.chain import SEED, drawn

#: The phantom's lids lie nearer to the globes than people's do; on heads with real lids globes are found within 6 mm.
NOSE_MM, GLOBE_MM, MOUTH_MM, CHIN_MM = 8.0, 16.0, 16.0, 14.0


def found(scan: Volume, **options: object) -> Face | None:
    result = locate(Case(scan, None, (), "CT"), Settings(**options))  # type: ignore[arg-type]
    return None if result is None else result[1]


def face_of(head: SyntheticHead) -> Face:
    face = found(head.volume)
    assert face is not None
    return face


def errors(face: Face, head: SyntheticHead) -> dict[str, float]:
    return {name: float(np.linalg.norm(mark.point - head.landmarks[name].point)) for name, mark in face.landmarks.items()}


def assert_placed(face: Face, head: SyntheticHead) -> None:
    off = errors(face, head)
    assert off["nose_tip"] < NOSE_MM
    assert max(off["globe_left"], off["globe_right"]) < GLOBE_MM
    assert max(off["mouth_left"], off["mouth_right"]) < MOUTH_MM
    assert off["chin"] < CHIN_MM
    assert face.landmarks["globe_left"].point[0] > face.landmarks["globe_right"].point[0] + 35.0


def coarse() -> SyntheticHead:
    return render_head(HeadParameters.draw(SEED), make.plain_grid((5.0, 1.93, 2.07)))


HEADS = {
    "plain": lambda: make.phantom(SEED, plain=True),
    "thermoplastic shell": lambda: make.with_shell(SEED),
    "couch": lambda: make.with_couch(SEED),
    "30 HU noise": lambda: make.with_noise(make.phantom(SEED, plain=True), 30.0),
    "dental streaks": lambda: make.with_streaks(make.phantom(SEED, plain=True)),
    "5 mm slices": coarse,
    "tilted, coarse": lambda: make.phantom(SEED),
    "chin raised": lambda: make.posed(20.0, 0.0, 0.0, SEED),
    "turned": lambda: make.posed(0.0, 20.0, 0.0, SEED),
    "leaning": lambda: make.posed(0.0, 0.0, 15.0, SEED),
}


@pytest.mark.parametrize("kind", HEADS)
def test_a_whole_face_is_placed_and_seen_whole(kind: str) -> None:
    head = HEADS[kind]()
    face = face_of(head)
    assert face.is_whole
    assert_placed(face, head)
    assert face.sigma_mm < 8.0


@pytest.mark.parametrize(
    ("at", "cut", "left"),
    [
        ("brow", (), ("globe_left", "nose_tip", "mouth_left", "chin")),
        ("eyes", ("brow_left", "brow_right"), ("nose_tip", "mouth_left", "chin")),
        ("below_eyes", ("brow_left", "globe_left", "globe_right"), ("nose_tip", "mouth_left", "chin")),
        ("below_nose", ("brow_left", "globe_left", "nose_tip"), ("mouth_left", "chin")),
    ],
)
def test_a_cut_face_is_partial_and_its_jaw_is_where_it_should_be(at: str, cut: tuple[str, ...], left: tuple[str, ...]) -> None:
    head = make.cut(make.phantom(SEED, plain=True), at)
    face = face_of(head)
    assert not face.is_whole
    assert face.is_in_view
    for name in cut:
        assert face.landmarks[name].view is View.CUT, name
    for name in left:
        assert face.landmarks[name].view is View.IN_VIEW, name
    off = errors(face, head)
    assert off["chin"] < 15.0
    assert max(off["mouth_left"], off["mouth_right"]) < 20.0
    assert abs(face.landmarks["chin"].point[0] - head.landmarks["chin"].point[0]) < 12.0


def above(head: SyntheticHead, mark: str, up_mm: float) -> SyntheticHead:
    """The head without the slices below a height: a brain scan."""
    grid = head.volume.grid
    k = int(grid.to_index(head.landmarks[mark].point + np.array([0.0, 0.0, up_mm]))[0])
    return make.crop(head, (slice(k, grid.shape[0]), slice(0, grid.shape[1]), slice(0, grid.shape[2])))


def test_a_head_cut_from_below_through_its_eyes_is_refused() -> None:
    head = above(make.phantom(SEED, plain=True), "globe_left", 0.0)
    with pytest.raises(LandmarkError, match="head is in view but no face"):
        found(head.volume)


@pytest.mark.parametrize("seed", [SEED, SEED + 7])
def test_a_head_cut_from_below_its_eyes_is_placed_by_the_face_shape(seed: int) -> None:
    """A brain scan: forehead, eyes and nose root, which no detector takes for a face."""
    head = above(make.phantom(seed, plain=True), "globe_left", -15.0)
    face = face_of(head)
    off = errors(face, head)
    assert max(off["globe_left"], off["globe_right"]) < 12.0
    assert face.landmarks["chin"].view is View.CUT
    assert {mark.source for mark in face.landmarks.values()} <= {"fitted_shape", "canonical"}


def test_a_head_cut_from_below_whose_face_is_seen_is_partial() -> None:
    head = above(make.phantom(SEED, plain=True), "chin", 10.0)
    face = face_of(head)
    assert not face.is_whole
    assert face.landmarks["chin"].view is View.CUT
    assert errors(face, head)["nose_tip"] < NOSE_MM


def test_a_slab_from_the_nose_to_the_brows_is_refused() -> None:
    head = above(make.cut(make.phantom(SEED, plain=True), "brow"), "nose_tip", 10.0)
    with pytest.raises(LandmarkError):
        found(head.volume)


@pytest.mark.parametrize(("at", "vault", "brain"), [("", True, True), ("brow", False, False), ("below_eyes", False, False)])
def test_a_vault_is_told_from_a_cut_head(at: str, vault: bool, brain: bool) -> None:
    head = make.phantom(SEED, plain=True)
    window = next(head_windows((make.cut(head, at) if at else head).volume))
    assert window.shows_vault is vault
    assert bool(window.brain_mm.size) is brain
    if brain:
        truth = head.volume.grid.to_patient(np.argwhere(head.structures["Brain"].array))[:, 2]
        assert truth.min() < window.brain_mm[0] < window.brain_mm[-1] < truth.max() + 2.0
    assert next(head_windows(make.chest())).brain_mm.size == 0


def test_a_chest_has_no_face() -> None:
    assert found(make.chest()) is None


def test_drawn_eyes_place_the_globes() -> None:
    head = make.phantom(SEED, plain=True)
    eyes = tuple(drawn(head, name, RoiKind.LANDMARK, n) for n, name in enumerate(("Eye_L", "Eye_R")))
    result = locate(Case(head.volume, None, eyes, "CT"), Settings())
    assert result is not None
    for name in ("globe_left", "globe_right"):
        mark = result[1].landmarks[name]
        assert mark.source == "rtstruct"
        assert np.linalg.norm(mark.point - head.landmarks[name].point) < 2.5


def test_the_head_is_found_under_what_lies_above_it() -> None:
    head = make.phantom(SEED, plain=True)
    grid, extra = head.volume.grid, 60
    array = np.full((grid.shape[0] + extra, *grid.shape[1:]), -1000, dtype=np.int16)
    array[: grid.shape[0]] = head.volume.array
    taller = Volume(type(grid)((array.shape[0], array.shape[1], array.shape[2]), grid.affine, grid.frame), array)
    face = found(taller)
    assert face is not None
    assert_placed(face, head)
