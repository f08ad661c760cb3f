"""NiiVue for the interactive view: found in an installed package and packed for a page that runs it only when asked."""

from __future__ import annotations

import base64
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from isal import igzip

#: The package that ships NiiVue as one module. It is never imported: only this file of it is read.
PACKAGE = "ipyniivue"
MODULE = ("static", "widget.js")


@dataclass(frozen=True)
class Viewer:
    """NiiVue ready for a page: the module, gzip and base64, and what its licence asks to be told."""

    module: str
    version: str
    licence: str


@cache
def find_viewer() -> Viewer | None:
    """NiiVue as the installed package ships it; None where the package is missing."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0], *MODULE)
    if not path.is_file():
        return None
    packed = igzip.compress(path.read_bytes(), 3, mtime=0)
    told = importlib.metadata.distribution(PACKAGE)
    licence = told.read_text("licenses/LICENSE") or ""
    return Viewer(base64.b64encode(packed).decode("ascii"), told.version, licence.strip())
