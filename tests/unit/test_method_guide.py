"""The method of docs/new-method.md works as it stands there, and the page names files and words that exist."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from fw_gear_hndeface.methods import Method
from tests.guides import REPOSITORY, blocks
from tests.scenes import Outcome, outcome, scene

PAGE = "docs/new-method.md"


@pytest.fixture(scope="module")
def method() -> Method:
    """What the page's file ends in."""
    (block,) = [block for block in blocks() if block.page == PAGE and block.kind == "python"]
    names: dict[str, Any] = {}
    exec(compile("\n".join(block.lines), "veil.py", "exec"), names)
    assert isinstance(names["METHOD"], Method)
    return names["METHOD"]


@pytest.fixture(scope="module")
def made(method: Method) -> Outcome:
    here = scene(plain=False)
    return outcome(here, method.propose(here))


def test_it_changes_what_it_says_and_removes_nothing(method: Method, made: Outcome) -> None:
    assert made.proposal.method == method.name == "veil"
    added = made.changed & (made.before < -300) & (made.after == 40.0)
    removed = made.changed & (made.before > -300) & (made.after < -300)
    assert made.ml(added) > 20.0
    assert not removed.any()


def test_the_layer_is_eight_millimetres_deep(made: Outcome) -> None:
    air = made.before < -300
    from_skin = ndimage.distance_transform_edt(air, sampling=scene(plain=False).scan.grid.spacing_mm)
    farthest = np.percentile(from_skin[made.changed & air], 99)
    assert 6.0 < farthest < 11.0


def test_the_page_names_files_and_words_that_exist() -> None:
    text = (REPOSITORY / PAGE).read_text(encoding="utf-8")
    files = set(re.findall(r"`((?:fw_gear_hndeface|tests)/[a-z_/]+(?:\.py)?)`", text)) - {"fw_gear_hndeface/methods/veil.py"}
    files |= set(re.findall(r"tests/[a-z_/]+(?:\.py)?", text))
    assert len(files) >= 4
    assert all((REPOSITORY / name).exists() for name in files), files
    assert "REGISTRY" in (REPOSITORY / "fw_gear_hndeface/methods/__init__.py").read_text()
    assert "METHOD_NAMES" in (REPOSITORY / "fw_gear_hndeface/vocabulary.py").read_text()
