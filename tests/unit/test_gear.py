"""The platform's door with a stand-in for the work behind it: metadata, tags, exit codes, and an empty output on failure."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fw_gear_hndeface import gear
from fw_gear_hndeface.errors import InputError, PrivacyError, SettingsError
from fw_gear_hndeface.model import Finding, Level, Result, Verdict
from fw_gear_hndeface.pipeline import Staged

REPOSITORY = Path(__file__).resolve().parents[2]
HEADER = {"PatientName": "DOE^JANE", "SliceThickness": 2.5}
MEASURES = {
    "method": "membrane",
    "removed_ml": 41.61,
    "added_ml": float("nan"),
    "privacy": {"own_distance": 0.71, "face_found": False, "name": "bad key", "per.pose": 1.0, "scores": (float("nan"), 1.0)},
}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the gear went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.getLogger("fw_gear_hndeface").setLevel(logging.NOTSET)


def job(folder: Path, name: str = "CT info 1.dicom.zip", **changes: Any) -> Path:
    """A job's folder as the platform lays it out."""
    place = folder / "input" / "dicom" / name
    place.parent.mkdir(parents=True)
    place.write_bytes(b"PK")
    entry = {
        "base": "file",
        "hierarchy": {"type": "acquisition", "id": "aq1"},
        "location": {"name": name, "path": str(place)},
        "object": {
            "type": "dicom",
            "modality": "CT",
            "classification": {"Intent": ["Structural"]},
            "tags": ["file-classifier", "hndeface-FAIL"],
            "info": {"header": HEADER, "qc": {"hndeface": {"job_info": {"job_id": "old"}, "stale": {"state": "FAIL"}}}},
        },
    }
    entry["object"].update(changes.pop("object", {}))
    config = {
        "config": changes.pop("config", {}),
        "inputs": {"dicom": entry},
        "destination": {"id": "d1", "type": changes.pop("destination", "acquisition")},
        "job": {"id": "job-7"},
    }
    config.update(changes)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def staged_run(
    monkeypatch: pytest.MonkeyPatch, verdict: Verdict, *, code: int = 0, findings: tuple[Finding, ...] = ()
) -> list[Any]:
    """Let the work behind the door end with a verdict; returns what it was called with."""
    calls: list[Any] = []

    def deface(inputs: Any, work: Path, stem: str, settings: Any, *, key: bytes, on_progress: Callable[..., None]) -> Staged:
        calls.append((list(inputs), stem, settings, key))
        on_progress("reading", 0.1)
        files = [work / f"{stem}_hndeface.qa.json", work / f"{stem}_hndeface.qa.html"]
        for path in files:
            path.write_text("{}")
        if verdict in (Verdict.DEFACED, Verdict.PARTIAL):
            image = work / f"{stem}_hndeface.dicom.zip"
            with zipfile.ZipFile(image, "w") as archive:
                for index in range(3):
                    archive.writestr(f"{index}.dcm", b"x")
            files.insert(0, image)
        return Staged(Result(verdict, None, findings, MEASURES), tuple(files), code)

    monkeypatch.setattr(gear, "deface", deface)
    return calls


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException, where: str = "deface") -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(gear, where, fail)


def run(folder: Path) -> int:
    return gear.main(folder, REPOSITORY / "manifest.json")


def refuse_constant(name: str) -> None:
    raise ValueError(name)


def metadata(folder: Path) -> dict[str, Any]:
    text = (folder / "output" / ".metadata.json").read_text()
    return dict(json.loads(text, parse_constant=refuse_constant))


def files_of(folder: Path, container: str = "acquisition") -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in metadata(folder)[container]["files"]}


def outputs(folder: Path) -> set[str]:
    return {path.name for path in (folder / "output").iterdir()}


def qc(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry["info"]["qc"]["hndeface"].items() if name != "job_info"}


def test_a_defaced_study_leaves_image_reports_and_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = staged_run(monkeypatch, Verdict.DEFACED)
    assert run(job(tmp_path)) == 0
    stem = "CT info 1_hndeface"
    assert outputs(tmp_path) == {f"{stem}.dicom.zip", f"{stem}.qa.json", f"{stem}.qa.html", ".metadata.json"}
    assert calls[0][0] == [tmp_path / "input" / "dicom" / "CT info 1.dicom.zip"]
    assert calls[0][1] == "CT info 1"

    files = files_of(tmp_path)
    image = files[f"{stem}.dicom.zip"]
    assert (image["type"], image["modality"], image["zip_member_count"]) == ("dicom", "CT", 3)
    assert image["classification"] == {"Intent": ["Structural"]}
    assert image["tags"] == ["hndeface", "hndeface-PASS"]
    assert set(image["info"]) == {"qc"}, "the header of the input belongs to the input"
    assert qc(image)["verdict"] == {"state": "PASS", "verdict": "defaced", "method": "membrane", "removed_ml": 41.61}
    assert qc(image)["privacy"] == {"state": "PASS", "own_distance": 0.71, "face_found": False}
    for ending in ("qa.json", "qa.html"):
        assert files[f"{stem}.{ending}"]["type"] == "qa"
        assert files[f"{stem}.{ending}"]["tags"] == ["hndeface-PASS"]


def test_the_input_keeps_its_info_and_tags_and_gets_one_fresh_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged_run(monkeypatch, Verdict.DEFACED)
    run(job(tmp_path))
    source = files_of(tmp_path)["CT info 1.dicom.zip"]
    assert source["info"]["header"] == HEADER
    assert source["tags"] == ["file-classifier", "hndeface-PASS"]
    assert set(qc(source)) == {"verdict"}, "checks of an earlier run and of other files must be gone"
    assert qc(source)["verdict"]["output"] == "CT info 1_hndeface.dicom.zip"
    info = source["info"]["qc"]["hndeface"]["job_info"]
    assert info["job_id"] == "job-7"
    assert "type" not in source, "what the platform knows about the input is not ours to set"


def test_with_an_analysis_as_destination_outputs_go_there_and_the_input_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged_run(monkeypatch, Verdict.DEFACED)
    assert run(job(tmp_path, destination="analysis", job={})) == 0
    assert set(files_of(tmp_path, "analysis")) == {name for name in outputs(tmp_path) if name != ".metadata.json"}
    assert set(files_of(tmp_path)) == {"CT info 1.dicom.zip"}


@pytest.mark.parametrize("name", ["object.zip", "info.dcm.zip", "a b (1).dicom.zip", "x.tar.gz", "scan.dcm"])
def test_awkward_file_names_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    staged_run(monkeypatch, Verdict.DEFACED)
    assert run(job(tmp_path, name=name)) == 0
    assert name in files_of(tmp_path)


@pytest.mark.parametrize("verdict", [Verdict.NO_FACE, Verdict.ALREADY_DEFACED])
def test_nothing_to_deface_is_green_without_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: Verdict) -> None:
    said = (Finding(Level.WARNING, "other", "Something."), Finding(Level.INFO, verdict.value, "The view ends below the chin."))
    staged_run(monkeypatch, verdict, findings=said)
    assert run(job(tmp_path)) == 0
    assert not any(name.endswith(".zip") for name in outputs(tmp_path))
    source = files_of(tmp_path)["CT info 1.dicom.zip"]
    assert source["tags"] == ["file-classifier", "hndeface-NA"]
    assert qc(source)["verdict"]["state"] == "NA"
    assert qc(source)["verdict"]["reason"] == verdict.value
    assert qc(source)["verdict"]["message"] == "The view ends below the chin."


@pytest.mark.parametrize(("mode", "code"), [("fail-job", 7), ("tag-only", 0)])
def test_a_refusal_leaves_reports_and_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, code: int) -> None:
    said = (Finding(Level.ERROR, "privacy", "The result can be matched."),)
    staged_run(monkeypatch, Verdict.REFUSED, code=PrivacyError.exit_code, findings=said)
    assert run(job(tmp_path, config={"on_qc_fail": mode})) == code
    assert outputs(tmp_path) == {"CT info 1_hndeface.qa.json", "CT info 1_hndeface.qa.html", ".metadata.json"}
    source = files_of(tmp_path)["CT info 1.dicom.zip"]
    assert source["tags"] == ["file-classifier", "hndeface-FAIL"]
    verdict = qc(source)["verdict"]
    assert (verdict["state"], verdict["verdict"], verdict["reason"], verdict["code"]) == ("FAIL", "refused", "privacy", 7)


def test_an_image_written_in_spite_of_a_failed_check_is_tagged_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged_run(monkeypatch, Verdict.DEFACED, findings=(Finding(Level.ERROR, "privacy", "The result can be matched."),))
    assert run(job(tmp_path, config={"privacy": "report"})) == 0
    image = files_of(tmp_path)["CT info 1_hndeface.dicom.zip"]
    assert image["tags"] == ["hndeface", "hndeface-FAIL"]
    assert qc(image)["privacy"]["state"] == "FAIL"


def test_a_file_tagged_as_ours_is_not_defaced_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, AssertionError("must not run"))
    assert run(job(tmp_path, object={"tags": ["hndeface", "hndeface-PASS"]})) == 0
    assert outputs(tmp_path) == {"CT info 1_hndeface.qa.json", "CT info 1_hndeface.qa.html", ".metadata.json"}
    source = files_of(tmp_path)["CT info 1.dicom.zip"]
    assert source["tags"] == ["hndeface", "hndeface-NA"]
    assert qc(source)["verdict"]["verdict"] == "already_defaced"
    record = json.loads((tmp_path / "output" / "CT info 1_hndeface.qa.json").read_text())
    assert record["verdict"] == "already_defaced"


def test_a_mark_of_an_earlier_run_does_not_stop_a_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = staged_run(monkeypatch, Verdict.DEFACED)
    assert run(job(tmp_path, object={"tags": ["hndeface-PASS"]})) == 0
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (InputError("The archive is truncated."), 3, "input"),
        (KeyError("DOE^JANE"), 1, "unexpected"),
        (MemoryError(), 1, "unexpected"),
    ],
)
def test_a_failure_leaves_nothing_but_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: Exception, code: int, reason: str
) -> None:
    failing(monkeypatch, error)
    assert run(job(tmp_path, config={"on_qc_fail": "tag-only"})) == code
    assert outputs(tmp_path) == {".metadata.json"}
    source = files_of(tmp_path)["CT info 1.dicom.zip"]
    assert source["info"]["header"] == HEADER
    assert source["tags"] == ["file-classifier", "hndeface-FAIL"]
    assert qc(source)["verdict"] | {"message": ""} == {
        "state": "FAIL", "verdict": "failed", "reason": reason, "message": "", "code": code,
    }  # fmt: skip
    told = "".join(capfd.readouterr())
    assert "Traceback" not in told
    assert "DOE" not in told + qc(source)["verdict"]["message"]


def test_an_image_half_way_into_output_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged_run(monkeypatch, Verdict.DEFACED)

    def publish(staged: Staged, output: Path) -> None:
        (output / staged.files[0].name).write_bytes(b"half")
        (output / ".temporary").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gear, "publish", publish)
    assert run(job(tmp_path)) == 1
    assert outputs(tmp_path) == {".metadata.json"}
    files = files_of(tmp_path)
    assert set(files) == {"CT info 1.dicom.zip"}
    assert set(qc(files["CT info 1.dicom.zip"])) == {"verdict"}
    assert qc(files["CT info 1.dicom.zip"])["verdict"]["state"] == "FAIL"


def test_a_disk_that_the_work_filled_has_room_for_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(_: Any, work: Path, *__: Any, **___: Any) -> None:
        (work / "half.zip").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(gear, "deface", fill)
    assert run(job(tmp_path)) == 1
    assert {path.name for path in (tmp_path / "work").iterdir()} <= {".metadata.json"}
    assert "The disk is full" in qc(files_of(tmp_path)["CT info 1.dicom.zip"])["verdict"]["message"]


def test_temporary_files_lie_in_work_while_the_job_runs_and_nowhere_else_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[str] = []

    def look(*_: Any, **__: Any) -> None:
        places.extend([tempfile.gettempdir(), os.environ["TMPDIR"]])
        raise InputError("enough")

    monkeypatch.setenv("TMPDIR", "/elsewhere")
    monkeypatch.setattr(tempfile, "tempdir", "/before")
    monkeypatch.setattr(gear, "deface", look)
    assert run(job(tmp_path)) == 3
    assert places == [str(tmp_path.resolve() / "work")] * 2
    assert (tempfile.gettempdir(), os.environ["TMPDIR"]) == ("/before", "/elsewhere")


def test_a_work_folder_that_takes_nothing_does_not_swallow_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = gear.GearMetadata.write

    def only_output(self: Any, folder: Path, *rest: Any) -> None:
        if folder.name == "work":
            raise OSError(errno.ENOSPC, "full")
        write(self, folder, *rest)

    monkeypatch.setattr(gear.GearMetadata, "write", only_output)
    failing(monkeypatch, InputError("nothing to read"))
    assert run(job(tmp_path)) == 3
    assert qc(files_of(tmp_path)["CT info 1.dicom.zip"])["verdict"]["code"] == 3


def test_a_stop_from_outside_empties_output_and_leaves_the_old_handler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    staged_run(monkeypatch, Verdict.DEFACED)
    before = signal.getsignal(signal.SIGTERM)

    def publish(staged: Staged, output: Path) -> None:
        (output / staged.files[0].name).write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

    monkeypatch.setattr(gear, "publish", publish)
    assert run(job(tmp_path)) == 143
    assert outputs(tmp_path) == set()
    assert signal.getsignal(signal.SIGTERM) is before


def test_metadata_the_platform_would_refuse_stop_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    staged_run(monkeypatch, Verdict.DEFACED)
    assert run(job(tmp_path, object={"classification": "not a mapping"})) == 1
    assert outputs(tmp_path) <= {".metadata.json"}
    assert "DOE" not in "".join(capfd.readouterr())


def test_defaults_come_from_the_manifest_under_the_options_of_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = staged_run(monkeypatch, Verdict.DEFACED)
    manifest = json.loads((REPOSITORY / "manifest.json").read_text())
    manifest["config"]["organ_margin_mm"]["default"] = 4.0
    manifest["config"]["image_type"]["default"] = "derived"
    folder = job(tmp_path, config={"image_type": "keep", "landmarks": None})
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert run(folder) == 0
    settings = calls[0][2]
    assert (settings.organ_margin_mm, settings.image_type, settings.landmarks) == (4.0, "keep", "auto")
    used = files_of(tmp_path)["CT info 1.dicom.zip"]["info"]["qc"]["hndeface"]["job_info"]["config"]
    assert (used["organ_margin_mm"], used["image_type"]) == (4.0, "keep")


@pytest.mark.parametrize("config", [{"method": "scissors"}, {"colour": "red"}, {"tag": ""}, {"tag": "a,b"}, {"seed": -1}])
def test_options_that_cannot_be_used_end_with_code_2_and_say_nothing_about_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]
) -> None:
    failing(monkeypatch, AssertionError("must not run"))
    assert run(job(tmp_path, config=config)) == 2
    assert outputs(tmp_path) == set()


def test_a_setting_refused_by_the_work_itself_is_code_2_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, SettingsError("Method x needs y."))
    assert run(job(tmp_path)) == 2
    assert outputs(tmp_path) == set()


def test_without_a_config_or_an_input_the_job_ends_with_code_3(tmp_path: Path) -> None:
    assert run(tmp_path) == 3
    (tmp_path / "config.json").write_text(
        json.dumps({"config": {}, "inputs": {}, "destination": {"type": "acquisition", "id": "a"}})
    )
    assert run(tmp_path) == 3


def test_an_input_that_is_not_where_config_says_is_looked_for_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = staged_run(monkeypatch, Verdict.DEFACED)
    folder = job(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["inputs"]["dicom"]["location"]["path"] = "/flywheel/v0/input/dicom/CT info 1.dicom.zip"
    del config["inputs"]["dicom"]["hierarchy"]
    (folder / "config.json").write_text(json.dumps(config))
    assert run(folder) == 0
    assert calls[0][0] == [folder / "input" / "dicom" / "CT info 1.dicom.zip"]
    (folder / "input" / "dicom" / "CT info 1.dicom.zip").unlink()
    assert run(folder) == 3


def test_every_optional_input_is_read_with_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = staged_run(monkeypatch, Verdict.DEFACED)
    folder = job(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    for name in ("companions", "rtstruct", "rtdose"):
        place = folder / "input" / name / f"{name}.dcm"
        place.parent.mkdir()
        place.write_bytes(b"x")
        config["inputs"][name] = {**config["inputs"]["dicom"], "location": {"name": place.name, "path": str(place)}}
    (folder / "config.json").write_text(json.dumps(config))
    assert run(folder) == 0
    assert [path.name for path in calls[0][0]] == ["CT info 1.dicom.zip", "rtstruct.dcm", "rtdose.dcm", "companions.dcm"]


def test_the_job_log_names_the_verdict_and_findings_but_no_file_and_no_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    staged_run(monkeypatch, Verdict.DEFACED, findings=(Finding(Level.WARNING, "target_in_zone", "PTV meets the zone."),))
    assert run(job(tmp_path, name="DOE_JANE.dicom.zip", config={"debug": True})) == 0
    told = "".join(capfd.readouterr())
    assert "Verdict: defaced" in told
    assert "target_in_zone: PTV meets the zone." in told
    assert "DOE" not in told
    assert not any(name.endswith(".log") for name in outputs(tmp_path))
