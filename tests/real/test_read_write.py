"""Every real archive beside the checkout: opened, written with a tiny plan, and read by other software."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread

from fw_gear_hndeface.dicom.archive import ArchiveWriter, open_inputs
from fw_gear_hndeface.dicom.limits import Limits
from fw_gear_hndeface.dicom.rtstruct import read_rois
from fw_gear_hndeface.dicom.series import Stack, read_stacks
from fw_gear_hndeface.dicom.study import SeriesKind, read_contents
from fw_gear_hndeface.dicom.tags import Stamp
from fw_gear_hndeface.dicom.write import write_stacks
from fw_gear_hndeface.model import Mask, Plan, Proposal
from fw_gear_hndeface.ops.polygons import rasterise
from fw_gear_hndeface.settings import Settings

DATA = Path(os.environ.get("HNDEFACE_SHARED") or Path(__file__).resolve().parents[3] / "shared") / "data"
ARCHIVES = sorted(DATA.rglob("*.zip"))
LIMITS = Limits.of(Settings())
STAMP = Stamp("0.0.0", "test", "a box", b"key")

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not ARCHIVES, reason="no real data beside the checkout (../shared/data)"),
]


def box_plan(stack: Stack) -> Plan:
    """A small box in the middle, to -321 HU."""
    grid = stack.volume.grid
    change = np.zeros(grid.shape, np.bool_)
    change[tuple(slice(n // 3, n // 3 + max(n // 10, 2)) for n in grid.shape)] = True
    fill = np.full(int(change.sum()), -321, np.float32)
    return Proposal(Mask(grid, change, "box"), fill, "test").without(Mask.empty(grid, "nothing"))


@pytest.fixture(scope="module")
def work() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def rewritten(source: Path, work: Path) -> tuple[list[Stack], list[Plan], Path]:
    target = work / "out.zip"
    with open_inputs([source], LIMITS, work) as archive:
        contents = read_contents(archive)
        stacks = [stack for s in contents.series if s.kind is SeriesKind.CT for stack in read_stacks(s)]
        plans = [box_plan(stack) for stack in stacks]
        with ArchiveWriter(target) as writer:
            write_stacks(writer, list(zip(stacks, plans, strict=True)), STAMP)
    return stacks, plans, target


def pixels(data: bytes, work: Path) -> np.ndarray:
    """HU of one slice by SimpleITK."""
    path = work / "slice.dcm"
    path.write_bytes(data)
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0]


@pytest.mark.parametrize("source", ARCHIVES, ids=lambda path: path.stem)
def test_single_slices_read_by_simpleitk_differ_only_inside_the_plan(source: Path, work: Path) -> None:
    stacks, plans, target = rewritten(source, work)
    assert stacks
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target) as after:
        written = after.namelist()
        names = [name for name in before.namelist() if name in set(written)]
        assert written == names
        assert len(written) == sum(len(stack.slices) for stack in stacks)
        for stack, plan in zip(stacks, plans, strict=True):
            whole = [s for s in stack.slices if float(s.at).is_integer()]
            changed = [s for s in whole if plan.change.array[int(s.at)].any()]
            assert changed or len(whole) < len(stack.slices)
            for slice_ in [*changed[:3], *whole[::40]]:
                name, k = slice_.instance.member.name, int(slice_.at)
                old, new = pixels(before.read(name), work), pixels(after.read(name), work)
                change = plan.change.array[k]
                if stack.padding is not None:
                    change = change & ~stack.padding.array[k]
                assert np.array_equal(old, stack.volume.array[k])
                assert np.array_equal(new[~change], old[~change])
                assert np.all(new[change] == -321)


@pytest.mark.parametrize("source", ARCHIVES, ids=lambda path: path.stem)
def test_headers_differ_only_in_the_listed_tags(source: Path, work: Path) -> None:
    listed = {
        0x00080008, 0x00080018, 0x0008103E, 0x00082111, 0x00089215, 0x00120063, 0x00120064, 0x0018A001,
        0x0020000E, 0x00200011, 0x00280106, 0x00280107, 0x00280108, 0x00280109, 0x00280302, 0x00281054,
        0x00880200, 0x04000561, 0x7FE00010,
    }  # fmt: skip
    _, _, target = rewritten(source, work)
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target) as after:
        for name in after.namelist()[::37]:
            old, new = dcmread(io.BytesIO(before.read(name))), dcmread(io.BytesIO(after.read(name)))
            differing = {
                int(tag) for tag in {*old.keys(), *new.keys()} if tag not in old or tag not in new or old[tag] != new[tag]
            }
            references = {int(tag) for tag in differing if tag in new and new[tag].VR == "SQ"}
            assert differing - references <= listed


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
@pytest.mark.parametrize("source", ARCHIVES[:: max(len(ARCHIVES) // 9, 1)], ids=lambda path: path.stem)
def test_dciodvfy_finds_no_error_that_the_input_had_not(source: Path, work: Path) -> None:
    _, _, target = rewritten(source, work)
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target) as after:
        for name in after.namelist()[::61]:
            assert complaints(after.read(name), work) - complaints(before.read(name), work) == set()


def complaints(data: bytes, work: Path) -> set[str]:
    """The errors dciodvfy reports."""
    path = work / "check.dcm"
    path.write_bytes(data)
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, errors="replace", check=False)
    return {line for line in done.stderr.splitlines() if line.startswith("Error")}


@pytest.mark.parametrize("source", sorted(DATA.glob("openkbp/*.zip"))[::5], ids=lambda path: path.stem)
def test_drawn_regions_land_where_the_body_is(source: Path, work: Path) -> None:
    with open_inputs([source], LIMITS, work) as archive:
        contents = read_contents(archive)
        (stack,) = [stack for s in contents.series if s.kind is SeriesKind.CT for stack in read_stacks(s)]
        (found,) = [roi_set for s in contents.series if s.kind is SeriesKind.RTSTRUCT for roi_set in read_rois(s)]
    assert found.frame == stack.volume.grid.frame
    masks = {roi.name: rasterise(roi, stack.volume.grid) for roi in found.rois}
    body = masks["BODY"].array
    tissue = stack.volume.array > -300
    assert (tissue & ~body).sum() < 0.02 * tissue.sum()
    for name, mask in masks.items():
        assert mask.count > 10, name
        assert (mask.array & ~body).sum() <= 0.02 * mask.count, name
