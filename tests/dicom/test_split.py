"""A study's archive as one archive for each series: every member once, byte by byte, under a name that tells the modality."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from fw_gear_hndeface.dicom.split import modality_of, split_series
from tests.dicom import build
from tests.dicom.test_carry_rtdose import dose
from tests.dicom.test_carry_rtstruct import STEPS, box, contour, scan_values, structure_set, texts


def test_every_member_is_in_the_archive_of_its_series_and_in_no_other(tmp_path: Path) -> None:
    affine = build.truth_affine(STEPS, 0.0)
    slices = build.files(build.ct_series(scan_values(), affine))
    sets = structure_set([("BODY", "EXTERNAL", [contour(texts(affine, 4, box(9.5, 34.5, 3.5, 25.5)), 4)])])
    members = {"rs": build.encoded(sets), **slices, "rd": build.encoded(dose())}
    study = build.zip_of(tmp_path / "a b.dicom.zip", members)
    paths = split_series(study, build.LIMITS)
    assert {path.name for path in paths} == {
        "a b.01-RTSTRUCT.dicom.zip",
        "a b.02-CT.dicom.zip",
        "a b.03-RTDOSE.dicom.zip",
    }
    found: dict[str, bytes] = {}
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            part = {name: archive.read(name) for name in archive.namelist()}
        assert not set(part) & set(found)
        found |= part
    assert found == members
    assert [modality_of(path.name) for path in paths] == ["RTSTRUCT", "CT", "RTDOSE"]


@pytest.mark.parametrize("name", ["a_hndeface.dicom.zip", "x.01-CT.zip", "x.01-CT.dicom.zip.part", "x.1-CT.dicom.zip"])
def test_other_names_tell_no_modality(name: str) -> None:
    assert modality_of(name) is None
