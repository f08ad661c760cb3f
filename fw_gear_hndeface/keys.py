"""The secret behind new UIDs. Its value is never printed, logged or written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from fw_gear_hndeface.errors import SettingsError

#: Names the file with a site's own key.
KEY_FILE_VARIABLE = "HNDEFACE_KEY_FILE"

_SHORTEST = 16
_LONGEST = 4096
_BUILT_IN = b"hndeface: public key; new UIDs can be recomputed by anyone who knows the old ones"


def uid_key(environment: Mapping[str, str] | None = None) -> bytes:
    """The key that old UIDs are hashed with.

    From the file named by ``HNDEFACE_KEY_FILE``; without one, a built-in key, which everybody has: whoever knows an original
    UID can then compute the new one. A site that minds sets its own file, and the same file for all parts of a study.

    Raises
    ------
    SettingsError
        The file cannot be read, or holds fewer than 16 or more than 4096 bytes.
    """
    named = (os.environ if environment is None else environment).get(KEY_FILE_VARIABLE, "")
    if not named:
        return _BUILT_IN
    try:
        key = Path(named).read_bytes().strip()
    except OSError as error:
        raise SettingsError(f"{KEY_FILE_VARIABLE}: the key file cannot be read ({error.strerror}).") from error
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise SettingsError(
            f"{KEY_FILE_VARIABLE}: got {len(key)} bytes, expected {_SHORTEST} to {_LONGEST}. "
            "Make a key file with: head -c 32 /dev/urandom > KEYFILE"
        )
    return key
