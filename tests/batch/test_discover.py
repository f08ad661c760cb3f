"""Which files make one study, and what its name gives away: nothing."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from fw_gear_hndeface.batch.discover import files_listed, find_studies
from fw_gear_hndeface.dicom.limits import Limits
from fw_gear_hndeface.errors import InputError
from fw_gear_hndeface.settings import Settings
from tests.batch import cohort
from tests.e2e import studies


def test_every_archive_is_a_study_and_other_files_are_counted(tmp_path: Path) -> None:
    cohort.write_studies(tmp_path / "in", 3)
    (tmp_path / "in" / "notes.txt").write_text("nothing")
    found = cohort.search(tmp_path / "in", tmp_path / "out")
    assert len(found.studies) == 3
    assert found.others == 1
    assert all(len(study.paths) == 1 and study.size == study.paths[0].stat().st_size for study in found.studies)


def test_loose_files_of_one_study_are_one_study_wherever_they_lie(tmp_path: Path) -> None:
    files = cohort.members(1)
    names = sorted(files)
    cohort.write_files(tmp_path / "in" / "a", {name: files[name] for name in names[:2]})
    cohort.write_files(tmp_path / "in" / "b" / "c", {name: files[name] for name in names[2:]})
    (study,) = cohort.search(tmp_path / "in", tmp_path / "out").studies
    assert len(study.paths) == len(files)


def test_two_studies_in_one_folder_are_two_and_a_structure_set_goes_with_its_own(tmp_path: Path) -> None:
    one, two = cohort.members(1), cohort.members(2)
    cohort.write_files(tmp_path / "in", {f"x{name}": data for name, data in one.items()})
    cohort.write_files(tmp_path / "in", {f"y{name}": data for name, data in two.items()})
    drawn = studies.dataset_of(studies.rtstruct("PTV", []))
    drawn.StudyInstanceUID = "1.2.826.0.1.77.2"
    studies.write_zip(tmp_path / "in" / "rs.zip", {"rs.dcm": studies.to_bytes(drawn)})
    sizes = sorted(len(study.paths) for study in cohort.search(tmp_path / "in", tmp_path / "out").studies)
    assert sizes == [len(one), len(two) + 1]


def test_one_study_uid_of_two_patients_is_two_studies(tmp_path: Path) -> None:
    studies.write_zip(tmp_path / "in" / "a.zip", cohort.members(1, patient="P1"))
    studies.write_zip(tmp_path / "in" / "b.zip", cohort.members(1, patient="P2"))
    assert len(cohort.search(tmp_path / "in", tmp_path / "out").studies) == 2


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tars_say_their_study(tmp_path: Path, mode: str) -> None:
    files = cohort.write_files(tmp_path / "files", cohort.members(1))
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in" / "x.tar", mode) as archive:  # type: ignore[call-overload]
        archive.add(files, "x")
    studies.write_zip(tmp_path / "in" / "more.zip", cohort.members(1))
    (study,) = cohort.search(tmp_path / "in", tmp_path / "out").studies
    assert len(study.paths) == 2


def test_a_damaged_slice_goes_with_the_study_of_its_folder_rather_than_missing_from_it(tmp_path: Path) -> None:
    files = cohort.members(1)
    cohort.write_files(tmp_path / "in", {**files, "CT/cut.dcm": next(iter(files.values()))[:200]})
    (study,) = cohort.search(tmp_path / "in", tmp_path / "out").studies
    assert "cut.dcm" in {path.name for path in study.paths}


def test_a_file_that_does_not_open_goes_with_the_study_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort.write_files(tmp_path / "in", {**cohort.members(1), "CT/shut.dcm": b"?"})
    real = Path.open

    def refuse(self: Path, *args: object, **options: object) -> object:
        if self.name == "shut.dcm":
            raise PermissionError(13, "no")
        return real(self, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuse)
    (study,) = cohort.search(tmp_path / "in", tmp_path / "out").studies
    assert "shut.dcm" in {path.name for path in study.paths}


def test_archives_that_cannot_be_read_are_studies_of_their_own(tmp_path: Path) -> None:
    cohort.write_files(
        tmp_path / "in", {"a.zip": b"PK\x03\x04junk", "b.7z": b"7z\xbc\xaf\x27\x1c....", "c.zip": b"PK\x03\x04other"}
    )
    assert len(cohort.search(tmp_path / "in", tmp_path / "out").studies) == 3


def test_a_directory_of_a_medium_is_no_study(tmp_path: Path) -> None:
    listing = studies.identified("OT", "1.2.840.10008.1.3.10", "1.2.3")
    for name in ("StudyInstanceUID", "SOPClassUID", "SOPInstanceUID"):
        delattr(listing, name)
    cohort.write_files(tmp_path / "in", {**cohort.members(1), "DICOMDIR": studies.to_bytes(listing)})
    found = cohort.search(tmp_path / "in", tmp_path / "out")
    assert len(found.studies) == 1
    assert found.others == 1


def test_outputs_and_links_are_not_looked_into(tmp_path: Path) -> None:
    root = cohort.write_studies(tmp_path / "in", 1)
    cohort.write_studies(root / "out", 3)
    cohort.write_studies(tmp_path / "elsewhere", 2)
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "file.zip").symlink_to(next((tmp_path / "elsewhere").iterdir()))
    assert len(cohort.search(root, root / "out").studies) == 1


def test_names_tell_nothing_and_depend_on_the_key_alone(tmp_path: Path) -> None:
    cohort.write_studies(tmp_path / "in", 1)
    studies.write_zip(tmp_path / "moved" / "x.zip", cohort.members(0))
    (one,) = cohort.search(tmp_path / "in", tmp_path / "out").studies
    (moved,) = cohort.search(tmp_path / "moved", tmp_path / "out").studies
    (other,) = cohort.search(tmp_path / "in", tmp_path / "out", key=b"another key, 32 bytes long enough").studies
    assert one.stem == moved.stem != other.stem
    assert set(one.stem) <= set("0123456789abcdef")
    assert studies.NAME not in repr(one)


def test_a_change_of_any_file_changes_the_mark(tmp_path: Path) -> None:
    root = cohort.write_studies(tmp_path / "in", 1)
    marks = set()
    path = next(root.iterdir())
    for stamp in (1_000_000_000, 1_000_000_001, 4_000_000_000):
        os.utime(path, (stamp, stamp))
        (study,) = cohort.search(root, tmp_path / "out").studies
        marks.add(study.quick)
    assert study.newest == 4_000_000_000
    path.write_bytes(path.read_bytes() + b"\0")
    os.utime(path, (stamp, stamp))
    marks.add(cohort.search(root, tmp_path / "out").studies[0].quick)
    assert len(marks) == 4


def test_a_list_names_files_and_folders_and_what_is_gone_is_not_passed_over(tmp_path: Path) -> None:
    root = cohort.write_studies(tmp_path / "in", 2)
    studies.write_zip(tmp_path / "one.zip", cohort.members(7))
    lines = [f"{root}\n", "\n", f"{tmp_path / 'one.zip'}\n", f"{tmp_path / 'gone.zip'}\n"]
    paths = files_listed(lines, tmp_path / "out")
    found = find_studies(paths, b"k" * 16, Limits.of(Settings()), on_file=lambda: None)
    assert len(found.studies) == 4


def test_no_source_is_an_error_without_a_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder") as caught:
        cohort.search(tmp_path / "nothing", tmp_path / "out")
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"\x1f\x8b\x08\x04\x00", b"\x1f\x8b\x08\x1cxxxx", b"BZh9xx", b"\xfd7zXZ\x00xx", b"\x1f\x8b\x07\xff"]
)
def test_a_damaged_stream_is_a_study_of_its_own(tmp_path: Path, data: bytes) -> None:
    cohort.write_files(tmp_path / "in", {"x.tgz": data})
    assert len(cohort.search(tmp_path / "in", tmp_path / "out").studies) == 1


def test_a_label_map_goes_with_the_only_study_of_its_folder(tmp_path: Path) -> None:
    one = tmp_path / "in" / "one"
    studies.write_zip(one / "ct.zip", cohort.members(1))
    cohort.write_files(one, {"labels.nii.gz": b"\x1f\x8b...", "labels.json": b"{}"})
    two = tmp_path / "in" / "two"
    for number in (2, 3):
        studies.write_zip(two / f"{number}.zip", cohort.members(number))
    cohort.write_files(two, {"labels.nii.gz": b"\x1f\x8b..."})
    cohort.write_files(tmp_path / "in" / "three", {"settings.json": b"{}"})
    found = cohort.search(tmp_path / "in", tmp_path / "out")
    assert sorted(len(study.paths) for study in found.studies) == [1, 1, 3]
    assert found.others == 2


def test_json_files_without_a_label_map_are_no_part_of_a_study(tmp_path: Path) -> None:
    studies.write_zip(tmp_path / "in" / "ct.zip", cohort.members(1))
    cohort.write_files(tmp_path / "in", {"notes.json": b"{}"})
    found = cohort.search(tmp_path / "in", tmp_path / "out")
    assert [len(study.paths) for study in found.studies] == [1]
    assert found.others == 1


@pytest.mark.parametrize("name", ["a.zip", "b.DCM", "c.tar.gz"])
def test_a_file_that_only_calls_itself_an_archive_or_dicom_is_not_passed_over(tmp_path: Path, name: str) -> None:
    cohort.write_files(tmp_path / "in", {name: b"nothing of the kind"})
    found = cohort.search(tmp_path / "in", tmp_path / "out")
    assert len(found.studies) == 1
    assert found.others == 0
