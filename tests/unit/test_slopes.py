"""A face is told by its slopes: carved deeper it is the same, tilted up it is nearly, somebody else's it is not."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.relief import Map, Rays, make_rays
from fw_gear_hndeface.privacy import slopes as made
from fw_gear_hndeface.privacy.slopes import (
    common,
    defaced_strangers,
    face_pixels,
    likenesses,
    match_shape,
    nearest_likeness,
    packed,
    slopes,
    strangers,
    unpacked,
)

FRAME = HeadFrame(np.zeros(3), np.eye(3), 1.1)


@cache
def rays() -> Rays:
    return make_rays(FRAME, np.array([-80.0, -90.0, -130.0]), np.array([80.0, 60.0, 60.0]), 1.5)


def face(seed: int) -> Map:
    """The depth of somebody: a plain bowl with bumps of noses' and cheeks' size, frame y in mm."""
    r = rays()
    x = r.low[0] + r.pixel_mm * np.arange(r.shape[1])[None, :]
    z = r.low[2] + r.pixel_mm * np.arange(r.shape[0])[:, None]
    rng = np.random.default_rng(seed)
    depth = (x**2 + (z + 40.0) ** 2) / 180.0 - 30.0
    for _ in range(16):
        at, width = rng.uniform((-45, -95), (45, 15)), rng.uniform(8, 16)
        depth = depth - rng.uniform(-16, 16) * np.exp(-((x - at[0]) ** 2 + (z - at[1]) ** 2) / (2 * width**2))
    return depth


def of(relief: Map) -> np.ndarray:
    found = slopes(rays(), relief)
    assert found is not None
    return found


def test_slopes_of_a_plane_are_its_own() -> None:
    r = rays()
    z = r.low[2] + r.pixel_mm * np.arange(r.shape[0])[:, None]
    found = of(np.broadcast_to(0.5 * z, r.shape).copy())
    assert np.nanmax(np.abs(found[0])) < 1e-6
    assert np.nanmedian(found[1]) == pytest.approx(0.5 / np.sqrt(1.25), abs=0.01)
    assert found.shape == (2, np.count_nonzero(face_pixels()))


def test_a_face_one_step_deeper_is_the_same_and_another_is_not() -> None:
    own = of(face(1))
    others = np.stack([of(face(seed)) for seed in range(2, 8)])
    assert likenesses(of(face(1) + 15.0), own[None])[0] == pytest.approx(1.0, abs=1e-6)
    assert likenesses(own, others).max() < 0.9
    half = of(0.5 * face(1) + 0.5 * face(9))
    assert likenesses(half, own[None])[0] > likenesses(half, others).max()


def test_what_is_not_seen_counts_as_average_and_little_is_no_face() -> None:
    partly = face(1).copy()
    partly[: 2 * rays().shape[0] // 5] = np.nan
    found = of(partly)
    own = of(face(1))
    assert np.isnan(found).any()
    assert 0.3 < likenesses(found, own[None])[0] < 1.0
    assert likenesses(own, found[None])[0] > 0.99, "against a partial original its own part is compared"
    partly[: 4 * rays().shape[0] // 5] = np.nan
    assert slopes(rays(), partly) is None


def test_where_the_scan_ends_there_is_no_face() -> None:
    r = rays()
    z = r.low[2] + r.pixel_mm * np.arange(r.shape[0])[:, None]
    cut = np.where(z > 0.0, face(1) + 1.5 * z, face(1))
    whole, part = of(face(1)), of(cut)
    gone = np.isnan(part[0]) & ~np.isnan(whole[0])
    assert 0.05 < gone.mean() < 0.4, "what recedes over the cut end is left out"
    assert likenesses(part, whole[None])[0] > 0.6
    deep = np.where(z > 10.0, 70.0, face(1))
    assert np.isnan(of(deep)[0]).mean() > 0.1, "so is what lies far behind the eyes"


def test_an_own_face_stands_out_of_the_strangers_and_the_average_does_not() -> None:
    own = of(face(1))
    told = match_shape(own, own)
    assert (told.rank, told.of) == (1, 1 + len(strangers()))
    assert told.likeness == pytest.approx(1.0)
    assert told.is_match()
    average = match_shape(np.nan_to_num(common()), own)
    assert not average.is_match()


def test_a_match_needs_rank_likeness_and_distance_from_strangers() -> None:
    for rank, likeness, z, expected in ((1, 0.6, 3.1, True), (2, 0.6, 3.1, False), (1, 0.4, 3.1, False), (1, 0.6, 2.9, False)):
        assert made.ShapeMatch(likeness, z, rank, 61).is_match() is expected
    assert not made.ShapeMatch(0.9, 3.1, 1, 61).is_match(4.2)
    assert not made.ShapeMatch(0.9, 5.0, 1, 61, beyond=2.9).is_match()
    assert made.ShapeMatch(0.9, 2.6, 1, 61, beyond=4.6).is_match(2.5, 4.5)
    assert not made.ShapeMatch(0.9, 2.6, 1, 61, beyond=4.4).is_match(2.5, 4.5)


def test_who_looks_like_the_plain_face_is_not_told_by_it_but_by_what_is_left_of_the_own() -> None:
    blank = np.nan_to_num(defaced_strangers()).mean(axis=0)
    detail = of(face(1)) - common()
    alike = blank + 0.6 * detail * np.nanstd(blank) / np.nanstd(detail)  # somebody whose face is nearly the plain one
    plain = match_shape(defaced_strangers()[7], alike)
    assert plain.likeness >= 0.5, "else the anchor shows nothing"
    assert plain.rank == 1
    assert plain.z >= 3.0
    assert plain.beyond < 3.0
    assert not plain.is_match()
    assert match_shape(alike, alike).is_match(), "the face itself is found all the same"
    assert match_shape(of(face(2)), of(face(2))).beyond > 8.0


def test_defaced_strangers_are_as_many_and_nearly_one_face() -> None:
    heads = defaced_strangers()
    assert heads.shape == strangers().shape
    each = np.array([np.delete(likenesses(head, heads), n).mean() for n, head in enumerate(heads)])
    assert np.median(each) > 0.7


def test_strangers_are_many_different_heads() -> None:
    heads = strangers()
    assert len(heads) == 60
    each = np.array([np.delete(likenesses(head, heads), n).max() for n, head in enumerate(heads)])
    assert np.quantile(each, 0.9) < 0.95, "no two are the same"
    assert np.abs(np.nanmean(heads)) < 1.0


def test_slopes_survive_a_file() -> None:
    found = of(face(3))
    found[:, 5] = np.nan
    back = unpacked(packed(found))
    np.testing.assert_allclose(back, found, atol=0.5 / 127 + 1e-9)
    assert np.isnan(back[:, 5]).all()


def test_the_most_like_guess_counts_for_everybody() -> None:
    gallery = {str(seed): of(face(seed)) for seed in range(4)}
    found = nearest_likeness([of(face(2)), of(face(3))], gallery)
    assert found["2"] == pytest.approx(1.0)
    assert found["3"] == pytest.approx(1.0)
    assert found["0"] < 0.95
    assert nearest_likeness([], gallery) == {}
