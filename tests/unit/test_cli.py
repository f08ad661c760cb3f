"""The command line with a stand-in for the work behind it: words, exit codes, and no name of an input file anywhere."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fw_gear_hndeface import cli, pipeline
from fw_gear_hndeface.errors import DicomError, LandmarkError
from fw_gear_hndeface.model import Finding, Level, Result, Verdict
from fw_gear_hndeface.pipeline import Staged

FINDINGS = (
    Finding(Level.INFO, "junk_ignored", "2 files are no DICOM."),
    Finding(Level.WARNING, "target_in_zone", "PTV meets the face zone."),
    Finding(Level.ERROR, "privacy", "The result can be matched."),
)


def stand_in(monkeypatch: pytest.MonkeyPatch, verdict: Verdict = Verdict.DEFACED, code: int = 0) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []

    def deface(inputs: Any, work: Path, stem: str, settings: Any, *, key: bytes, on_progress: Callable[..., None]) -> Staged:
        calls.append({"inputs": list(inputs), "stem": stem, "settings": settings, "key": key, "work": work})
        on_progress("read", 0.25)
        on_progress("change", 0.75)
        files = [work / f"{stem}_hndeface.qa.html"]
        if verdict is Verdict.DEFACED:
            files.append(work / f"{stem}_hndeface.dicom.zip")
        for path in files:
            path.write_text("x")
        return Staged(Result(verdict, None, FINDINGS, {}), tuple(files), code)

    monkeypatch.setattr(pipeline, "deface", deface)
    return calls


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(pipeline, "deface", fail)


def test_run_passes_inputs_settings_and_key_on_and_publishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in(monkeypatch)
    key = tmp_path / "key"
    key.write_bytes(b"0123456789abcdef0123")
    monkeypatch.setenv("HNDEFACE_KEY_FILE", str(key))
    output = tmp_path / "new" / "out"
    arguments = ["run", "a.dicom.zip", "b.dcm", "-o", str(output), "--method", "membrane"]
    assert cli.main([*arguments, "--set", "image_type=keep", "--set", "organ-margin-mm = 2.5"]) == 0
    assert calls[0]["inputs"] == [Path("a.dicom.zip"), Path("b.dcm")]
    assert calls[0]["stem"] == "a"
    assert (calls[0]["settings"].image_type, calls[0]["settings"].organ_margin_mm) == ("keep", 2.5)
    assert calls[0]["key"] == b"0123456789abcdef0123"
    assert {path.name for path in output.iterdir()} == {"a_hndeface.qa.html", "a_hndeface.dicom.zip"}
    assert not calls[0]["work"].exists(), "the work folder holds images and must go"


def test_the_verdict_warnings_and_the_place_are_told_and_no_input_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch)
    assert cli.main(["run", "DOE^JANE.zip", "-o", str(tmp_path)]) == 0
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[0] == "defaced: An image was written although a check failed. Do not share it before a person has looked."
    assert "warning target_in_zone: PTV meets the face zone." in lines
    assert "error privacy: The result can be matched." in lines
    assert not any("junk_ignored" in line for line in lines)
    assert str(tmp_path) in lines[-1]
    assert "DOE" not in told.out + told.err
    assert told.err == "", "no progress bar where there is no terminal"


@pytest.mark.parametrize("verdict", [Verdict.PARTIAL, Verdict.NO_FACE, Verdict.ALREADY_DEFACED])
def test_every_verdict_that_needs_nobody_is_exit_code_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: Verdict
) -> None:
    stand_in(monkeypatch, verdict)
    assert cli.main(["run", "a.zip", "-o", str(tmp_path)]) == 0


def test_a_refusal_keeps_its_reports_and_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, Verdict.REFUSED, LandmarkError.exit_code)
    assert cli.main(["run", "a.zip", "-o", str(tmp_path)]) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["a_hndeface.qa.html"]


def test_a_foreseen_failure_is_its_sentence_and_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, DicomError("CT series 3: 5 bytes of PixelData, expected 10."))
    assert cli.main(["run", "a.zip", "-o", str(tmp_path)]) == 3
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "hndeface: CT series 3: 5 bytes of PixelData, expected 10.\n"


@pytest.mark.parametrize("debug", [False, True])
def test_an_unforeseen_failure_is_one_sentence_without_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], debug: bool
) -> None:
    failing(monkeypatch, KeyError("DOE^JANE 1961-02-03"))
    extra = ["--set", "debug=true"] if debug else []
    assert cli.main(["run", "a.zip", "-o", str(tmp_path), *extra]) == 1
    told = capsys.readouterr().err
    assert "Unexpected KeyError in cli.py, line" in told
    assert "DOE" not in told
    assert "1961" not in told
    assert "Traceback" not in told
    assert (len(told.splitlines()) == 1) is not debug
    assert ("cli.py:" in told) is debug


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["run"],
        ["run", "a.zip"],
        ["run", "a.zip", "-o"],
        ["run", "a.zip", "-o", "OUT", "--set", "image_type"],
        ["run", "a.zip", "-o", "OUT", "--set", "colour=red"],
        ["run", "a.zip", "-o", "OUT", "--set", "image_type=pointed"],
        ["run", "a.zip", "-o", "OUT", "--set", "seed=1.5"],
        ["run", "a.zip", "-o", "OUT", "--method", "scissors"],
        ["run", "a.zip", "-o", "OUT", "--fast"],
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    failing(monkeypatch, AssertionError("must not run"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [], "nothing is made for a command that cannot run"


def test_a_file_name_in_the_wrong_place_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["DOE^JANE.zip"], ["methods", "DOE^JANE.zip"]):
        assert cli.main(arguments) == 2
    assert "DOE" not in capsys.readouterr().err


def test_ctrl_c_is_130_without_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    assert cli.main(["run", "a.zip", "-o", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "hndeface: Stopped; nothing was left half-written.\n"


def test_sigterm_clears_the_work_folder_and_is_143(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []

    def deface(_inputs: Any, work: Path, *_: Any, **__: Any) -> None:
        seen.append(work)
        (work / "half.zip").write_bytes(b"x")
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

    monkeypatch.setattr(pipeline, "deface", deface)
    assert cli.main(["run", "a.zip", "-o", str(tmp_path)]) == 143
    assert not seen[0].exists()
    assert list(tmp_path.iterdir()) == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("quiet", [False, True])
def test_progress_is_shown_on_a_terminal_unless_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quiet: bool) -> None:
    stand_in(monkeypatch)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert cli.main(["run", "a.zip", "-o", str(tmp_path), *(["--quiet"] if quiet else [])]) == 0
    assert ("change" in terminal.getvalue()) is not quiet


def test_methods_are_listed_for_people_and_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["methods"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("membrane\n  changes  ")
    for word in ("  leaves   ", "  source   ", "  licence  ", "iBUG 300-W, whose terms forbid commercial use"):
        assert word in told
    assert cli.main(["methods", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["name"] == "membrane"
    assert all(row["removes"] and row["leaks"] and row["licence"] for row in rows)
    assert rows[0]["missing"] is None
    assert all(row["reference"] and "300-W" in row["models"] for row in rows)


def test_help_and_version_are_0(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["run", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        assert stop.value.code == 0
    assert "exit codes" in capsys.readouterr().out
