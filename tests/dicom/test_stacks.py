"""From slices to volumes: places, values, padding, copies and phases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import FileDataset
from pydicom.tag import Tag

from fw_gear_hndeface.errors import DicomError, GeometryError
from fw_gear_hndeface.model import Unit
from tests.dicom.build import (
    FRAME,
    SHAPE,
    ct_series,
    ct_slice,
    encoded,
    files,
    random_stored,
    stack_of,
    stacks_of,
    truth_affine,
)


def shift(ds: FileDataset, z_mm: float) -> None:
    """Move a slice along the table."""
    x, y, z = (float(v) for v in ds.ImagePositionPatient)
    ds.ImagePositionPatient = [x, y, round(z + z_mm, 6)]


def test_a_tilted_series_is_a_sheared_lattice(tmp_path: Path) -> None:
    stack = stack_of(tmp_path, ct_series())
    grid = stack.volume.grid
    assert grid.shape == SHAPE
    assert np.allclose(grid.affine, truth_affine(), atol=1e-4)
    assert (grid.frame, stack.volume.unit) == (FRAME, Unit.HU)
    assert np.array_equal(stack.volume.array, random_stored())
    assert [s.at for s in stack.slices] == list(range(11))
    assert stack.findings == ()


@pytest.mark.parametrize("turn", ["head first", "feet first", "prone", "coronal", "oblique"])
def test_any_orientation_puts_each_value_where_it_was(tmp_path: Path, turn: str) -> None:
    linear = truth_affine()[:3, :3].copy()
    angle = np.radians(33)
    spin = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turned = {
        "head first": linear,
        "feet first": np.diag([-1, 1, -1]) @ linear,
        "prone": np.diag([-1, -1, 1]) @ linear,
        "coronal": np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]) @ linear,
        "oblique": spin @ np.roll(np.eye(3), 1, axis=0) @ linear,
    }[turn]
    affine = truth_affine()
    affine[:3, :3] = turned
    for order in (1, -1):
        given_affine = affine.copy()
        if order < 0:
            given_affine[:3, 3] = (affine @ [10, 0, 0, 1])[:3]
            given_affine[:3, 0] *= -1
        volume = stack_of(tmp_path, ct_series(affine=given_affine)).volume
        probe = np.array([7, 20, 3])
        there = (given_affine @ [*probe, 1])[:3]
        found = volume.grid.to_index(there)
        assert np.allclose(found, np.rint(found), atol=1e-3)
        assert volume.array[tuple(np.rint(found).astype(int))] == random_stored()[tuple(probe)]


@given(order=st.permutations(range(SHAPE[0])))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_order_of_files_does_not_matter(tmp_path: Path, order: list[int]) -> None:
    slices = ct_series()
    stack = stack_of(tmp_path, {f"{n:03d}": encoded(slices[k]) for n, k in enumerate(order)})
    assert np.array_equal(stack.volume.array, random_stored())
    assert np.allclose(stack.volume.grid.affine, truth_affine(), atol=1e-4)


def test_neither_slice_thickness_nor_slice_location_places_a_slice(tmp_path: Path) -> None:
    def lie(k: int, ds: FileDataset) -> None:
        ds.SliceThickness, ds.SliceLocation, ds.SpacingBetweenSlices = 5, -k * 7, 1
        ds.InstanceNumber = 99 - k

    assert np.allclose(stack_of(tmp_path, ct_series(change=lie)).volume.grid.affine, truth_affine(), atol=1e-4)


class TestValues:
    """Stored value times slope plus intercept."""

    @pytest.mark.parametrize("signed", [True, False])
    @pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (1, -1024), (2, -5), (-1, 10)])
    def test_whole_rescaling_gives_int16(self, tmp_path: Path, signed: bool, slope: int, intercept: int) -> None:
        stored = random_stored(signed=signed)
        array = stack_of(tmp_path, ct_series(stored, slope=slope, intercept=intercept)).volume.array
        assert array.dtype == np.int16
        assert np.array_equal(array, stored.astype(int) * slope + intercept)

    def test_fractional_rescaling_gives_float(self, tmp_path: Path) -> None:
        array = stack_of(tmp_path, ct_series(slope=0.5, intercept=-1024.25)).volume.array
        assert array.dtype == np.float32
        assert np.array_equal(array, random_stored() * 0.5 - 1024.25)

    def test_each_slice_has_its_own_slope(self, tmp_path: Path) -> None:
        def rescale(k: int, ds: FileDataset) -> None:
            ds.RescaleSlope = 1 + k / 4

        array = stack_of(tmp_path, ct_series(change=rescale)).volume.array
        assert np.allclose(array, random_stored() * (1 + np.arange(11) / 4)[:, None, None], atol=1e-3)

    def test_values_beyond_16_bits_go_over_to_float(self, tmp_path: Path) -> None:
        stored = random_stored(signed=False)
        stored[6, 2, 2] = 65535
        array = stack_of(tmp_path, ct_series(stored, intercept=-1024)).volume.array
        assert np.array_equal(array, stored.astype(int) - 1024)

    @pytest.mark.parametrize("signed", [True, False])
    def test_bits_above_bits_stored_do_not_count(self, tmp_path: Path, signed: bool) -> None:
        stored = random_stored(signed=signed)
        noisy = (stored.view(np.uint16) & 0x0FFF) | 0x5000

        def mark(k: int, ds: FileDataset) -> None:
            ds.BitsStored, ds.HighBit = 12, 11
            ds.PixelData = noisy[k].tobytes()

        array = stack_of(tmp_path, ct_series(stored, change=mark)).volume.array
        assert np.array_equal(array, stored)

    def test_eight_bit_slices_of_odd_size_are_read(self, tmp_path: Path) -> None:
        stored = np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.uint8)
        assert np.array_equal(stack_of(tmp_path, ct_series(stored, intercept=-100)).volume.array, stored.astype(int) - 100)


class TestPadding:
    """Voxels outside the scanner's view."""

    @pytest.mark.parametrize(("signed", "pad"), [(True, -2000), (False, 63536)])
    @pytest.mark.parametrize("vr", ["US", "SS"])
    def test_the_value_follows_the_sign_of_the_pixels_not_its_own_type(
        self, tmp_path: Path, signed: bool, pad: int, vr: str
    ) -> None:
        stored = random_stored(signed=signed)
        stored[:, :, 0] = pad
        as_vr = (pad + 2**15) % 2**16 - 2**15 if vr == "SS" else pad % 2**16

        def mark(_: int, ds: FileDataset) -> None:
            ds.add_new(Tag("PixelPaddingValue"), vr, as_vr)

        padding = stack_of(tmp_path, ct_series(stored, change=mark)).padding
        assert padding is not None
        assert np.array_equal(padding.array, stored == pad)

    def test_padding_at_the_floor_of_air_marks_nothing(self, tmp_path: Path) -> None:
        stored = random_stored()
        stored[:, :, 0] = -1024

        def mark(_: int, ds: FileDataset) -> None:
            ds.add_new(Tag("PixelPaddingValue"), "SS", -1024)

        assert stack_of(tmp_path, ct_series(stored, change=mark)).padding is None

    def test_a_range_is_padding_from_end_to_end(self, tmp_path: Path) -> None:
        def mark(_: int, ds: FileDataset) -> None:
            ds.add_new(Tag("PixelPaddingValue"), "SS", -1000)
            ds.add_new(Tag("PixelPaddingRangeLimit"), "SS", -900)

        padding = stack_of(tmp_path, ct_series(change=mark)).padding
        assert padding is not None
        assert np.array_equal(padding.array, (random_stored() >= -1000) & (random_stored() <= -900))

    def test_a_value_that_does_not_occur_is_no_padding(self, tmp_path: Path) -> None:
        assert (
            stack_of(tmp_path, ct_series(change=lambda _, ds: ds.add_new(Tag("PixelPaddingValue"), "SS", -3000))).padding
            is None
        )


class TestPlaces:
    """Missing, uneven and wandering slices."""

    def test_a_missing_slice_is_interpolated_and_told(self, tmp_path: Path) -> None:
        slices = ct_series()
        stack = stack_of(tmp_path, files([ds for k, ds in enumerate(slices) if k not in (4, 5)]))
        assert stack.volume.grid.shape == SHAPE
        assert np.allclose(stack.volume.grid.affine, truth_affine(), atol=1e-4)
        assert [s.at for s in stack.slices] == [0, 1, 2, 3, 6, 7, 8, 9, 10]
        stored = random_stored().astype(float)
        assert np.array_equal(stack.volume.array[3], stored[3])
        assert np.abs(stack.volume.array[4] - (stored[3] * 2 + stored[6]) / 3).max() <= 0.5 + 1e-3
        (finding,) = stack.findings
        assert (finding.code, finding.message.split()[0]) == ("missing_slices", "2")

    def test_uneven_slices_keep_their_own_places(self, tmp_path: Path) -> None:
        offsets = np.array([0, 0.4, -0.7, 0.2, 0, 0.9, -0.9, 0, 0.3, 1.1, 0])
        stack = stack_of(tmp_path, ct_series(change=lambda k, ds: shift(ds, float(offsets[k]))))
        assert [f.code for f in stack.findings] == ["uneven_slices"]
        for k, slice_ in enumerate(stack.slices):
            there = truth_affine()[:3, 3] + [0, 0, 3 * k + offsets[k]]
            assert np.allclose(stack.volume.grid.to_patient([slice_.at, 0, 0]), there, atol=1e-3)
        assert stack.volume.grid.spacing_mm[0] < 3

    def test_uneven_values_lie_between_their_neighbours(self, tmp_path: Path) -> None:
        ramp = np.broadcast_to((np.arange(11) * 30).astype(np.int16)[:, None, None], SHAPE)
        offsets = np.array([0, 0.4, -0.7, 0.2, 0, 0.9, -0.9, 0, 0.3, 1.1, 0])
        values = ramp + np.rint(offsets * 10).astype(np.int16)[:, None, None]
        stack = stack_of(tmp_path, ct_series(values, change=lambda k, ds: shift(ds, float(offsets[k]))))
        depth = np.array([stack.volume.grid.to_patient([k, 0, 0])[2] for k in range(stack.volume.grid.shape[0])])
        assert np.abs(stack.volume.array[:, 5, 5] - (depth - depth[0]) * 10).max() <= 0.6

    def test_a_wide_gap_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(GeometryError, match=r"32\.3 mm"):
            stack_of(tmp_path, ct_series(change=lambda k, ds: shift(ds, 30.0 if k > 5 else 0)))

    def test_a_slice_off_the_line_is_refused(self, tmp_path: Path) -> None:
        def wander(k: int, ds: FileDataset) -> None:
            if k == 5:
                x, y, z = ds.ImagePositionPatient
                ds.ImagePositionPatient = [float(x) + 4, y, z]

        with pytest.raises(GeometryError, match=r"4\.0 mm off the line"):
            stack_of(tmp_path, ct_series(change=wander))

    def test_rounded_positions_are_one_lattice(self, tmp_path: Path) -> None:
        affine = truth_affine((0.625, 0.98, 1.2), 0)
        slices = ct_series(affine=affine)
        for ds in slices:
            ds.ImagePositionPatient = [round(float(v), 2) for v in ds.ImagePositionPatient]
        stack = stack_of(tmp_path, slices)
        assert stack.volume.grid.shape == SHAPE
        assert stack.findings == ()

    def test_axes_that_lean_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(GeometryError, match="right angles"):
            stack_of(tmp_path, ct_series(change=lambda _, ds: setattr(ds, "ImageOrientationPatient", [1, 0, 0, 0.3, 0.95, 0])))


class TestSamePlace:
    """Copies, phases and what cannot be told apart."""

    def test_exact_copies_are_dropped(self, tmp_path: Path) -> None:
        named = files(ct_series())
        again = {f"copy/{n}": data for n, data in enumerate(list(named.values())[:4])}
        renamed = ct_series()[8]
        renamed.SOPInstanceUID = "1.2.3"
        stack = stack_of(tmp_path, {**named, **again, "z": encoded(renamed)})
        assert len(stack.slices) == 11
        assert [f.message.split()[0] for f in stack.findings if f.code == "duplicate_slices"] == ["5"]

    @pytest.mark.parametrize("name", ["AcquisitionNumber", "TemporalPositionIdentifier", "ConvolutionKernel"])
    def test_phases_become_stacks_of_their_own(self, tmp_path: Path, name: str) -> None:
        named = {}
        for phase in range(3):
            for k, ds in enumerate(ct_series(random_stored(phase))):
                ds.SOPInstanceUID = f"1.2.9.{phase}.{k}"
                ds[name] = _element(name, phase + 1)
                named[f"{k}-{phase}"] = encoded(ds)
        stacks = stacks_of(tmp_path, named)
        assert [s.series.label for s in stacks] == [f"CT series 3, stack {n}" for n in (1, 2, 3)]
        for phase, stack in enumerate(stacks):
            assert np.array_equal(stack.volume.array, random_stored(phase))
            assert [f.code for f in stack.findings] == (["several_volumes"] if phase == 0 else [])

    def test_phases_told_by_their_numbering_alone(self, tmp_path: Path) -> None:
        named = {}
        for phase in range(2):
            for k, ds in enumerate(ct_series(random_stored(phase))):
                ds.SOPInstanceUID, ds.InstanceNumber = f"1.2.9.{phase}.{k}", phase * 11 + k + 1
                named[f"{k}-{phase}"] = encoded(ds)
        first, second = stacks_of(tmp_path, named)
        assert np.array_equal(first.volume.array, random_stored(0))
        assert np.array_equal(second.volume.array, random_stored(1))

    def test_what_nothing_tells_apart_is_refused(self, tmp_path: Path) -> None:
        named = files(ct_series())
        for k, ds in enumerate(ct_series(random_stored(8))):
            ds.SOPInstanceUID = f"1.2.9.{k}"
            named[f"b{k}"] = encoded(ds)
        with pytest.raises(GeometryError, match="no attribute tells them apart"):
            stacks_of(tmp_path, named)

    def test_one_uid_for_two_images_is_refused(self, tmp_path: Path) -> None:
        twin = ct_slice(5, random_stored(8)[5], truth_affine())
        with pytest.raises(DicomError, match="SOPInstanceUID"):
            stacks_of(tmp_path, {**files(ct_series()), "twin": encoded(twin)})

    def test_interleaved_acquisitions_are_two_volumes(self, tmp_path: Path) -> None:
        named = {}
        for number, offset in ((1, 0.0), (2, 1.1)):
            for k, ds in enumerate(ct_series(random_stored(number))):
                shift(ds, offset)
                ds.SOPInstanceUID, ds.AcquisitionNumber = f"1.2.9.{number}.{k}", number
                named[f"{k}-{number}"] = encoded(ds)
        stacks = stacks_of(tmp_path, named)
        assert [s.volume.grid.shape for s in stacks] == [SHAPE, SHAPE]

    def test_acquisitions_side_by_side_stay_one_volume(self, tmp_path: Path) -> None:
        def two_blocks(k: int, ds: FileDataset) -> None:
            ds.AcquisitionNumber = 1 if k < 6 else 2
            if k >= 6:
                shift(ds, (k - 5) * 1.3)

        assert len(stacks_of(tmp_path, ct_series(change=two_blocks))) == 1


def _element(name: str, value: int) -> DataElement:
    """An attribute of any kind, one of several values."""
    vr = dictionary_VR(name)
    return DataElement(Tag(name), vr, f"B{value}f" if vr == "SH" else value)


class TestRefused:
    """Pixels we do not touch, each in words."""

    @pytest.mark.parametrize(
        ("name", "value", "match"),
        [
            ("PhotometricInterpretation", "MONOCHROME1", "MONOCHROME2"),
            ("PhotometricInterpretation", "PALETTE COLOR", "MONOCHROME2"),
            ("BitsAllocated", 32, "BitsAllocated is 32"),
            ("HighBit", 12, "HighBit 12"),
            ("BitsStored", 17, "BitsStored 17"),
            ("NumberOfFrames", 2, "multi-frame"),
            ("RescaleSlope", 0, "RescaleSlope"),
        ],
    )
    def test_formats(self, tmp_path: Path, name: str, value: object, match: str) -> None:
        with pytest.raises(DicomError, match=match):
            stack_of(tmp_path, ct_series(change=lambda _, ds: setattr(ds, name, value)))

    def test_huge_matrices(self, tmp_path: Path) -> None:
        with pytest.raises(DicomError, match="expected 1 to 8192"):
            stack_of(tmp_path, ct_series(change=lambda _, ds: setattr(ds, "Rows", 60000)))

    def test_truncated_pixels_say_what_came_and_what_should_have(self, tmp_path: Path) -> None:
        named = files(ct_series())
        name = next(iter(named))
        named[name] = named[name][:-100]
        with pytest.raises(DicomError, match=r"got 682 bytes, expected 782"):
            stack_of(tmp_path, named)

    def test_pixels_shorter_than_the_matrix(self, tmp_path: Path) -> None:
        with pytest.raises(DicomError, match=r"got 780 bytes, expected 782"):
            stack_of(tmp_path, ct_series(change=lambda _, ds: setattr(ds, "PixelData", ds.PixelData[:-2])))

    def test_no_pixels_at_all(self, tmp_path: Path) -> None:
        def lose(_: int, ds: FileDataset) -> None:
            del ds.PixelData

        with pytest.raises(DicomError, match="without PixelData"):
            stack_of(tmp_path, ct_series(change=lose))
