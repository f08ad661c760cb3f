"""The tree of errors and the exit code of each: what the world got wrong, said in one sentence.

A message says what, where, got, expected and what to do, and never names a patient, a date, a whole UID or a whole path.
Our own mistakes stay `ValueError` and `TypeError`.
"""

from __future__ import annotations

from typing import Any, ClassVar


class HndefaceError(Exception):
    """Any failure this software foresees; `exit_code` is what the process ends with, `findings` what was found before it."""

    exit_code: ClassVar[int] = 1
    findings: tuple[Any, ...] = ()


class SettingsError(HndefaceError):
    """A setting, an option or a command line that cannot be used."""

    exit_code = 2


class InputError(HndefaceError):
    """Input that cannot be read, is unsafe to read, or is not what was promised."""

    exit_code = 3


class DicomError(InputError):
    """A DICOM object that is broken or that we cannot decode."""


class GeometryError(InputError):
    """Slices, grids or frames of reference that do not fit together."""


class LandmarkError(HndefaceError):
    """A face is in view but cannot be placed surely enough to change it."""

    exit_code = 4


class ProtectionError(HndefaceError):
    """What must be kept and what must be changed cannot both be had."""

    exit_code = 5


class VerificationError(HndefaceError):
    """The result broke a promise: something outside the plan or inside a kept structure differs."""

    exit_code = 6


class PrivacyError(HndefaceError):
    """The result can still be matched to the original face."""

    exit_code = 7
