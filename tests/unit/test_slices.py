"""Slices and the interactive view's data: the right place at the right side, and no line that tells where the old skin was."""

from __future__ import annotations

import gzip
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from fw_gear_hndeface.model import Grid, Mask, Roi, RoiKind, Volume
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.report import scene
from fw_gear_hndeface.report.exhibit import Exhibit, Picture, Scene, Shown, strip_of
from fw_gear_hndeface.report.scene import scene_of
from fw_gear_hndeface.report.slices import COLOURS, ZOOM, planes_of, slice_pictures

#: Slices 3 mm apart, rows 2.1, columns 1.9; x runs to the left, y back, z up, head frame and patient frame the same.
SPACING = np.array([3.0, 2.1, 1.9])
SHAPE = (90, 110, 101)
START = np.array([-96.0, -115.0, -170.0])
#: The head: everything within this distance of the axis through (0, 10), up to a height.
RADIUS = 78.0


def grid() -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag(SPACING[::-1]))
    affine[:3, 3] = START
    return Grid(SHAPE, affine, "1.2.3")


def places() -> tuple[NDArray[np.float64], ...]:
    k, j, i = np.indices(SHAPE)
    return START[0] + i * SPACING[2], START[1] + j * SPACING[1], START[2] + k * SPACING[0]


def head(marker: tuple[float, float, float] | None = None) -> Volume:
    x, y, z = places()
    array = np.where((np.hypot(x, y - 10.0) < RADIUS) & (z < 80.0), 40, -1000).astype(np.int16)
    if marker is not None:
        far = np.abs(np.stack([x, y, z]) - np.array(marker)[:, None, None, None]).max(axis=0)
        array[far < 6.0] = 2000
    return Volume(grid(), array)


def changed(low: tuple[float, ...] = (-30.0, -66.0, -80.0), high: tuple[float, ...] = (30.0, -40.0, 20.0)) -> Mask:
    inside = np.ones(SHAPE, np.bool_)
    for place, first, last in zip(places(), low, high, strict=True):
        inside &= (place >= first) & (place <= last)
    return Mask(grid(), inside, "change")


def tube(name: str, kind: RoiKind, centre: tuple[float, float], radius: float = 14.0, number: int = 1) -> Roi:
    """A round structure through all slices from -100 to 50 mm."""
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    round_ = np.column_stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)])
    heights = START[2] + SPACING[0] * np.arange(SHAPE[0])
    return Roi(name, number, kind, tuple(np.column_stack([round_, np.full(60, z)]) for z in heights if -100 < z < 50))


def shown(*rois: Roi, scan: Volume | None = None, change: Mask | None = None) -> Shown:
    return Shown(scan or head(), change or changed(), rois, HeadFrame(np.zeros(3), np.eye(3), 1.0))


def drawn(of: Shown) -> dict[str, NDArray[np.uint8]]:
    return {picture.name: picture.image for picture in slice_pictures(of)}


def brightest(image: NDArray[np.uint8]) -> tuple[float, float]:
    """Where the white part lies: share of the height, share of the width."""
    rows, columns = np.nonzero(image.min(axis=2) > 250)
    return float(rows.mean() / image.shape[0]), float(columns.mean() / image.shape[1])


def test_slices_pass_through_the_changed_box_wherever_it_is() -> None:
    for shift in (0.0, 25.0):
        low, high = (-30.0, -66.0, -80.0 + shift), (30.0, -40.0, 20.0 + shift)
        planes = {plane.name: plane.grid.to_patient([0, 0, 0]) for plane in planes_of(shown(change=changed(low, high)))}
        heights = [planes[f"axial-{name}"][2] for name in ("high", "middle", "low")]
        assert heights == sorted(heights, reverse=True)
        assert all(low[2] - 3 <= height <= high[2] + 3 for height in heights)
        assert planes["sagittal-middle"][0] == pytest.approx(0.0, abs=2.0)
        assert planes["sagittal-left"][0] == pytest.approx(15.0, abs=2.0)
        assert low[1] - 2 <= planes["coronal-middle"][1] <= high[1] + 2


def test_nothing_is_drawn_where_nothing_changed() -> None:
    assert slice_pictures(shown(change=Mask.empty(grid(), "nothing"))) == []


def test_left_front_and_up_are_where_a_reader_expects_them() -> None:
    # a bright cube to the patient's left, in front, in the plane of the middle axial, left sagittal and middle coronal slices
    pictures = drawn(shown(scan=head((15.0, -53.0, -30.0))))
    row, column = brightest(pictures["axial-middle"])
    assert row < 0.5, "the front is at the top"
    assert column > 0.5, "the patient's left is on the right"
    row, column = brightest(pictures["coronal-middle"])
    assert column > 0.5
    assert row == pytest.approx((80 + 30) / (80 + 170), abs=0.25)
    _, column = brightest(pictures["sagittal-left"])
    assert column < 0.5, "the front is on the left"
    high = brightest(drawn(shown(scan=head((15.0, -53.0, 10.0))))["sagittal-left"])[0]
    assert high < brightest(pictures["sagittal-left"])[0], "up is up"


def near(image: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    return np.asarray(np.abs(image.astype(int) - colour).max(axis=2) < 40)


def test_kept_structures_are_outlined_in_the_colour_of_their_kind() -> None:
    kinds = (RoiKind.TARGET, RoiKind.ORGAN, RoiKind.NODE, RoiKind.LANDMARK)
    for kind in kinds:
        image = drawn(shown(tube("one", kind, (40.0, 30.0))))["axial-middle"]
        plane = next(plane for plane in planes_of(shown()) if plane.name == "axial-middle")
        rows, columns = np.nonzero(near(image, COLOURS[kind.value]))
        index = np.column_stack([np.zeros(len(rows)), rows / ZOOM, columns / ZOOM])
        from_centre = np.linalg.norm(plane.grid.to_patient(index)[:, :2] - [40.0, 30.0], axis=1)
        assert len(rows) > 60
        assert np.all(np.abs(from_centre - 14.0) < 2.5), "the outline lies where it was drawn"
        assert from_centre.min() > 11.0, "nothing is filled"


@pytest.mark.parametrize("kind", [RoiKind.EXTERNAL, RoiKind.SUPPORT, RoiKind.OTHER])
def test_what_was_drawn_on_the_old_skin_is_not_shown(kind: RoiKind) -> None:
    plain, outlined = drawn(shown()), drawn(shown(tube("BODY", kind, (40.0, 30.0))))
    assert all(np.array_equal(plain[name], outlined[name]) for name in plain)
    assert scene_of(shown(tube("BODY", kind, (40.0, 30.0)))).structures == ()


def test_lines_end_before_the_change() -> None:
    # an organ whose front lies in the changed part, as where old skin ends under new tissue
    organ = tube("Lips", RoiKind.ORGAN, (0.0, -40.0), radius=18.0)
    plain, lined = drawn(shown()), drawn(shown(organ))
    for name in plain:
        plane = next(plane for plane in planes_of(shown()) if plane.name == name)
        rows, columns = np.nonzero(np.any(plain[name] != lined[name], axis=2))
        if len(rows) == 0:
            continue
        point = plane.grid.to_patient(np.column_stack([np.zeros(len(rows)), rows / ZOOM - 0.5, columns / ZOOM - 0.5]))
        low, high = np.array([-30.0, -66.0, -80.0]), np.array([30.0, -40.0, 20.0])
        assert np.linalg.norm(np.maximum(np.maximum(low - point, point - high), 0), axis=1).min() > 1.0, name
    assert any(not np.array_equal(plain[name], lined[name]) for name in plain), "the rest of the organ is outlined"


def test_a_scan_of_one_slice_is_drawn_too() -> None:
    at = slice(45, 46), slice(None), slice(None)
    scan, change = head().crop(at), changed()
    thin = Shown(scan, Mask(scan.grid, change.array[at], "change"), (tube("Brain", RoiKind.ORGAN, (0.0, 30.0)),), shown().frame)
    pictures = drawn(thin)
    assert pictures["axial-middle"].shape[0] > 200
    assert pictures["sagittal-middle"].shape[0] == ZOOM
    assert len(scene_of(thin).structures) == 1


def test_the_shape_of_the_change_is_not_drawn() -> None:
    full = changed()
    hollow = full.array.copy()
    x, y, _ = places()
    hollow &= np.hypot(x, y + 66.0) > 12.0  # another profile within the same box
    one, other = drawn(shown()), drawn(shown(change=Mask(grid(), hollow, "change")))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_no_line_leaves_the_new_body() -> None:
    outside = tube("PTV", RoiKind.TARGET, (RADIUS, 10.0), radius=16.0)
    plane = next(plane for plane in planes_of(shown()) if plane.name == "axial-middle")
    image = drawn(shown(outside))["axial-middle"]
    rows, columns = np.nonzero(near(image, COLOURS["target"]))
    point = plane.grid.to_patient(np.column_stack([np.zeros(len(rows)), rows / ZOOM - 0.5, columns / ZOOM - 0.5]))
    assert len(rows) > 20
    assert np.hypot(point[:, 0], point[:, 1] - 10.0).max() < RADIUS + 2.0


def opened(data: bytes) -> Any:
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(data))


def test_the_scene_holds_the_head_in_its_place() -> None:
    scene = scene_of(shown(scan=head((40.0, 30.0, -20.0))))
    image = opened(scene.scan)
    array = np.asarray(image.dataobj)
    assert array.dtype == np.int16
    assert array.max() == 1500, "harder than that is cut off"
    ras = nibabel.affines.apply_affine(image.affine, np.argwhere(array == 1500)).mean(axis=0)
    assert ras == pytest.approx([-40.0, -30.0, -20.0], abs=1.5)
    assert np.allclose(np.linalg.norm(image.affine[:3, :3], axis=0), 2.5)
    assert {bytes(image.header[name].tobytes()).strip(b"\0") for name in ("descrip", "aux_file", "db_name", "intent_name")} == {
        b""
    }
    assert scene == scene_of(shown(scan=head((40.0, 30.0, -20.0)))), "the same bytes again"


@pytest.mark.parametrize("slab", [1, 5, 1000])
def test_the_scene_is_the_same_however_many_slices_are_looked_up_at_once(slab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    here = shown(scan=head((40.0, 30.0, -20.0)))
    expected = scene_of(here)
    monkeypatch.setattr(scene, "SLAB", slab)
    assert scene_of(here).scan == expected.scan


def test_labels_of_the_scene_are_numbered_as_told_and_stay_clear_of_the_change() -> None:
    organ, node = tube("Brain", RoiKind.ORGAN, (0.0, -20.0), 40.0), tube("LN", RoiKind.NODE, (40.0, 40.0), 10.0, 2)
    scene = scene_of(shown(organ, node))
    assert [name for name, _ in scene.structures] == ["Brain", "LN"]
    image = opened(scene.labels)
    labels = np.asarray(image.dataobj)
    lps = nibabel.affines.apply_affine(image.affine, np.argwhere(labels == 2)) * [-1, -1, 1]
    assert lps[:, :2].mean(axis=0) == pytest.approx([40.0, 40.0], abs=2.0)
    brain = nibabel.affines.apply_affine(image.affine, np.argwhere(labels == 1)) * [-1, -1, 1]
    low, high = np.array([-30.0, -66.0, -80.0]), np.array([30.0, -40.0, 20.0])
    assert np.linalg.norm(np.maximum(np.maximum(low - brain, brain - high), 0), axis=1).min() > 2.0
    assert len(brain) > 1000


def test_a_strip_puts_pictures_side_by_side_at_one_height() -> None:
    tall = Picture("a", "turntable", "a", np.full((100, 50), 7, np.uint8))
    wide = Picture("b", "turntable", "b", np.full((50, 100), 9, np.uint8))
    strip = strip_of([tall, wide], 20)
    assert strip.shape == (20, 10 + 40)
    assert np.all(strip[:, :10] == 7)
    assert np.all(strip[:, 10:] == 9)
    assert strip_of([], 20).shape == (20, 1)


def test_an_exhibit_knows_its_sections() -> None:
    exhibit = Exhibit((Picture("a", "views", "a", np.zeros((2, 2), np.uint8)),), Scene(b"", b"", ()))
    assert [picture.name for picture in exhibit.group("views")] == ["a"]
    assert exhibit.group("before") == ()
