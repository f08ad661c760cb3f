"""A parametric head must be a face to a detector and somebody to a recogniser; otherwise every privacy test on it is empty."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from itertools import combinations

import dlib
import numpy as np
import pytest
from scipy import ndimage

from fw_gear_hndeface.synthetic.head import Scene, axial_grid, render_head
from fw_gear_hndeface.synthetic.parameters import HeadParameters

FRONT, SIDE = (0.0, 0.5, 1.0), (-0.3, 0.8, 0.8)


@cache
def depth(seed: int) -> np.ndarray:
    """Distance to the skin from the front, rows downwards, 1 mm pixels; a renderer of the test's own."""
    grid = axial_grid((2.0, 1.5, 1.5), "head", origin_lps=Scene().origin_lps).crop(
        (slice(0, 138), slice(0, 90), slice(20, 146))
    )
    head = render_head(HeadParameters.draw(seed), grid, with_dose=False)
    hu = head.volume.array[::-1].astype(np.float32)
    first = np.maximum((hu > -300).argmax(axis=1), 1)
    rows, columns = np.indices(first.shape)
    before, after = hu[rows, first - 1, columns], hu[rows, first, columns]
    away = (first - 1 + (-300 - before) / np.where(after == before, 1, after - before)) * 1.5
    away = np.where((hu > -300).any(axis=1), away, np.nan)
    return ndimage.zoom(np.nan_to_num(away, nan=140.0), (2.0, 1.5), order=1)


def picture(seed: int, light: tuple[float, float, float]) -> np.ndarray:
    relief = ndimage.zoom(ndimage.gaussian_filter(depth(seed), 0.8), 2, order=1)
    down, across = np.gradient(relief, 0.5)
    normal = np.stack([across, -down, np.ones_like(relief)], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    shade = np.clip(normal @ (np.array(light) / np.linalg.norm(light)), 0, 1)
    grey = np.where(relief < 139, 40 + 205 * shade, 0).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def score(seed: int) -> float:
    _, scores, _ = dlib.get_frontal_face_detector().run(picture(seed, FRONT), 1, -1.0)
    return max(scores, default=-9.0)


@pytest.mark.parametrize("seed", [1, 7, 12])
def test_a_detector_finds_the_face(seed: int) -> None:
    assert score(seed) > 0.3


@pytest.mark.slow
def test_nearly_every_head_is_found() -> None:
    scores = [score(seed) for seed in range(20)]
    assert min(scores) > 0.2, scores
    assert sum(s > 0.5 for s in scores) >= 18, scores
    assert np.median(scores) > 1.0


@cache
def _models() -> tuple[dlib.shape_predictor, dlib.face_recognition_model_v1]:
    files = {f.name: str(f.locate()) for f in metadata.files("face_recognition_models") or () if f.name.endswith(".dat")}
    points = dlib.shape_predictor(files["shape_predictor_68_face_landmarks.dat"])
    return points, dlib.face_recognition_model_v1(files["dlib_face_recognition_resnet_model_v1.dat"])


def embedding(seed: int, light: tuple[float, float, float]) -> np.ndarray:
    image, (points, recogniser) = picture(seed, light), _models()
    found, _, _ = dlib.get_frontal_face_detector().run(image, 1, -0.5)
    return np.array(recogniser.compute_face_descriptor(image, points(image, found[0]), 0))


@pytest.mark.slow
def test_a_recogniser_tells_heads_apart_and_knows_each_under_another_light() -> None:
    seeds = range(20)
    front = [embedding(seed, FRONT) for seed in seeds]
    same = [np.linalg.norm(embedding(seed, SIDE) - front[n]) for n, seed in enumerate(seeds)]
    strangers = [np.linalg.norm(a - b) for a, b in combinations(front, 2)]
    assert np.median(same) < 0.3
    assert max(same) < 0.42
    assert np.median(strangers) > 0.5
    assert np.percentile(strangers, 5) > np.median(same)
