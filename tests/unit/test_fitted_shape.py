"""The face shape on cut heads: found without eyes, without bone, tilted; and not on necks, chests and vaults."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fw_gear_hndeface.landmarks.contract import Evidence
from fw_gear_hndeface.landmarks.fitted_shape import SOURCE, fit
from fw_gear_hndeface.model import Landmarks, Volume
from fw_gear_hndeface.ops.head import head_windows
from fw_gear_hndeface.synthetic.head import SyntheticHead
from tests import phantom as make
from tests.chain import SEED

SHOWN = ("mouth_left", "mouth_right", "lip_lower", "chin")


def answer(head: SyntheticHead) -> Landmarks:
    return SOURCE.locate(Evidence(next(head_windows(head.volume))))


def worst_mm(found: Landmarks, head: SyntheticHead, names: tuple[str, ...] = SHOWN) -> float:
    return max(float(np.linalg.norm(found[name].point - head.landmarks[name].point)) for name in names)


@pytest.mark.parametrize(("at", "most_mm"), [("below_eyes", 16.0), ("below_nose", 22.0)])
def test_a_cut_face_is_placed_by_what_is_left_of_it(at: str, most_mm: float) -> None:
    head = make.cut(make.phantom(SEED, plain=True), at)
    assert worst_mm(answer(head), head) < most_mm


def test_no_bone_is_needed() -> None:
    """Rendered heads, casts and babies' jaws have none where the profile looks for it."""
    head = make.cut(make.phantom(SEED, plain=True), "below_eyes")
    soft = Volume(head.volume.grid, np.minimum(head.volume.array, 60))
    assert worst_mm(answer(replace(head, volume=soft)), head) < 16.0


def test_a_tilted_head_is_found_where_it_lies() -> None:
    head = make.posed(22.0, 9.0, -8.0)
    assert worst_mm(answer(head), head, ("globe_left", "globe_right", *SHOWN)) < 22.0


@pytest.mark.parametrize("piece", ["neck", "vault"])
def test_what_holds_no_face_is_none(piece: str) -> None:
    head = make.phantom(SEED, plain=True)
    grid = head.volume.grid
    name, above_mm = ("chin", -14.0) if piece == "neck" else ("brow_left", 14.0)
    k = int(grid.to_index(head.landmarks[name].point + np.array([0.0, 0.0, above_mm]))[0])
    rows = slice(0, k) if piece == "neck" else slice(k, grid.shape[0])
    part = make.crop(head, (rows, slice(0, grid.shape[1]), slice(0, grid.shape[2])))
    found = SOURCE.locate(Evidence(next(head_windows(part.volume))))
    assert len(found) == 0 or min(mark.sigma_mm for mark in found.values()) > 12.0


def test_what_is_less_of_a_face_is_less_sure() -> None:
    whole = fit(next(head_windows(make.phantom(SEED, plain=True).volume)))
    cut = fit(next(head_windows(make.cut(make.phantom(SEED, plain=True), "below_nose").volume)))
    assert whole is not None
    assert cut is not None
    assert whole.misfit < cut.misfit < 1.0
    assert replace(whole, misfit=0.95).sigma_mm == np.inf
    assert replace(whole, misfit=0.85, relief=0.2).sigma_mm == np.inf
    assert replace(whole, misfit=0.75, relief=0.0).sigma_mm > 12.0, "no run accepts it by default"
    tiny = whole.values.copy()
    tiny[6] = np.log(0.4)
    assert replace(whole, values=tiny).sigma_mm == np.inf, "smaller than anybody"
