"""NIfTI label maps: where they lie, what their numbers are, and what is refused in words."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from fw_gear_hndeface.dicom.archive import Archive, open_inputs
from fw_gear_hndeface.dicom.limits import Limits
from fw_gear_hndeface.errors import InputError
from fw_gear_hndeface.model import Grid, LabelMap, RoiKind
from fw_gear_hndeface.nifti import affine_ras_of, grid_of, read_label_maps, split
from fw_gear_hndeface.settings import Settings
from tests import labelled
from tests import phantom as make


@pytest.fixture
def grid() -> Grid:
    return make.ugly_grid((9, 7, 5))


def some_labels(grid: Grid) -> np.ndarray:
    array = np.zeros(grid.shape, np.uint8)
    array[1:3, 2, 4], array[7, 1:5, 0:2], array[4, 3, 3] = 1, 2, 3
    return array


NAMES = {1: "eye_left", 2: "Skin", 3: "mandible"}


def read(path: Path, tmp_path: Path, table: str = "auto") -> tuple[list[LabelMap], list[str]]:
    with open_inputs([path], Limits.of(Settings()), tmp_path) as archive:
        rest, maps, sidecars = split(archive)
        assert isinstance(rest, Archive)
        given, findings = read_label_maps(maps, sidecars, table)
    return [one.labels for one in given], [finding.code for finding in findings]


def save(folder: Path, image: nibabel.Nifti1Image, name: str = "labels.nii.gz", sidecar: object = None) -> Path:
    folder.mkdir(exist_ok=True)
    nibabel.save(image, folder / name)
    if sidecar is not None:
        (folder / f"{name.partition('.')[0]}.json").write_text(json.dumps(sidecar))
    return folder


@pytest.mark.parametrize("name", ["labels.nii", "labels.nii.gz"])
def test_a_label_lies_where_its_voxel_lay_on_a_tilted_turned_grid(name: str, tmp_path: Path, grid: Grid) -> None:
    array = some_labels(grid)
    (found,), codes = read(save(tmp_path / "in", labelled.nifti(array, grid, NAMES), name), tmp_path)
    assert codes == []
    for number in NAMES:
        truth = np.array([grid.affine[:3, :3] @ index + grid.affine[:3, 3] for index in np.argwhere(array == number)])
        places = np.argwhere(found.array == number) @ found.grid.affine[:3, :3].T + found.grid.affine[:3, 3]
        assert np.allclose(np.sort(truth.sum(axis=1)), np.sort(places.sum(axis=1)), atol=1e-3)
        assert np.allclose(truth.mean(axis=0), places.mean(axis=0), atol=1e-3)


def test_a_file_alone_is_read_as_well(tmp_path: Path, grid: Grid) -> None:
    folder = save(tmp_path / "in", labelled.nifti(some_labels(grid), grid, NAMES))
    (found,), _ = read(folder / "labels.nii.gz", tmp_path)
    assert set(found.labels) == {1, 2, 3}


def test_names_in_the_header_say_what_a_number_is(tmp_path: Path, grid: Grid) -> None:
    (found,), _ = read(save(tmp_path / "in", labelled.nifti(some_labels(grid), grid, NAMES)), tmp_path)
    assert [found.labels[n].meaning for n in (1, 2, 3)] == ["globe left", "skin", "mandible"]
    assert [found.labels[n].kind for n in (1, 2, 3)] == [RoiKind.LANDMARK, RoiKind.EXTERNAL, RoiKind.ORGAN]


@pytest.mark.parametrize(
    "sidecar",
    [
        {"1": "eye_left", "2": "brain", "3": "mandible"},
        {"labels": {"eye_left": 1, "brain": 2, "mandible": 3, "background": 0}},
        {"labels": {"1": "eye_left", "2": "brain", "3": "mandible"}},
    ],
)
def test_a_json_file_beside_it_names_the_labels(sidecar: object, tmp_path: Path, grid: Grid) -> None:
    (found,), _ = read(save(tmp_path / "in", labelled.nifti(some_labels(grid), grid), sidecar=sidecar), tmp_path)
    assert [found.labels[n].meaning for n in (1, 2, 3)] == ["globe left", "brain", "mandible"]


def test_a_table_named_by_the_setting_or_the_sidecar_outranks_names(tmp_path: Path, grid: Grid) -> None:
    folder = save(tmp_path / "a", labelled.nifti(some_labels(grid), grid, NAMES))
    (found,), _ = read(folder, tmp_path, "totalseg_head_glands_cavities")
    assert [found.labels[n].meaning for n in (1, 2, 3)] == ["globe left", "globe right", "lens left"]
    stated = {"label_table": "totalseg_craniofacial_structures"}
    (found,), _ = read(save(tmp_path / "b", labelled.nifti(some_labels(grid), grid), sidecar=stated), tmp_path)
    assert [found.labels[n].meaning for n in (1, 2, 3)] == ["mandible", "teeth lower", "skull"]


@pytest.mark.parametrize(
    ("names", "table", "part"),
    [
        (None, "auto", "without names"),
        ({1: "qqq", 2: "rrr", 3: "sss"}, "auto", "no table knows"),
        ({1: "eye_left", 2: "brain"}, "auto", "label 3 is not in its names"),
        (None, "totalseg_face", "label 2 is not in label table totalseg_face"),
    ],
)
def test_labels_that_nothing_names_are_refused_and_told_what_to_do(
    names: dict[int, str] | None, table: str, part: str, tmp_path: Path, grid: Grid
) -> None:
    folder = save(tmp_path / "in", labelled.nifti(some_labels(grid), grid, names))
    with pytest.raises(InputError, match=part) as caught:
        read(folder, tmp_path, table)
    assert "Set label_table to one of" in str(caught.value)
    assert "qqq" not in str(caught.value)


def test_an_image_is_no_label_map_and_is_named(tmp_path: Path, grid: Grid) -> None:
    values = np.random.default_rng(1).normal(0, 300, grid.shape)
    assert read(save(tmp_path / "in", labelled.nifti(values.astype(np.int16), grid)), tmp_path) == ([], ["nifti_no_labels"])
    assert read(save(tmp_path / "in", labelled.nifti(values + 4000.5, grid)), tmp_path) == ([], ["nifti_no_labels"])


def test_whole_numbers_stored_as_floats_are_labels(tmp_path: Path, grid: Grid) -> None:
    (found,), _ = read(save(tmp_path / "in", labelled.nifti(some_labels(grid).astype(np.float32), grid, NAMES)), tmp_path)
    assert np.array_equal(found.array, some_labels(grid))


def test_a_file_that_does_not_say_where_it_lies_is_refused(tmp_path: Path, grid: Grid) -> None:
    image = labelled.nifti(some_labels(grid), grid, NAMES)
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    with pytest.raises(InputError, match="does not say where it lies"):
        read(save(tmp_path / "in", image), tmp_path)


def test_a_damaged_file_is_an_error_in_words(tmp_path: Path, grid: Grid) -> None:
    folder = save(tmp_path / "in", labelled.nifti(some_labels(grid), grid, NAMES))
    whole = gzip.decompress((folder / "labels.nii.gz").read_bytes())
    (folder / "labels.nii.gz").unlink()
    (folder / "labels.nii").write_bytes(whole[:-40])
    with pytest.raises(InputError, match="NIfTI file 1: damaged"):
        read(folder, tmp_path)


def test_files_that_are_no_nifti_stay_in_the_archive(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.nii").write_text("no image")
    (tmp_path / "in" / "plan.json").write_text("{}")
    with open_inputs([tmp_path / "in"], Limits.of(Settings()), tmp_path) as archive:
        rest, maps, sidecars = split(archive)
        assert (len(rest.members), maps, sidecars) == (2, (), ())


def test_ras_and_lps_grids_are_each_other_s_way_back(grid: Grid) -> None:
    assert np.allclose(affine_ras_of(grid), labelled.affine_ras(grid))
    back = grid_of(affine_ras_of(grid), grid.shape[::-1])
    assert back.displacement_mm(grid) < 1e-9
    assert back.shape == grid.shape


def test_a_header_that_declares_more_than_the_file_holds_is_refused_before_room_is_made(tmp_path: Path, grid: Grid) -> None:
    data = nibabel.Nifti1Image(some_labels(grid), np.eye(4)).to_bytes()
    sizes = np.array([3, 30_000, 30_000, 30_000, 1, 1, 1, 1], dtype="<i2").tobytes()
    (tmp_path / "labels.nii").write_bytes(data[:40] + sizes + data[56:])
    with pytest.raises(InputError, match="27000000000000 of voxels are declared"):
        read(tmp_path / "labels.nii", tmp_path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"' + "9" * 5000 + '": "x"}', '{"\u00b2": "x"}', "\xff"])
def test_a_hostile_json_file_is_no_crash(text: str, tmp_path: Path, grid: Grid) -> None:
    path = save(tmp_path, nibabel.Nifti1Image(some_labels(grid), np.eye(4)))
    path.with_name("labels.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError):
        read(tmp_path, tmp_path)
