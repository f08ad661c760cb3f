"""What both doors share: names of outputs, words for failures, QC states; and the key behind new UIDs."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from fw_gear_hndeface.doors import (
    VERDICT_WORDS,
    exit_code_of,
    frames_of,
    hush,
    keep_memory,
    passed,
    stem_of,
    words_for,
    words_of,
)
from fw_gear_hndeface.errors import InputError, SettingsError
from fw_gear_hndeface.keys import uid_key
from fw_gear_hndeface.model import Finding, Level, Verdict

ERROR = Finding(Level.ERROR, "privacy", "Matched.")
WARNING = Finding(Level.WARNING, "target", "Kept.")


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("CT_1.dicom.zip", "CT_1"),
        ("CT_1.dcm.zip", "CT_1"),
        ("CT 1.ZIP", "CT 1"),
        ("scan.tar.gz", "scan"),
        ("scan.tgz", "scan"),
        ("scan.tar.xz", "scan"),
        ("1.2.840.113619.dcm", "1.2.840.113619"),
        ("1.2.840.113619", "1.2.840.113619"),
        ("zip", "zip"),
        (".zip", "input"),
        ("../elsewhere/a.zip", "a"),
        ("", "input"),
    ],
)
def test_a_stem_is_the_name_without_archive_and_dicom_endings(name: str, stem: str) -> None:
    assert stem_of(name) == stem


def test_a_foreseen_error_speaks_for_itself_and_an_unforeseen_one_tells_its_type_only() -> None:
    assert words_for(InputError("The zip is encrypted.")) == "The zip is encrypted."
    told = words_for(ValueError("DOE^JANE"))
    assert "ValueError" in told
    assert "DOE" not in told
    assert "memory" in words_for(MemoryError())


def test_frames_hold_places_and_no_values() -> None:
    try:
        uid_key({"HNDEFACE_KEY_FILE": "/nowhere/DOE"})
    except SettingsError as error:
        told = frames_of(error)
    assert "keys.py:" in told
    assert "uid_key" in told
    assert "DOE" not in told


def test_exit_codes_follow_the_error() -> None:
    assert [exit_code_of(error) for error in (InputError(""), SettingsError(""), KeyError(""))] == [3, 2, 1]


@pytest.mark.parametrize(
    ("verdict", "findings", "state"),
    [
        (Verdict.DEFACED, (), "pass"),
        (Verdict.PARTIAL, (WARNING,), "pass"),
        (Verdict.DEFACED, (ERROR,), "fail"),
        (Verdict.NO_FACE, (WARNING,), "na"),
        (Verdict.ALREADY_DEFACED, (), "na"),
        (Verdict.REFUSED, (), "fail"),
    ],
)
def test_the_qc_state_follows_verdict_and_findings(verdict: Verdict, findings: tuple[Finding, ...], state: str) -> None:
    assert passed(verdict, findings) == state


def test_every_verdict_has_words() -> None:
    assert set(VERDICT_WORDS) == set(Verdict)
    assert words_of(Verdict.NO_FACE, ()) == VERDICT_WORDS[Verdict.NO_FACE]


def test_an_image_that_failed_a_check_is_not_called_fine() -> None:
    assert words_of(Verdict.DEFACED, (WARNING,)).endswith("every check passed.")
    assert "Do not share it" in words_of(Verdict.DEFACED, (WARNING, ERROR))


def test_warnings_that_quote_dicom_values_are_silenced(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        hush()
        warnings.warn("Invalid value for VR PN: 'DOE^JANE'", UserWarning, stacklevel=1)
        logging.getLogger("pydicom").warning("DOE^JANE")
    assert "DOE" not in "".join(capfd.readouterr())


def test_the_key_comes_from_the_file_named_by_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"a secret of this site\n")
    assert uid_key({"HNDEFACE_KEY_FILE": str(path)}) == b"a secret of this site"
    assert uid_key({}) == uid_key({"HNDEFACE_KEY_FILE": ""})
    assert len(uid_key({})) >= 16


@pytest.mark.parametrize("content", [None, b"", b"15 bytes exactly"[:15], b"x" * 4097])
def test_a_key_file_that_is_missing_or_of_a_wrong_size_is_refused_without_its_path(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "site-secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        uid_key({"HNDEFACE_KEY_FILE": str(path)})
    assert "site-secret" not in str(caught.value)


FAULTS = """
import resource
import numpy as np
from fw_gear_hndeface.doors import keep_memory
{first}
np.ones(2**23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(2**23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def new_pages(first: str) -> int:
    """Pages of memory that a process asks the system for while it makes ten arrays of 64 MB, one after the other."""
    done = subprocess.run([sys.executable, "-c", FAULTS.format(first=first)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_the_memory_of_freed_arrays_is_used_again() -> None:
    assert new_pages("keep_memory()") * 10 < new_pages("")


def test_other_systems_keep_their_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("no library is asked"))
    keep_memory()
