"""Jobs larger than one scan of one head: ten phases of it, several acquisitions, and a whole body below it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from fw_gear_hndeface.model import Grid, Volume
from fw_gear_hndeface.synthetic.head import HeadParameters, Scene, axial_grid, render_head
from tests import phantom as make
from tests.e2e import studies

pytestmark = pytest.mark.slow
PHASES = 10
SLICES = 1000
#: What 1000 slices of 256 x 256 may take, MB: four times their voxels, and the libraries.
MOST_MB = 1_200


def run(study: Path, output: Path) -> dict[str, object]:
    """The record of a run in a process of its own."""
    command = [sys.executable, "-m", "fw_gear_hndeface.cli", "run", str(study), "-o", str(output), "-s", "seed=3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stdout + done.stderr
    record: dict[str, object] = json.loads(next(output.glob("*.qa.json")).read_text(encoding="utf-8"))
    return record


def phases(volume: Volume) -> tuple[dict[str, bytes], list[NDArray[np.int16]]]:
    """One series with the head at ten times: other noise in each, and the neck moved by breath."""
    members: dict[str, bytes] = {}
    arrays = []
    for phase in range(PHASES):
        noise = np.random.default_rng(phase).normal(0, 8, volume.array.shape)
        array = np.clip(np.rint(volume.array + noise), -1024, 3000).astype(np.int16)
        array[:10] = np.roll(array[:10], phase % 3, axis=1)
        arrays.append(array)

        def told(ds: studies.Dataset, phase: int = phase) -> None:
            ds.TemporalPositionIdentifier = phase + 1
            ds.SOPInstanceUID = f"{ds.SOPInstanceUID}.{phase}"
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID

        made = studies.edited(studies.ct_members(Volume(volume.grid, array)), told)
        members |= {f"{phase}/{name}": data for name, data in made.items()}
    return members, arrays


def test_ten_phases_are_changed_alike(tmp_path: Path) -> None:
    members, before = phases(make.phantom(4, plain=True).volume)
    record = run(studies.write_zip(tmp_path / "in.zip", members), tmp_path / "out")
    assert record["verdict"] == "defaced"
    assert "own_plan" not in json.dumps(record["findings"])
    written = studies.slices_of(next((tmp_path / "out").glob("*.zip")))
    assert len(written) == len(members)
    first: NDArray[np.bool_] | None = None
    values: NDArray[np.float64] | None = None
    for phase in range(PHASES):
        hu, _ = studies.hu_of({name: ds for name, ds in written.items() if name.startswith(f"{phase}/")})
        if first is None:
            first = np.any([hu != array for array in before[:1]], axis=0)
            values = hu
        assert values is not None
        changed = hu != before[phase]
        assert not np.any(changed & ~first & (np.abs(hu - values) > 0)), "changed where the first phase was not"
        same = first & changed
        assert np.array_equal(hu[same], values[same])
        assert np.count_nonzero(same) > 0.97 * np.count_nonzero(first)


def acquisition(number: int, volume: Volume) -> dict[str, bytes]:
    """One CT series of several in a study, all in one frame of reference."""

    def told(ds: studies.Dataset) -> None:
        ds.SeriesInstanceUID, ds.SeriesNumber, ds.AcquisitionNumber = f"{studies.SERIES_UID}.{number}.0", number, number
        ds.SOPInstanceUID = f"{ds.SOPInstanceUID}.{number}"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID

    return {f"{number}/{name}": data for name, data in studies.edited(studies.ct_members(volume), told).items()}


def test_acquisitions_of_one_archive_share_a_plan_if_they_share_a_grid(tmp_path: Path) -> None:
    """A scan, the same place at another time, and a coarser scan of a shorter field: two plans, three defaced series."""
    fine = make.phantom(4, plain=True).volume
    noise = np.random.default_rng(2).normal(0, 8, fine.array.shape)
    later = Volume(fine.grid, np.clip(np.rint(fine.array + noise), -1024, 3000).astype(np.int16))
    coarse_grid = axial_grid((4.2, 2.3, 2.5), "head", origin_lps=Scene().origin_lps)
    coarse = render_head(HeadParameters.draw(4), coarse_grid, with_dose=False).volume
    before = {1: fine, 2: later, 3: coarse}
    members = {name: data for number, volume in before.items() for name, data in acquisition(number, volume).items()}
    record = run(studies.write_zip(tmp_path / "in.zip", members), tmp_path / "out")
    assert record["verdict"] == "defaced"
    codes = [finding["code"] for finding in record["findings"]]  # type: ignore[attr-defined]
    assert codes.count("shared_plan") == 1
    assert "own_plan" not in codes
    written = studies.slices_of(next((tmp_path / "out").glob("*.zip")))
    assert set(written) == set(members)
    assert len({ds.SeriesInstanceUID for ds in written.values()}) == 3
    hu = {n: studies.hu_of({name: ds for name, ds in written.items() if name.startswith(f"{n}/")})[0] for n in before}
    changed = {n: hu[n] != before[n].array for n in before}
    both = changed[1] & changed[2]
    assert np.array_equal(hu[1][both], hu[2][both]), "one plan, one new face"
    assert np.count_nonzero(both) > 0.97 * max(np.count_nonzero(changed[n]) for n in (1, 2))
    near = ndimage.binary_dilation(changed[1], iterations=2)
    points = coarse.grid.to_patient(np.argwhere(changed[3]))
    at = np.rint(fine.grid.to_index(points)).astype(int)
    at = at[np.all((at >= 0) & (at < fine.array.shape), axis=1)]
    assert near[tuple(at.T)].mean() > 0.9, "the coarse scan has its own plan, for the same face"
    size = [np.count_nonzero(changed[n]) * before[n].grid.voxel_ml for n in (1, 3)]
    assert 0.8 < size[1] / size[0] < 1.25


def test_a_head_on_a_thousand_slices_of_body_is_defaced_within_its_memory(tmp_path: Path) -> None:
    head = make.phantom(4, plain=True).volume
    shape = (SLICES, 256, 256)
    array = np.full(shape, -1000, np.int16)
    _, rows, columns = head.array.shape
    below = SLICES - head.array.shape[0]
    array[below:, 60 : 60 + rows, 68 : 68 + columns] = head.array
    noise = np.random.default_rng(1).normal(0, 8, (below, rows, columns)).astype(np.int16)
    array[:below, 60 : 60 + rows, 68 : 68 + columns] = head.array[0] + noise
    affine = np.array(head.grid.affine)
    affine[:3, 3] = head.grid.to_patient((-below, -60, -68))
    members = studies.ct_members(Volume(Grid(shape, affine, head.grid.frame), array))
    record = run(studies.write_zip(tmp_path / "in.zip", members), tmp_path / "out")
    assert record["verdict"] == "defaced"
    assert int(str(record["peak_mb"])) < MOST_MB
    after, _ = studies.hu_of(studies.slices_of(next((tmp_path / "out").glob("*.zip"))))
    changed = np.argwhere(after != array)
    assert changed[:, 0].min() >= below, "the body was changed"
    assert len(changed) > 5000
