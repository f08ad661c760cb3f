"""Label maps of a job find their CT; one that lies on none is an error or a finding, and what they name is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import nibabel
import numpy as np
import pytest

from fw_gear_hndeface.dicom.archive import open_inputs
from fw_gear_hndeface.dicom.limits import Limits
from fw_gear_hndeface.dicom.study import read_contents
from fw_gear_hndeface.errors import InputError
from fw_gear_hndeface.intake import Labels, take_labels
from fw_gear_hndeface.model import Grid, Volume
from fw_gear_hndeface.pipeline import deface
from fw_gear_hndeface.settings import Settings
from tests import labelled
from tests import phantom as make
from tests.e2e import studies

SEED = 7


def scan() -> Volume:
    return make.phantom(SEED, plain=True).volume


def save(path: Path, *, shift_mm: float = 0.0) -> Path:
    head = make.phantom(SEED, plain=True)
    affine = head.volume.grid.affine.copy()
    affine[0, 3] += shift_mm
    grid = Grid(head.volume.grid.shape, affine)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(labelled.nifti(labelled.numbers(head), grid, labelled.names()), path)
    return path


def taken(path: Path, work: Path) -> Labels:
    with open_inputs([path], Limits.of(Settings()), work) as archive:
        rest, labels = take_labels(archive, "auto")
        assert not any(member.name.endswith(".nii") for member in rest.members)
        return labels


def segmented(masks: Mapping[str, np.ndarray], tmp_path: Path, frame: str = "") -> Labels:
    path = tmp_path / "seg.dcm"
    path.write_bytes(labelled.segmentation(masks, scan().grid, frame=frame))
    labels = Labels()
    with open_inputs([path], Limits.of(Settings()), tmp_path) as archive:
        labels.read_segmentations(read_contents(archive).series, {make.FRAME})
    return labels


def eyes() -> dict[str, np.ndarray]:
    head = make.phantom(SEED, plain=True)
    return {"eye_left": head.structures["Eye_L"].array, "eye_right": head.structures["Eye_R"].array}


def test_a_map_of_this_ct_is_given_to_it(tmp_path: Path) -> None:
    labels = taken(save(tmp_path / "in" / "map.nii.gz"), tmp_path)
    (found,) = labels.on(scan())
    assert {label.meaning for label in found.labels.values()} >= {"globe left", "mandible", "brain"}
    labels.settle()
    assert labels.findings == []


def test_a_map_beside_every_ct_stops_the_run(tmp_path: Path) -> None:
    labels = taken(save(tmp_path / "in" / "map.nii.gz", shift_mm=800.0), tmp_path)
    assert labels.on(scan()) == ()
    with pytest.raises(InputError, match="NIfTI file 1: none of its labels lies in the CT"):
        labels.settle()


def test_a_map_of_one_of_two_cts_is_fine(tmp_path: Path) -> None:
    labels = taken(save(tmp_path / "in" / "map.nii.gz"), tmp_path)
    far = scan().grid.affine.copy()
    far[0, 3] += 900.0
    elsewhere = Volume(Grid(scan().grid.shape, far), scan().array)
    assert (len(labels.on(elsewhere)), len(labels.on(scan())), len(labels.on(elsewhere))) == (0, 1, 0)
    labels.settle()


def test_segments_of_the_ct_s_frame_are_given_to_it(tmp_path: Path) -> None:
    labels = segmented(eyes(), tmp_path)
    (found,) = labels.on(scan())
    assert found.source == "segmentation"
    other = Volume(Grid(scan().grid.shape, scan().grid.affine, "2.25.9"), scan().array)
    assert labels.on(other) == (), "a CT of another frame of reference gets none of them"


def test_segments_of_another_frame_are_named_not_used(tmp_path: Path) -> None:
    labels = segmented(eyes(), tmp_path, frame="2.25.77")
    assert [finding.code for finding in labels.findings] == ["frame_mismatch"]
    assert labels.on(scan()) == ()


def test_segments_that_cannot_be_read_are_a_finding_not_the_end(tmp_path: Path) -> None:
    broken = studies.dataset_of(labelled.segmentation(eyes(), scan().grid))
    del broken.PerFrameFunctionalGroupsSequence
    (tmp_path / "seg.dcm").write_bytes(studies.to_bytes(broken))
    labels = Labels()
    with open_inputs([tmp_path / "seg.dcm"], Limits.of(Settings()), tmp_path) as archive:
        labels.read_segmentations(read_contents(archive).series, {make.FRAME})
    assert [finding.code for finding in labels.findings] == ["segmentation_left_out"]
    assert labels.on(scan()) == ()


def test_segments_in_thin_air_are_a_finding(tmp_path: Path) -> None:
    air = {"eye_left": np.roll(eyes()["eye_left"], -25, axis=1)}
    labels = segmented(air, tmp_path)
    assert labels.on(scan()) == ()
    labels.settle()
    assert [finding.code for finding in labels.findings] == ["labels_unused"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT whose frame of reference the tests' SEG shares."""
    return studies.write_zip(tmp_path_factory.mktemp("study") / "ct.zip", studies.ct_members(scan()))


def run(inputs: list[Path], work: Path, **settings: object) -> tuple[dict[str, object], int]:
    work.mkdir()
    staged = deface(inputs, work, "out", Settings(seed=5, **settings), key=b"k", on_progress=lambda *_: None)  # type: ignore[arg-type]
    record = json.loads(next(path for path in staged.files if path.name.endswith(".json")).read_text())
    return record, staged.exit_code


@pytest.mark.slow
def test_a_nifti_among_the_inputs_places_the_eyes_and_keeps_what_it_names(study: Path, tmp_path: Path) -> None:
    labels = save(tmp_path / "in" / "labels.nii.gz")
    record, code = run([study, labels], tmp_path / "work")
    plain, _ = run([study], tmp_path / "bare")
    wide, _ = run([study, labels], tmp_path / "wide", organ_margin_mm=5.0)
    assert code == 0
    assert record["landmarks"]["globe_left"]["source"] == "segmentation"  # type: ignore[index]
    assert plain["landmarks"]["globe_left"]["source"] != "segmentation"  # type: ignore[index]
    assert wide["kept_ml"] > record["kept_ml"] + 2.0, "the rim of a labelled parotid"  # type: ignore[operator]


def test_a_wrong_nifti_stops_before_anything_is_staged(study: Path, tmp_path: Path) -> None:
    labels = save(tmp_path / "in" / "labels.nii.gz", shift_mm=800.0)
    with pytest.raises(InputError, match="Give the label map made on this CT"):
        run([study, labels], tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []
