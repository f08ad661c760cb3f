"""Drawings in headers do not leave: overlays, curves, and overlays in the spare bits of the pixels."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRBigEndian

from fw_gear_hndeface import pipeline
from fw_gear_hndeface.dicom.archive import ArchiveWriter
from fw_gear_hndeface.dicom.series import read_stacks
from fw_gear_hndeface.dicom.study import SeriesKind, read_contents
from fw_gear_hndeface.evaluate.audit import audit
from fw_gear_hndeface.settings import Settings
from tests.dicom import build
from tests.dicom.resolve import archive_files
from tests.dicom.test_carry_rtdose import dose
from tests.dicom.test_carry_rtstruct import SHAPE, STEPS, cut, scan_values

AFFINE = build.truth_affine(STEPS, 0.0)
DRAWN = (np.arange(SHAPE[1] * SHAPE[2]).reshape(SHAPE[1:]) % 7 == 0).astype(np.uint8)


def drawn(ds: FileDataset, group: int, *, data: bool = True) -> None:
    """An overlay; without `data` it lies in bit 12 of the pixels (retired)."""
    ds.add_new((group, 0x0010), "US", SHAPE[1])
    ds.add_new((group, 0x0011), "US", SHAPE[2])
    ds.add_new((group, 0x0040), "CS", "G")
    ds.add_new((group, 0x0050), "SS", [1, 1])
    ds.add_new((group, 0x0100), "US", 1 if data else 16)
    ds.add_new((group, 0x0102), "US", 0 if data else 12)
    if data:
        bits = np.packbits(DRAWN.ravel(), bitorder="little").tobytes()
        ds.add_new((group, 0x3000), "OW", bits + b"\0" * (len(bits) % 2))


def over(k: int, ds: FileDataset) -> None:
    """Overlays in two groups and a curve, on every other slice."""
    if k % 2 == 0:
        drawn(ds, 0x6000)
        drawn(ds, 0x6002)
        ds.add_new((0x5000, 0x0005), "US", 2)


def in_spare_bits(k: int, ds: FileDataset) -> None:
    """Twelve bits stored, the drawing in the thirteenth."""
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation, ds.RescaleIntercept = 12, 11, 0, -1024
    ds.PixelData = ((scan_values()[k] + 1024).astype(np.uint16) | (DRAWN.astype(np.uint16) << 12)).astype("<u2").tobytes()
    drawn(ds, 0x6000, data=False)


@pytest.mark.parametrize("syntax", [None, ExplicitVRBigEndian])
def test_overlays_and_curves_go_and_all_else_stays(tmp_path: Path, syntax: str | None) -> None:
    slices = build.ct_series(scan_values(), AFFINE, change=over)
    if syntax is not None:
        for ds in slices:
            ds.PixelData = np.frombuffer(ds.PixelData, "<i2").astype(">i2").tobytes()
    before = {name: build.encoded(ds, syntax) for name, ds in zip(build.files(slices), slices, strict=True)}
    stack = build.stack_of(tmp_path, before)
    after, told = build.written(tmp_path, stack, build.plan_on(stack, cut()))
    assert told.pictures == (SHAPE[0] + 1) // 2
    for name, data in after.items():
        ds = build.parsed(data)
        assert not [tag for tag in ds.keys() if 0x5000 <= tag.group < 0x7000], name  # noqa: SIM118
        k = int(ds.InstanceNumber) - 1
        assert np.array_equal(ds.pixel_array, np.where(cut()[k], -1000, scan_values()[k]))


def test_a_drawing_in_the_spare_bits_is_cleared_on_every_slice(tmp_path: Path) -> None:
    slices = build.ct_series(scan_values(), AFFINE, change=in_spare_bits)
    stack = build.stack_of(tmp_path, slices)
    assert np.array_equal(stack.volume.array, scan_values()), "the drawing is no value"
    after, _ = build.written(tmp_path, stack, build.plan_on(stack, cut()))
    for data in after.values():
        ds = build.parsed(data)
        raw = np.frombuffer(ds.PixelData, "<u2", SHAPE[1] * SHAPE[2])
        assert raw.max() < 1 << 12
        assert np.array_equal(ds.pixel_array, np.where(cut(), -1000, scan_values())[int(ds.InstanceNumber) - 1] + 1024)


def test_spare_bits_that_are_no_overlay_stay(tmp_path: Path) -> None:
    def change(k: int, ds: FileDataset) -> None:
        in_spare_bits(k, ds)
        for tag in [tag for tag in ds.keys() if tag.group == 0x6000]:  # noqa: SIM118
            del ds[tag]

    stack = build.stack_of(tmp_path, build.ct_series(scan_values(), AFFINE, change=change))
    after, told = build.written(tmp_path, stack, build.plan_on(stack, cut()))
    slices = sorted((build.parsed(data) for data in after.values()), key=lambda ds: int(ds.InstanceNumber))
    raw = np.stack([np.frombuffer(ds.PixelData, "<u2", DRAWN.size).reshape(DRAWN.shape) for ds in slices])
    assert told.pictures == 0
    assert np.all((raw[~cut()] >> 12 > 0) == np.broadcast_to(DRAWN, SHAPE)[~cut()])


def test_a_dose_loses_its_overlays_and_the_run_tells_of_the_slices(tmp_path: Path) -> None:
    planned = dose()
    drawn(planned, 0x6000)
    members = {**build.files(build.ct_series(scan_values(), AFFINE, change=over)), "rd": build.encoded(planned)}
    run = pipeline._Run(Settings(), 1, lambda _name, _share: None)
    with build.opened(tmp_path, members) as archive:
        run.series = read_contents(archive).series
        (stack,) = [read_stacks(s)[0] for s in run.series if s.kind is SeriesKind.CT]
        run.companions = [s for s in run.series if s.kind is not SeriesKind.CT]
        passed, face = SimpleNamespace(passed=True), SimpleNamespace(frame=None)
        made: Any = SimpleNamespace(plan=build.plan_on(stack, cut()), rois=(), face=face, assessment=passed, passed=True)
        run.done.append((stack, made))
        with ArchiveWriter(tmp_path / "out.zip") as writer:
            pipeline._write(writer, run, build.KEY)
    (told,) = [finding for finding in run.findings if finding.code == "pictures_left_out"]
    assert told.message.startswith(f"{(SHAPE[0] + 1) // 2} slices")
    for ds in archive_files(tmp_path / "out.zip").values():
        assert not [tag for tag in ds.keys() if 0x5000 <= tag.group < 0x7000]  # noqa: SIM118


def test_the_audit_names_a_series_with_overlays(tmp_path: Path) -> None:
    plain = build.zip_of(tmp_path / "plain.zip", build.files(build.ct_series(scan_values(), AFFINE)))
    marked = build.zip_of(tmp_path / "marked.zip", build.files(build.ct_series(scan_values(), AFFINE, change=over)))
    assert "icon" not in {sight.through for sight in audit([plain], [], tmp_path).sights}
    assert "icon" in {sight.through for sight in audit([marked], [], tmp_path).sights}
