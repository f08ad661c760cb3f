"""New UIDs that are a keyed function of the old ones: same key and same input, same output, whichever job makes them."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from collections.abc import Iterable, Mapping


def new_uid(uid: str, key: bytes, role: str = "instance") -> str:
    """The UID that takes the place of `uid`, at most 44 characters.

    Parameters
    ----------
    uid : the identified object's UID
    key : secret of the site, or the built-in one
    role : 'instance' or 'series'; the same text in two roles gives two UIDs
    """
    digest = hmac.new(key, f"{role}|{uid}".encode(), hashlib.sha256).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"


def uid_map(instances: Iterable[str], series: Iterable[str], key: bytes) -> Mapping[bytes, bytes]:
    """Old to new for every object and series of a job, as stored in DICOM (without padding)."""
    pairs = {uid.encode(): new_uid(uid, key).encode() for uid in instances if uid}
    pairs |= {uid.encode(): new_uid(uid, key, "series").encode() for uid in series if uid}
    return pairs
