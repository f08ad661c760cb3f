"""The tree of errors and its exit codes, which people and schedulers rely on."""

import pytest

from fw_gear_hndeface import errors


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("HndefaceError", 1),
        ("SettingsError", 2),
        ("InputError", 3),
        ("DicomError", 3),
        ("GeometryError", 3),
        ("LandmarkError", 4),
        ("ProtectionError", 5),
        ("VerificationError", 6),
        ("PrivacyError", 7),
    ],
)
def test_exit_codes(name: str, code: int) -> None:
    kind = getattr(errors, name)
    assert kind.exit_code == code
    assert issubclass(kind, errors.HndefaceError)
    assert str(kind("A sentence.")) == "A sentence."


def test_broken_dicom_and_geometry_are_input_errors() -> None:
    assert issubclass(errors.DicomError, errors.InputError)
    assert issubclass(errors.GeometryError, errors.InputError)


def test_our_own_mistakes_are_not_in_the_tree() -> None:
    assert not issubclass(errors.HndefaceError, ValueError | TypeError)
