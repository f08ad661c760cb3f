"""Files that are there in full or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
from pathlib import Path

#: Permissions of what only its owner may read.
PRIVATE = 0o600


def sync_file(path: Path) -> None:
    """Wait until a file's bytes lie on the disk."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder lie on the disk; where folders cannot be opened the system does it by itself."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        return  # some network file systems refuse this and write names through
    finally:
        os.close(handle)


def write_whole(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Put the bytes under their name at once: written beside it, synced, renamed.

    Parameters
    ----------
    mode : permissions of the file, less what the process masks.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)
