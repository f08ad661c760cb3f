"""The words of the code keep their promises: shapes, grids, read-only arrays, plans that keep what is kept."""

from __future__ import annotations

import numpy as np
import pytest

from fw_gear_hndeface.errors import GeometryError
from fw_gear_hndeface.model import Grid, Landmark, Landmarks, Mask, Plan, Proposal, Unit, Volume

SHAPE = (4, 5, 6)


def grid(shift: float = 0.0, shape: tuple[int, int, int] = SHAPE) -> Grid:
    t = np.radians(12)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, 1.2], [0, 0.98 * np.cos(t), 0], [3, 0.98 * np.sin(t), 0]])
    affine[:3, 3] = [-40 + shift, 17, 800]
    return Grid(shape, affine, "1.2.3")


def mask(name: str, *voxels: tuple[int, int, int], on: Grid | None = None) -> Mask:
    array = np.zeros(SHAPE, bool)
    for voxel in voxels:
        array[voxel] = True
    return Mask(on or grid(), array, name)


class TestGrid:
    """A lattice in patient space."""

    def test_spacing_and_volume_are_those_of_the_sheared_cell(self) -> None:
        assert np.allclose(grid().spacing_mm, [3, 0.98, 1.2])
        assert grid().voxel_ml == pytest.approx(3 * 0.98 * np.cos(np.radians(12)) * 1.2 / 1000)

    def test_points_follow_the_affine(self) -> None:
        t = np.radians(12)
        point = [-40 + 5 * 1.2, 17 + 2 * 0.98 * np.cos(t), 800 + 3 * 3 + 2 * 0.98 * np.sin(t)]
        assert np.allclose(grid().to_patient([3, 2, 5]), point)
        assert np.allclose(grid().to_index(point), [3, 2, 5])

    def test_a_crop_keeps_every_voxel_where_it_was(self) -> None:
        part = grid().crop((slice(1, 3), slice(2, None), slice(0, 4)))
        assert part.shape == (2, 3, 4)
        assert np.allclose(part.to_patient([0, 1, 2]), grid().to_patient([1, 3, 2]))
        assert part.frame == "1.2.3"

    def test_containment_counts_whole_voxels_and_a_margin(self) -> None:
        corner = grid().to_patient([-0.49, -0.49, -0.49])
        beyond = grid().to_patient([-0.6, 0, 0])
        assert grid().contains(corner)
        assert not grid().contains(beyond)
        assert grid().contains(beyond, margin_mm=1.0)
        assert grid().contains(np.stack([corner, beyond])).tolist() == [True, False]

    def test_matching_is_a_matter_of_millimetres(self) -> None:
        grid().require_match(grid(0.005))
        with pytest.raises(GeometryError):
            grid().require_match(grid(0.05))
        with pytest.raises(GeometryError):
            grid().require_match(grid(shape=(4, 5, 7)))

    def test_flat_axes_and_bad_shapes_are_refused(self) -> None:
        with pytest.raises(GeometryError, match="ImageOrientationPatient"):
            Grid(SHAPE, np.zeros((4, 4)))
        with pytest.raises(ValueError, match="finite"):
            Grid(SHAPE, np.full((4, 4), np.nan))
        with pytest.raises(ValueError, match="positive"):
            Grid((0, 5, 6), np.eye(4))

    def test_the_affine_cannot_be_written(self) -> None:
        with pytest.raises(ValueError, match="read-only"):
            grid().affine[0, 0] = 9


class TestVolumeAndMask:
    """Arrays that know their grid."""

    def test_arrays_must_fit(self) -> None:
        with pytest.raises(ValueError, match="does not fit"):
            Volume(grid(), np.zeros((4, 5, 7), np.int16))
        with pytest.raises(ValueError, match="boolean"):
            Mask(grid(), np.zeros(SHAPE, np.uint8), "m")  # type: ignore[arg-type]

    def test_arrays_cannot_be_written(self) -> None:
        with pytest.raises(ValueError, match="read-only"):
            mask("m").array[0, 0, 0] = True
        with pytest.raises(ValueError, match="read-only"):
            Volume(grid(), np.zeros(SHAPE, np.int16)).array[0, 0, 0] = 1

    def test_names_tell_the_story(self) -> None:
        a, b = mask("face", (0, 0, 0), (1, 1, 1)), mask("PTV", (1, 1, 1))
        assert ((a - b).name, (a | b).name, (a & b).name) == ("face minus PTV", "face or PTV", "face and PTV")
        assert ((a - b).count, (a | b).count, (a & b).count) == (1, 2, 1)
        assert a.overlaps(b)
        assert not (a - b).overlaps(b)
        assert a.named("x").name == "x"
        assert a.volume_ml == pytest.approx(2 * grid().voxel_ml)

    @pytest.mark.parametrize("act", [Mask.__or__, Mask.__and__, Mask.__sub__, Mask.overlaps])
    def test_masks_of_other_grids_do_not_mix(self, act: object) -> None:
        with pytest.raises(GeometryError):
            act(mask("a"), mask("b", on=grid(1.0)))  # type: ignore[operator]

    def test_a_cropped_volume_shares_its_numbers(self) -> None:
        volume = Volume(grid(), np.arange(120, dtype=np.int16).reshape(SHAPE), Unit.HU)
        part = volume.crop((slice(1, 3), slice(0, 5), slice(2, 6)))
        assert np.array_equal(part.array, volume.array[1:3, :, 2:])
        assert np.shares_memory(part.array, volume.array)


class TestPlan:
    """What will change, and what cannot."""

    VOXELS = ((0, 0, 0), (1, 2, 3), (3, 4, 5))

    def proposal(self) -> Proposal:
        return Proposal(mask("face", *self.VOXELS), np.array([-1000, 20.4, 30.6], np.float32), "membrane")

    def test_what_is_kept_is_taken_away_with_its_fill(self) -> None:
        plan = self.proposal().without(mask("PTV", (1, 2, 3), (2, 2, 2)))
        assert plan.change.count == 2
        assert plan.fill_hu.tolist() == pytest.approx([-1000, 30.6])
        assert plan.change.name == "face minus PTV"

    def test_two_proposals_are_joined_and_the_first_has_the_voxels_of_both(self) -> None:
        other = Proposal(
            mask("ears", (1, 2, 3), (0, 0, 1)), np.array([7.0, 8.0], np.float32), "ears"
        )  # C order: (0, 0, 1) first
        both = self.proposal().joined(other)
        assert both.method == "membrane"
        assert both.change.name == "face and ears"
        assert np.argwhere(both.change.array).tolist() == [[0, 0, 0], [0, 0, 1], [1, 2, 3], [3, 4, 5]]
        assert both.fill_hu.tolist() == pytest.approx([-1000, 7.0, 20.4, 30.6])
        with pytest.raises(GeometryError):
            both.joined(Proposal(mask("b", on=grid(1.0)), np.zeros(0, np.float32), "m"))

    def test_a_plan_that_touches_a_kept_voxel_cannot_be_built(self) -> None:
        with pytest.raises(ValueError, match="kept voxel"):
            Plan(mask("face", (1, 2, 3)), mask("PTV", (1, 2, 3)), np.zeros(1, np.float32), "m")

    def test_the_fill_must_fit_and_be_finite(self) -> None:
        with pytest.raises(ValueError, match="fill values"):
            Proposal(mask("f", (0, 0, 0)), np.zeros(2, np.float32), "m")
        with pytest.raises(ValueError, match="finite"):
            Proposal(mask("f", (0, 0, 0)), np.array([np.nan], np.float32), "m")
        with pytest.raises(ValueError, match="fill values"):
            Plan(mask("f", (0, 0, 0)), mask("k"), np.zeros(2, np.float32), "m")

    def test_applying_sets_the_planned_voxels_and_no_other(self) -> None:
        plan = self.proposal().without(mask("nothing"))
        before = Volume(grid(), np.full(SHAPE, 7, np.int16))
        after = plan.apply(before)
        assert [int(after.array[v]) for v in self.VOXELS] == [-1000, 20, 31]
        assert (after.array != before.array).sum() == 3
        assert (before.array == 7).all()
        assert after.array.dtype == np.int16

    def test_a_plan_applies_to_its_own_grid_only(self) -> None:
        with pytest.raises(GeometryError):
            self.proposal().without(mask("nothing")).apply(Volume(grid(1.0), np.zeros(SHAPE, np.int16)))


class TestLandmarks:
    """Named points."""

    def test_a_landmark_is_one_finite_point(self) -> None:
        for bad in ([1, 2], [1, 2, np.inf]):
            with pytest.raises(ValueError, match="one finite point"):
                Landmark(np.array(bad, float), 1.0, "test")

    def test_they_stack_and_update(self) -> None:
        one, two = Landmark(np.array([1.0, 2, 3]), 1.0, "a"), Landmark(np.array([4.0, 5, 6]), 1.0, "b")
        points = Landmarks({"chin": one}).updated({"chin": two, "nasion": one})
        assert points.stack(["nasion", "chin"]).tolist() == [[1, 2, 3], [4, 5, 6]]
        assert points.stack([]).shape == (0, 3)
        assert (len(points), set(points)) == (2, {"chin", "nasion"})
