"""Real studies through the image as the platform starts it: exit code, metadata and output folder as promised."""

from __future__ import annotations

import io
import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

from tests.containers.engine import DATA, ENGINE, Container, built, real
from tests.e2e.jobs import INFO, Done, lay_out, refuse

pytestmark = [*built, real, pytest.mark.real]

NAME = "ZZDOE QQJANE.dicom.zip"
STEM = "ZZDOE QQJANE_hndeface"
REPORTS = {f"{STEM}.qa.json", f"{STEM}.qa.html"}
THUMBNAIL = f"{STEM}.qa.png"
IMAGE_NAME = f"{STEM}.dicom.zip"
NECK_MM = 120.0

Job = Callable[..., Path]


def neck(source: Path, target: Path) -> Path:
    """Shoulders and the neck's lower part of a scan: no face in view."""
    with zipfile.ZipFile(source) as archive:
        slices = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    heights = {}
    for name, data in slices.items():
        ds = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
        if ds.Modality == "CT":
            heights[name] = float(ds.ImagePositionPatient[2])
    lowest = min(heights.values())
    with zipfile.ZipFile(target, "w") as archive:
        for name, height in heights.items():
            if height < lowest + NECK_MM:
                archive.writestr(name, slices[name])
    return target


def half(source: Path, target: Path) -> Path:
    """An upload that broke off."""
    data = source.read_bytes()
    target.write_bytes(data[: len(data) // 2])
    return target


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Lays out a job's folder for a study and options."""

    def make(source: Path, **config: Any) -> Path:
        return lay_out(tmp_path_factory.mktemp("job"), source, name=NAME, **config)

    return make


def verdict_on_input(done: Done) -> dict[str, Any]:
    return dict(done.files()[NAME]["info"]["qc"]["hndeface"]["verdict"])


def names(done: Done) -> set[str]:
    """What lies in output/ beside the metadata, which have to be there."""
    assert ".metadata.json" in done.names, done.told
    return done.names - {".metadata.json"}


@pytest.fixture(scope="module")
def defaced(job: Job) -> Done:
    """The usual job, once."""
    return Container(job(DATA / "openkbp" / "pt_101.zip")).run()


@pytest.mark.parametrize(
    ("study", "verdict"), [("openkbp/pt_101", "defaced"), ("visible_human", "defaced"), ("openkbp/pt_108", "partial")]
)
def test_a_face_leaves_an_image_and_reports(job: Job, study: str, verdict: str, defaced: Done) -> None:
    done = defaced if study == "openkbp/pt_101" else Container(job(DATA / f"{study}.zip")).run()
    assert done.code == 0, done.told
    assert names(done) == {IMAGE_NAME, THUMBNAIL, *REPORTS}
    assert done.record["verdict"] == verdict
    assert done.record["peak_mb"] < 2500
    told = verdict_on_input(done)
    assert (told["state"], told["verdict"], told["output"]) == ("PASS", verdict, IMAGE_NAME)
    files = done.files()
    assert set(files[IMAGE_NAME]["tags"]) == {"hndeface", "hndeface-PASS"}
    assert (files[IMAGE_NAME]["type"], files[IMAGE_NAME]["modality"]) == ("dicom", "CT")
    with zipfile.ZipFile(done.image) as archive:
        assert archive.testzip() is None
        assert len(archive.infolist()) == files[IMAGE_NAME]["zip_member_count"]


def test_the_input_keeps_its_info_and_other_tags(defaced: Done) -> None:
    entry = defaced.files()[NAME]
    assert entry["info"]["header"] == INFO["header"]
    assert set(entry["tags"]) == {"seen", "hndeface-PASS"}
    assert "classification" not in entry or entry["classification"] == {"Intent": ["Structural"]}


def test_the_log_names_no_file(defaced: Done) -> None:
    assert "Verdict: defaced" in defaced.told
    assert "ZZDOE" not in defaced.told
    assert len(defaced.told) < 20_000


def test_a_neck_is_green_without_an_image(job: Job, tmp_path: Path) -> None:
    done = Container(job(neck(DATA / "cthd_phantom.zip", tmp_path / "neck.zip"))).run()
    assert (done.code, done.record["verdict"]) == (0, "no_face"), done.told
    assert names(done) == REPORTS
    assert (verdict_on_input(done)["state"], set(done.files()[NAME]["tags"])) == ("NA", {"seen", "hndeface-NA"})


def test_our_own_output_is_not_defaced_again(job: Job, defaced: Done) -> None:
    done = Container(job(defaced.image)).run()
    assert (done.code, done.record["verdict"]) == (0, "already_defaced"), done.told
    assert names(done) == REPORTS
    assert verdict_on_input(done)["state"] == "NA"


@pytest.mark.parametrize(("mode", "code"), [("fail-job", 4), ("tag-only", 0)])
def test_a_refused_study_leaves_reports_and_a_reason(job: Job, mode: str, code: int) -> None:
    done = Container(job(DATA / "openkbp" / "pt_108.zip", max_uncertainty_mm=2.0, on_qc_fail=mode)).run()
    assert (done.code, done.record["verdict"]) == (code, "refused"), done.told
    assert names(done) == REPORTS
    told = verdict_on_input(done)
    assert (told["state"], told["reason"], told["code"]) == ("FAIL", "landmarks", 4)
    assert set(done.files()[NAME]["tags"]) == {"seen", "hndeface-FAIL"}


def test_a_broken_archive_leaves_a_reason_alone(job: Job, tmp_path: Path) -> None:
    done = Container(job(half(DATA / "openkbp" / "pt_101.zip", tmp_path / "half.zip"))).run()
    assert done.code == 3, done.told
    assert names(done) == set()
    assert (verdict_on_input(done)["state"], verdict_on_input(done)["reason"]) == ("FAIL", "input")
    assert "Traceback" not in done.told


def test_an_option_that_does_not_exist_ends_with_2_and_says_nothing_about_the_file(job: Job) -> None:
    done = Container(job(DATA / "openkbp" / "pt_101.zip", method="scalpel")).run()
    assert done.code == 2, done.told
    assert done.names == set()


def test_a_full_work_disk_leaves_a_reason_and_no_image(job: Job) -> None:
    done = Container(job(DATA / "openkbp" / "pt_101.zip"), small=("work",)).run()
    assert done.code == 1, done.told
    assert names(done) == set()
    assert "The disk is full" in verdict_on_input(done)["message"]


def test_a_full_output_disk_leaves_a_reason_and_no_image(job: Job) -> None:
    after = "ls -A output; cat output/.metadata.json"
    done = Container(job(DATA / "openkbp" / "pt_101.zip"), small=("output",), after=after).run()
    assert done.code == 1, done.told
    listed, _, text = done.told.partition("\n{")
    assert [line for line in listed.splitlines() if "hndeface." in line or line.startswith(".")] == [".metadata.json"]
    (entry,) = json.loads("{" + text.rpartition("}")[0] + "}", parse_constant=refuse)["acquisition"]["files"]
    assert "The disk is full" in entry["info"]["qc"]["hndeface"]["verdict"]["message"]


@pytest.mark.parametrize("moment", ["change", "write"])
def test_a_job_that_is_stopped_half_way_leaves_nothing(job: Job, moment: str) -> None:
    container = Container(job(DATA / "openkbp" / "pt_101.zip"), name=f"hndeface-stopped-{moment}")
    with container.start() as process:
        assert process.stdout is not None
        told = ""
        for line in process.stdout:
            told += line
            if line.rstrip().endswith(moment):
                subprocess.run([ENGINE, "kill", "--signal", "TERM", container.name], check=True, capture_output=True)
                break
        told += process.stdout.read()
        assert process.wait(timeout=60) == 143, told
    assert "Stopped from outside" in told
    assert list((container.folder / "output").iterdir()) == []
    assert list((container.folder / "work").iterdir()) == []


def test_a_job_killed_for_memory_leaves_no_image(job: Job) -> None:
    done = Container(job(DATA / "visible_human.zip"), limits=("--memory", "200m", "--memory-swap", "200m")).run()
    if done.code == 0:
        pytest.skip("this machine's engine does not hold containers to their memory")
    assert done.code in (1, 137), done.told
    assert not any(name.endswith(".zip") for name in done.names)
