"""A new surface carried into voxels, on a block of tissue whose every millimetre is known."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from fw_gear_hndeface.model import Grid, Proposal, Volume
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.relief import Map, Rays, make_rays
from fw_gear_hndeface.ops.resample import resample
from fw_gear_hndeface.ops.resurface import Surfacing, resurface
from fw_gear_hndeface.ops.texture import Grain, Texture, measure_texture

#: Step of the scan along the rays, mm.
STEP_MM = 1.3
FRAME = HeadFrame(np.array([4.0, -100.0, 50.0]), np.eye(3), 1.0)


def even(tissue_hu: float) -> Texture:
    """The same tissue everywhere."""
    return Texture(np.full((1, 1, 1), tissue_hu, dtype=np.float32), np.zeros(3), 1.0, Grain(12.0), -1000.0, 4.0)


TEXTURE = even(40.0)
#: The old skin is made anew to this depth.
SHELL_MM = 2.5
#: The new skin: 2.5 mm and two voxels, of 70 HU.
SKIN_MM, SKIN_HU = 2.5 + 2 * STEP_MM, 70.0
OLD_MM = 0.0


@cache
def rays() -> Rays:
    return make_rays(FRAME, np.array([-30.0, -40.0, -30.0]), np.array([30.0, 40.0, 30.0]))


@cache
def block() -> Volume:
    """Fat behind y = 0 of the frame, a sheet of equipment 12 mm before it, a hollow 4 to 10 mm under the skin."""
    grid = Grid((23, 67, 31), lattice(), "")
    x, y, z = places(grid)
    hu = np.where(y > OLD_MM, -90.0, -1000.0)
    hu[(y > -13.0) & (y < -11.0)] = 120.0
    hu[(y > 4.0) & (y < 10.0) & (np.hypot(x - 8, z - 8) < 8)] = -995.0
    return Volume(grid, hu.astype(np.int16))


def lattice() -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag([2.1, STEP_MM, 2.9]))
    affine[:3, 3] = FRAME.origin + np.array([-31.5, -39.0, -31.9])
    return affine


def places(grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frame x, y, z of every voxel: the frame's axes are the patient's here."""
    points = grid.to_patient(np.stack(np.indices(grid.shape), axis=-1)) - FRAME.origin
    return points[..., 0], points[..., 1], points[..., 2]


def facing(new: float | Map, seen: np.ndarray | None = None, floor_mm: float = SHELL_MM) -> Surfacing:
    """The new surface inside a disc of 20 mm before the block's own."""
    r = rays()
    rows, columns = np.indices(r.shape)
    disc = np.hypot(rows - 30.0, columns - 30.0) < 20.0
    every = np.ones(r.shape, dtype=np.bool_)
    wanted = np.broadcast_to(np.asarray(new, float), r.shape)
    return Surfacing(
        r, np.full(r.shape, OLD_MM), wanted, disc, every if seen is None else seen, np.full(r.shape, OLD_MM + floor_mm)
    )


def surfaced(new: float | Map, *, seen: np.ndarray | None = None, seed: int = 3) -> tuple[Proposal, np.ndarray]:
    """The block with a new surface inside a disc of 20 mm: what was proposed, and the new values."""
    made = resurface(block(), facing(new, seen), TEXTURE, seed=seed, method="test")
    after = block().array.astype(float)
    after[made.change.array] = made.fill_hu
    return made, after


def core(margin: float = 15.0) -> np.ndarray:
    x, _, z = places(block().grid)
    return np.asarray(np.hypot(x, z) < margin)


def test_a_surface_put_back_turns_tissue_to_air_and_nothing_deeper() -> None:
    _, after = surfaced(6.0)
    _, y, _ = places(block().grid)
    cleared = core() & (y > -6.0) & (y < 6.0 - STEP_MM)
    assert after[cleared].max() < -950
    assert after[cleared].mean() == pytest.approx(-1000, abs=2)
    deep = core() & (y > 6.0 + 2.5 + 5.0 + 2 * STEP_MM)
    assert np.array_equal(after[deep], block().array[deep])


def test_a_surface_brought_forward_adds_tissue_and_leaves_no_edge_where_the_skin_was() -> None:
    _, after = surfaced(-12.0)
    _, y, _ = places(block().grid)
    added = core() & (y > -12.0 + SKIN_MM) & (y < 2.0)
    assert after[added].mean() == pytest.approx(40.0, abs=2.0)
    assert after[added].std() == pytest.approx(12.0, rel=0.25)
    rows = [after[core() & (np.abs(y - at) < 0.6 * STEP_MM)].mean() for at in (-3.9, -1.3, 0.0, 1.3)]
    assert np.ptp(rows) < 6.0


def test_the_skin_gets_partial_volume() -> None:
    position = -6.2
    _, after = surfaced(position)
    _, y, _ = places(block().grid)
    at = core() & (np.abs(y - position) < 0.4 * STEP_MM)
    share = np.clip((y[at] - position) / STEP_MM + 0.5, 0, 1)
    assert np.abs(after[at] - (-1000 + share * (1000 + SKIN_HU))).max() < 60.0


def test_thresholds_up_to_muscle_meet_the_new_skin_and_not_what_lies_under_the_fat() -> None:
    _, y, _ = places(block().grid)
    layered = np.where(y > 4.0, 45, block().array).astype(np.int16)
    after = layered.astype(float)
    fat = even(-90.0)
    made = resurface(Volume(block().grid, layered), facing(-8.0), fat, seed=3, method="test")
    after[made.change.array] = made.fill_hu
    depth = np.where(after > 0.0, y, np.inf)
    first = depth.min(axis=1)[core(12.0).any(axis=1)]
    assert np.all(np.abs(first + 8.0) <= 1.6 * STEP_MM), "0 HU: the new surface, not the muscle 12 mm behind it"
    deeper = core() & (y > -8.0 + SKIN_MM + STEP_MM) & (y < 2.0)
    assert after[deeper].mean() == pytest.approx(-90.0, abs=6.0), "under the skin the fill is as the tissue around it"


def test_under_a_cut_fat_takes_the_skin_and_bone_stays() -> None:
    _, y, _ = places(block().grid)
    layered = np.where((y > 8.5) & (y < 20.0), 400, block().array).astype(np.int16)
    made = resurface(Volume(block().grid, layered), facing(6.0), TEXTURE, seed=3, method="test")
    after = layered.astype(float)
    after[made.change.array] = made.fill_hu
    assert not np.any(made.change.array & (layered == 400))
    fat = core() & (y > 6.0 + STEP_MM) & (y < 8.5) & (block().array > -500)
    assert after[fat].mean() == pytest.approx(SKIN_HU, abs=6.0)


def test_under_a_cut_muscle_stays_muscle() -> None:
    _, y, _ = places(block().grid)
    layered = np.where((y > 6.0 + STEP_MM) & (y < 20.0), 48, block().array).astype(np.int16)
    made = resurface(Volume(block().grid, layered), facing(6.0), TEXTURE, seed=3, method="test")
    assert not np.any(made.change.array & (layered == 48)), (
        "a threshold up to 0 HU does not pass muscle: no skin is needed there"
    )


def test_a_slanted_surface_has_as_thick_a_skin() -> None:
    r = rays()
    slanted = np.broadcast_to(-8.0 + 1.5 * np.arange(-30.0, 31.0), r.shape)
    assert facing(slanted).skin_mm == pytest.approx(2.5 * np.sqrt(1 + 1.5**2))
    assert facing(np.broadcast_to(9.0 * np.arange(-30.0, 31.0), r.shape)).skin_mm.max() == pytest.approx(7.5)


def test_nothing_changes_outside_the_zone() -> None:
    made, _ = surfaced(-6.0)
    x, _, z = places(block().grid)
    assert made.change.count > 500
    assert np.hypot(x, z)[made.change.array].max() < 20.0 + 1.0


def test_equipment_in_front_is_air_afterwards_even_where_no_patient_is_seen() -> None:
    sheet = core() & (block().array == 120)
    assert sheet.sum() > 100
    _, after = surfaced(0.0)
    assert after[sheet].max() < -950
    unseen = np.zeros(rays().shape, dtype=np.bool_)
    made, after = surfaced(-6.0, seen=unseen)
    assert after[sheet].max() < -950
    _, y, _ = places(block().grid)
    assert after[core() & (y > -6.0) & (y < -1.0)].max() < -950, "where no skin is seen, nothing is built"
    assert made.change.count > 0


def test_where_no_skin_is_seen_what_lies_behind_the_new_surface_stays_however_deep_the_old_one_is_taken_to_be() -> None:
    r = rays()
    unseen = np.zeros(r.shape, dtype=np.bool_)
    deep = Surfacing(r, np.full(r.shape, 20.0), np.full(r.shape, -6.0), facing(0.0).zone, unseen, np.full(r.shape, 22.5))
    made = resurface(block(), deep, TEXTURE, seed=3, method="test")
    _, y, _ = places(block().grid)
    assert made.change.count > 0
    assert y[made.change.array].max() < -6.0


def test_nothing_changes_beyond_the_face_region_however_noisy_the_air_before_it() -> None:
    small = HeadFrame(FRAME.origin, np.eye(3), 0.2)  # the region ends 26 mm before this face, the scan 39 mm
    r = make_rays(small, np.array([-30.0, -40.0, -30.0]), np.array([30.0, 40.0, 30.0]))
    _, y, _ = places(block().grid)
    noisy = np.where(y < -20.0, -700, block().array).astype(np.int16)
    flat, every = np.zeros(r.shape), np.ones(r.shape, dtype=np.bool_)
    made = resurface(
        Volume(block().grid, noisy),
        Surfacing(r, flat, flat - 6.0, every, every, flat + SHELL_MM),
        TEXTURE,
        seed=3,
        method="test",
    )
    x, y, z = (at[made.change.array] for at in places(block().grid))
    assert y.min() == pytest.approx(-26.0, abs=STEP_MM), "up to there the haze before a face is cleared"
    assert y.min() > -26.0
    assert max(np.abs(x).max(), z.max()) < 21.0


def test_a_hollow_that_the_new_surface_would_open_is_closed_and_a_deeper_one_is_left() -> None:
    x, y, z = places(block().grid)
    hollow = np.hypot(x - 8, z - 8) < 5.0
    _, opened = surfaced(3.0)
    cap = hollow & (y > 3.0 + STEP_MM) & (y < 7.0)
    assert cap.sum() > 10
    assert opened[cap].min() > -200
    _, far = surfaced(-8.0)
    inner = hollow & (y > 5.0) & (y < 9.0)
    assert np.array_equal(far[inner], block().array[inner])


def test_a_surface_that_stays_renews_the_old_skin_s_shell_only() -> None:
    made, after = surfaced(0.0)
    _, y, _ = places(block().grid)
    tissue = made.change.array & (y > 0.0)
    assert y[tissue].max() < 2.5 + STEP_MM
    assert (after > -500).sum() <= (block().array > -500).sum()


def test_tissue_is_made_anew_to_the_floor_and_bone_in_it_stays() -> None:
    x, y, _ = places(block().grid)
    mixed = np.where((y > 0.0) & (y < 15.0), np.where(x < 0.0, 400, 45), block().array).astype(np.int16)
    made = resurface(Volume(block().grid, mixed), facing(-4.0, floor_mm=10.0), TEXTURE, seed=3, method="test")
    muscle = core() & (x > 0.0) & (y > SHELL_MM + STEP_MM) & (mixed == 45)
    assert np.mean(made.change.array[muscle & (y < 10.0)]) > 0.95, "all but what drew its own value"
    assert not np.any(made.change.array & muscle & (y > 10.0 + STEP_MM))
    assert not np.any(made.change.array & (mixed == 400))


def test_the_fill_is_as_the_tissue_nearest_to_it() -> None:
    x, y, _ = places(block().grid)
    sides = np.where((y > 0.0) & (x > 0.0), 45, block().array).astype(np.int16)
    r = rays()
    scan = Volume(block().grid, sides)
    every = np.ones(r.shape, dtype=np.bool_)
    texture = measure_texture(scan, resample(scan, r.grid), r, np.zeros(r.shape), every)
    made = resurface(scan, facing(-14.0, floor_mm=6.0), texture, seed=3, method="test")
    after = sides.astype(float)
    after[made.change.array] = made.fill_hu
    filled = core() & (y > -14.0 + SKIN_MM + STEP_MM) & (y < 6.0)
    assert after[filled & (x > 9.0)].mean() == pytest.approx(45.0, abs=12.0)
    assert after[filled & (x < -9.0)].mean() == pytest.approx(-90.0, abs=12.0)


def test_values_that_would_not_change_are_left_out() -> None:
    made, _ = surfaced(4.0)
    assert np.all(np.abs(made.fill_hu - block().array[made.change.array]) > 0.5)
    assert made.change.name == "test zone"


@pytest.mark.parametrize("beside", [False, True])
def test_a_zone_that_is_empty_or_lies_beside_the_scan_is_an_empty_proposal(beside: bool) -> None:
    r = rays()
    flat, zone = np.zeros(r.shape), np.full(r.shape, beside)
    affine = lattice()
    affine[:3, 3] += 900.0 * beside
    scan = Volume(Grid(block().grid.shape, affine, ""), block().array)
    made = resurface(scan, Surfacing(r, flat, flat, zone, ~zone, flat), TEXTURE, seed=1, method="test")
    assert made.change.count == 0
    assert made.fill_hu.shape == (0,)


def test_the_seed_decides_the_grain() -> None:
    assert surfaced(-6.0)[0].fill_hu.tobytes() == surfaced(-6.0)[0].fill_hu.tobytes()
    assert not np.array_equal(surfaced(-6.0)[1], surfaced(-6.0, seed=4)[1])
