"""How much an archive may unpack to, declared and counted."""

from __future__ import annotations

from dataclasses import dataclass

from fw_gear_hndeface.errors import InputError
from fw_gear_hndeface.settings import Settings

MB = 1_000_000
RATIO_FREE_BYTES = 8 * MB
"""Below this size an archive may pack as tightly as it likes: a few slices of plain air do."""


@dataclass(frozen=True)
class Limits:
    """Bounds of one job's input; sizes in bytes."""

    members: int
    member_bytes: int
    total_bytes: int
    ratio: int
    nesting: int

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """The bounds an administrator set."""
        return cls(
            settings.max_members,
            settings.max_member_mb * MB,
            settings.max_total_mb * MB,
            settings.max_ratio,
            settings.max_nesting,
        )


class Budget:
    """What one job has unpacked so far; refuses the step that goes too far."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._members = 0
        self._total = 0

    def add_member(self, where: str, size: int) -> None:
        """Count one file of `size` bytes; InputError when it is one too many or too large."""
        self._members += 1
        self._total += size
        if self._members > self.limits.members:
            raise InputError(f"{where}: more than {self.limits.members} files. Split the input, or raise max_members.")
        if size > self.limits.member_bytes:
            raise InputError(f"{where}: a file of {size // MB} MB, expected {self.limits.member_bytes // MB} (max_member_mb).")
        if self._total > self.limits.total_bytes:
            raise InputError(f"{where}: the input unpacks to more than {self.limits.total_bytes // MB} MB (max_total_mb).")

    def check_ratio(self, where: str, packed: int, unpacked: int) -> None:
        """Refuse an archive that unpacks to far more than it is."""
        if unpacked > RATIO_FREE_BYTES and unpacked > self.limits.ratio * max(packed, 1):
            raise InputError(
                f"{where}: unpacks to more than {self.limits.ratio} times its size, which is how a zip bomb looks. "
                "If it is sound, raise max_ratio."
            )

    def check_stream(self, where: str, packed: int, unpacked: int) -> None:
        """Refuse a compressed stream while it is being unpacked, before it fills the disk."""
        self.check_ratio(where, packed, unpacked)
        if unpacked + self._total > self.limits.total_bytes:
            raise InputError(f"{where}: the input unpacks to more than {self.limits.total_bytes // MB} MB (max_total_mb).")
