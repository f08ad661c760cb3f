"""From the archive to the folder a person looks into: run.py as the platform starts it, and the command line."""

from __future__ import annotations

import json
import re
import signal
import zipfile
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from pydicom.dataset import Dataset

from fw_gear_hndeface.report import schema
from tests import phantom
from tests.e2e import studies
from tests.e2e.jobs import INFO, Done, lay_out, refuse, run_cli, run_job, start

FILE_NAME = "ZZDOE info QQJANE 1.dicom.zip"
STEM = "ZZDOE info QQJANE 1_hndeface"
SEED = 11
TARGET = "PTV one"


@pytest.fixture(scope="module")
def members() -> dict[str, bytes]:
    """A head-and-neck CT with a target behind the mouth and what scanners add to archives."""
    head = phantom.phantom(SEED, plain=True)
    grid = head.volume.grid
    lip = head.landmarks["lip_upper"].point
    heights = grid.affine[2, 3] + grid.affine[2, 0] * np.arange(grid.shape[0])
    inside = heights[(heights > lip[2] - 20) & (heights < lip[2] + 20)]
    square = np.array([[-14.0, 22.0], [14.0, 22.0], [14.0, 50.0], [-14.0, 50.0]]) + lip[:2]
    contours = [np.column_stack([square, np.full(4, z)]) for z in inside]
    return {
        **studies.ct_members(head.volume),
        "RT/plan.dcm": studies.rtstruct(TARGET, contours),
        ".DS_Store": b"\0\1",
        "notes ZZDOE.txt": b"QQJANE",
    }


@pytest.fixture(scope="module")
def study(members: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return studies.write_zip(tmp_path_factory.mktemp("study") / "study.zip", members)


@pytest.fixture(scope="module")
def done(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The usual job, once for all tests that look at it."""
    return run_job(lay_out(tmp_path_factory.mktemp("job"), study, name=FILE_NAME, seed=5, debug=True))


def ct_of(path: Path) -> dict[str, Dataset]:
    """The CT slices of an archive by name."""
    return {name: ds for name, ds in studies.slices_of(path).items() if ds.Modality == "CT"}


def assert_says_nothing_of_the_patient(text: str) -> None:
    for secret in (*studies.SECRETS, studies.SERIES_UID, studies.FRAME_UID):
        assert secret not in text, secret


def test_the_job_is_green_and_leaves_image_reports_and_metadata(done: Done) -> None:
    assert done.code == 0, done.told
    assert done.names == {*(f"{STEM}.{ending}" for ending in ("dicom.zip", "qa.json", "qa.html", "qa.png")), ".metadata.json"}
    assert done.record["verdict"] == "defaced"


def test_the_image_has_the_same_slices_under_the_same_names_and_nothing_else(done: Done, members: dict[str, bytes]) -> None:
    after = ct_of(done.image)
    assert set(after) == {name for name in members if name.startswith("CT/")}
    assert set(studies.slices_of(done.image)) == {*after, "RT/plan.dcm"}
    before = {name: studies.dataset_of(members[name]) for name in after}
    for name, ds in after.items():
        assert ds.ImagePositionPatient == before[name].ImagePositionPatient
        assert ds.SOPInstanceUID != before[name].SOPInstanceUID
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        assert ds.RecognizableVisualFeatures == "NO"
        assert "113102" in [item.CodeValue for item in ds.DeidentificationMethodCodeSequence]


def test_the_nose_is_gone_and_the_target_and_the_occiput_are_not_touched(done: Done, members: dict[str, bytes]) -> None:
    head = phantom.phantom(SEED, plain=True)
    grid = head.volume.grid
    before, _ = studies.hu_of({name: studies.dataset_of(data) for name, data in members.items() if name.startswith("CT/")})
    after, heights = studies.hu_of(ct_of(done.image))
    changed = before != after
    if grid.affine[2, 0] < 0:
        changed = changed[::-1]
    nose = np.rint(grid.to_index(head.landmarks["nose_tip"].point + np.array([0, 4.0, 0]))).astype(int)
    assert changed[tuple(nose)], "4 mm behind the tip of the nose"
    points = grid.to_patient(np.argwhere(changed))
    lip = head.landmarks["lip_upper"].point
    ears = max(head.landmarks[name].point[1] for name in ("ear_left", "ear_right"))
    assert points[:, 1].max() < ears + 30.0, "nothing at the back of the head"
    inside = (np.abs(points[:, 0] - lip[0]) < 13.0) & (points[:, 1] > lip[1] + 23.0) & (points[:, 1] < lip[1] + 49.0)
    inside &= np.abs(points[:, 2] - lip[2]) < 15.0
    assert not inside.any(), "voxels of the target"
    assert 10.0 < changed.sum() * abs(np.linalg.det(grid.affine[:3, :3])) / 1000.0 < 600.0
    assert len(heights) == grid.shape[0]


def test_the_record_follows_the_schema_and_tells_the_target_and_every_object(done: Done) -> None:
    record = done.record
    jsonschema.validate(record, schema())
    assert record["method"] == "membrane"
    assert {"nose_tip", "chin", "mouth_left"} <= set(record["landmarks"])
    truth = phantom.phantom(SEED, plain=True).landmarks["nose_tip"].point
    assert np.linalg.norm(np.array(record["landmarks"]["nose_tip"]["lps_mm"]) - truth) < 15.0
    (roi,) = [roi for roi in record["rois"] if roi["name"] == TARGET]
    assert (roi["kind"], roi["unchanged_percent"]) == ("target", 100.0)
    fates = {entry["modality"]: entry["fate"] for entry in record["objects"]}
    assert fates == {"CT": "defaced", "RTSTRUCT": "carried"}
    assert record["removed_ml"] > 5.0
    assert record["peak_mb"] > 50.0
    assert record["disk_mb"] >= round(sum(path.stat().st_size for path in done.output.glob("*.zip")) / 1e6)
    assert record["seconds"]


def test_metadata_name_the_verdict_and_keep_what_the_input_had(done: Done) -> None:
    source, image = done.files()[FILE_NAME], done.files()[f"{STEM}.dicom.zip"]
    assert source["info"]["header"] == INFO["header"]
    assert source["info"]["note"] == INFO["note"]
    assert source["tags"] == ["hndeface-PASS", "seen"]
    assert source["info"]["qc"]["hndeface"]["verdict"]["output"] == f"{STEM}.dicom.zip"
    assert image["tags"] == ["hndeface", "hndeface-PASS"]
    assert image["classification"] == {"Intent": ["Structural"]}
    with zipfile.ZipFile(done.image) as archive:
        assert image["zip_member_count"] == len(archive.namelist())


def test_neither_log_nor_reports_say_who_it_was_even_in_debug_mode(done: Done) -> None:
    assert_says_nothing_of_the_patient(done.told)
    for path in done.output.glob("*.qa.*"):
        text = path.read_bytes().decode("utf-8", "replace")
        # four digits turn up by chance in millions of letters of packed pictures; those hold no text of the input
        assert_says_nothing_of_the_patient(re.sub(r"[A-Za-z0-9+/]{400,}", "", text))
    image_metadata = json.dumps(done.files()[f"{STEM}.qa.json"])
    for secret in ("994411", "5577", studies.BIRTH_DATE):
        assert secret not in image_metadata
    assert "Verdict: defaced" in done.told
    assert "Traceback" not in done.told


def test_the_report_holds_pictures_of_the_defaced_head(done: Done) -> None:
    page = (done.output / f"{STEM}.qa.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") >= 3
    assert "<h1>Defaced</h1>" in page


def test_our_own_output_is_recognised_by_its_header(done: Done, tmp_path: Path) -> None:
    again = run_job(lay_out(tmp_path, done.image, name="again.dicom.zip"))
    assert again.code == 0, again.told
    assert again.record["verdict"] == "already_defaced"
    assert not list(again.output.glob("*.zip"))
    assert again.files()["again.dicom.zip"]["tags"] == ["hndeface-NA", "seen"]


@pytest.mark.slow
def test_the_command_line_gives_the_same_slices_for_a_folder_and_loose_files(
    done: Done, members: dict[str, bytes], tmp_path: Path
) -> None:
    for name, data in members.items():
        if name != "RT/plan.dcm":
            (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "in" / name).write_bytes(data)
    (tmp_path / "plan.dcm").write_bytes(members["RT/plan.dcm"])
    again = run_cli(["run", "in", "plan.dcm", "-o", "output", "--set", "seed=5"], tmp_path)
    assert again.code == 0, again.told
    assert again.told.startswith("defaced: ")
    assert "output" in again.told.splitlines()[-1]
    assert again.names == {f"in_hndeface.{ending}" for ending in ("dicom.zip", "qa.json", "qa.html", "qa.png")}
    assert_says_nothing_of_the_patient(again.told)
    mine = {Path(name).name: ds for name, ds in ct_of(again.image).items()}
    theirs = {Path(name).name: ds for name, ds in ct_of(done.image).items()}
    assert set(mine) == set(theirs)
    assert all(mine[name].PixelData == theirs[name].PixelData for name in mine)


def test_a_view_that_ends_below_the_eyes_is_defaced_in_part(tmp_path: Path) -> None:
    part = phantom.cut(phantom.phantom(SEED, plain=True), "below_eyes")
    source = studies.write_zip(tmp_path / "part.zip", studies.ct_members(part.volume))
    again = run_job(lay_out(tmp_path / "job", source, name="part.zip", destination="analysis"))
    assert again.code == 0, again.told
    assert again.record["verdict"] == "partial"
    assert set(again.files("analysis")) == {
        f"part_hndeface.{ending}" for ending in ("dicom.zip", "qa.json", "qa.html", "qa.png")
    }
    assert set(again.files()) == {"part.zip"}


def test_a_chest_is_green_and_has_no_image(tmp_path: Path) -> None:
    source = studies.write_zip(tmp_path / "chest.zip", studies.ct_members(phantom.chest()))
    again = run_job(lay_out(tmp_path / "job", source, name="chest.zip"))
    assert again.code == 0, again.told
    assert again.record["verdict"] == "no_face"
    assert not list(again.output.glob("*.zip"))
    verdict = again.files()["chest.zip"]["info"]["qc"]["hndeface"]["verdict"]
    assert (verdict["state"], verdict["verdict"]) == ("NA", "no_face")
    assert verdict["message"]


@pytest.mark.parametrize(("mode", "code"), [("fail-job", 4), ("tag-only", 0)])
def test_a_face_that_cannot_be_placed_surely_enough_is_refused(study: Path, tmp_path: Path, mode: str, code: int) -> None:
    again = run_job(lay_out(tmp_path, study, name="a.zip", max_uncertainty_mm=2.0, on_qc_fail=mode))
    assert again.code == code, again.told
    assert again.record["verdict"] == "refused"
    assert again.names == {"a_hndeface.qa.json", "a_hndeface.qa.html", ".metadata.json"}
    verdict = again.files()["a.zip"]["info"]["qc"]["hndeface"]["verdict"]
    assert (verdict["state"], verdict["reason"], verdict["code"]) == ("FAIL", "landmarks", 4)


@pytest.mark.parametrize("harm", ["cut", "empty", "no zip", "encrypted", "climbing"])
def test_an_archive_that_cannot_be_trusted_is_code_3_and_leaves_only_the_reason(study: Path, tmp_path: Path, harm: str) -> None:
    whole = study.read_bytes()
    bad = tmp_path / "bad.zip"
    bad.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "no zip": b"QQJANE" * 99}.get(harm, whole))
    if harm == "climbing":
        studies.write_zip(bad, {"../../ZZDOE.dcm": b"x"})
    if harm == "encrypted":
        spoilt = bytearray(whole)
        directory = spoilt.rindex(b"PK\x01\x02")
        spoilt[directory + 8] |= 1
        bad.write_bytes(spoilt)
    again = run_job(lay_out(tmp_path / "job", bad, name="ZZDOE.zip"))
    assert again.code == 3, again.told
    assert again.names == {".metadata.json"}
    verdict = again.files()["ZZDOE.zip"]["info"]["qc"]["hndeface"]["verdict"]
    assert (verdict["state"], verdict["reason"], verdict["code"]) == ("FAIL", "input", 3)
    assert_says_nothing_of_the_patient(again.told)
    assert "Traceback" not in again.told
    line = run_cli(["run", str(bad), "-o", str(tmp_path / "output")], tmp_path)
    assert line.code == 3
    assert list(line.output.iterdir()) == []


def test_a_job_stopped_half_way_leaves_nothing(study: Path, tmp_path: Path) -> None:
    folder = lay_out(tmp_path, study, name="a.zip")
    process = start(folder)
    assert process.stdout is not None
    assert any("locate" in line for line in process.stdout), "it is at work"
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 143, told
    output = folder / "output"
    assert not output.exists() or list(output.iterdir()) == []


def test_an_output_folder_that_is_a_file_is_one_sentence(study: Path, tmp_path: Path) -> None:
    (tmp_path / "output").write_text("not a folder")
    again = run_cli(["run", str(study), "-o", "output"], tmp_path)
    assert again.code == 2, again.told
    assert len(again.told.splitlines()) == 1


def test_metadata_are_json_that_any_reader_takes(done: Done) -> None:
    json.loads((done.output / ".metadata.json").read_text(), parse_constant=refuse)
