"""A scan laid over another image of the same head by a rigid motion, and how far the two skins then lie apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from fw_gear_hndeface.model import Float, Grid, Unit, Volume
from fw_gear_hndeface.ops.frame import HeadFrame, moved_head
from fw_gear_hndeface.ops.resample import AIR_HU, lps_grid, resample, sample
from fw_gear_hndeface.ops.skin import SKIN_HU
from fw_gear_hndeface.ops.transform import Affine

#: The lattice both images are looked at on, mm, and the one on which starts are tried.
STEP_MM, COARSE_MM = 2.5, 6.0
#: The part of the head that is matched, head frame mm at scale 1; without a face the whole scan is.
AROUND_MM = (np.array([-110.0, -70.0, -150.0]), np.array([110.0, 170.0, 110.0]))
#: Where skins are compared: the face.
FACE_MM = (np.array([-65.0, -60.0, -105.0]), np.array([65.0, 20.0, 35.0]))
#: HU between which tissues are told apart.
WINDOW_HU = (-300.0, 600.0)
#: Starts along the patient's axis, mm.
STARTS_MM = (-60.0, -30.0, 0.0, 30.0, 60.0)
#: A turn moves the rim of a head by about its angle times this, mm.
LEVER_MM = 80.0
#: Fine searches and the steps of each: every further one starts this far off the best and must come back to the same place.
SEARCHES, STEPS = 4, 150
AWAY_MM, AWAY_RAD = 4.0, 0.05
#: How far before and behind the skin the image's surface is looked for, mm.
REACH_MM = 25.0
#: Shares of Otsu's threshold at which the image's surface is looked for: in PET the brain outshines the skin.
SURFACE_SHARES = (0.05, 0.1, 0.2, 0.35, 0.6)
#: Most distance of the skins (nine tenths of the face), and of the two searches, mm.
MOST_SKIN_MM, MOST_SPREAD_MM = 5.0, 2.0


@dataclass(frozen=True, eq=False)
class Registered:
    """A rigid motion from the scan to the image, and how sure it is.

    Attributes
    ----------
    skin_mm : distance within which nine tenths of the scan's facial skin lie from the image's skin
    spread_mm : most distance, anywhere on the face, between two searches from different starts
    """

    transform: Affine
    skin_mm: float
    spread_mm: float

    @property
    def is_good(self) -> bool:
        """Whether a face may be changed by it."""
        return self.skin_mm <= MOST_SKIN_MM and self.spread_mm <= MOST_SPREAD_MM

    @property
    def words(self) -> str:
        """How good it is."""
        return f"skins within {self.skin_mm:.1f} mm, allowed {MOST_SKIN_MM:g}; searches {self.spread_mm:.1f} mm apart"

    def measures(self) -> dict[str, Any]:
        """Plain data for the report."""
        return {"skin_mm": round(self.skin_mm, 2), "spread_mm": round(self.spread_mm, 2)}


def register(scan: Volume, image: Volume, head: HeadFrame | None) -> Registered:
    """The rigid motion that lays a CT scan over another image, by mutual information.

    Parameters
    ----------
    scan : in HU
    image : of any kind and unit
    head : where the face lies in the scan

    Source
    ------
    Mattes et al. 2003 (mutual information), Viola and Wells 1997.
    """
    with _one_thread():
        return _registered(scan, image, head)


@contextmanager
def _one_thread() -> Iterator[None]:
    """SimpleITK on one thread: sums over samples depend on how they are shared out."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _registered(scan: Volume, image: Volume, head: HeadFrame | None) -> Registered:
    region = _region(scan.grid, head)
    fixed = {step: _fixed(scan, region, step) for step in (COARSE_MM, STEP_MM)}
    moving = {step: _moving(image, step) for step in (COARSE_MM, STEP_MM)}
    start = min(
        (_search(fixed[COARSE_MM], moving[COARSE_MM], _first(scan, image, region, up_mm), 40) for up_mm in STARTS_MM),
        key=_metric,
    )[0]
    found = [_search(fixed[STEP_MM], moving[STEP_MM], start, STEPS)]
    for _ in range(SEARCHES - 1):
        found.append(_search(fixed[STEP_MM], moving[STEP_MM], _beside(min(found, key=_metric)[0]), STEPS))
    best, again = (motion for motion, _ in sorted(found, key=_metric)[:2])
    one, other = _affine(best), _affine(again)
    skin = face_skin(scan, head)
    spread = float(np.linalg.norm(one(skin) - other(skin), axis=1).max()) if len(skin) else float("inf")
    apart = None if head is None else skin_apart(one(skin), moved_head(head, one), image, 90.0)
    return Registered(one, float("inf") if apart is None else apart, spread)


def _metric(found: tuple[sitk.Euler3DTransform, float]) -> float:
    return found[1]


def _region(grid: Grid, head: HeadFrame | None) -> Float:
    """LPS corners of the part of the scan that is matched."""
    if head is None:
        return grid.corners()
    inside, around = grid.corners(), head.corners(*(end * head.scale for end in AROUND_MM))
    low, high = np.maximum(around.min(axis=0), inside.min(axis=0)), np.minimum(around.max(axis=0), inside.max(axis=0))
    return np.array([low, high])


def _fixed(scan: Volume, region: Float, step_mm: float) -> sitk.Image:
    part = resample(scan, lps_grid(region, step_mm), outside=AIR_HU)
    return _image(Volume(part.grid, np.clip(part.array.astype(np.float32), *WINDOW_HU)))


def _moving(image: Volume, step_mm: float) -> sitk.Image:
    low, high = (float(value) for value in np.percentile(image.array[::2, ::2, ::2], (1.0, 99.5)))
    part = resample(image, lps_grid(image.grid.corners(), step_mm), outside=low)
    # the root tells tissues apart that a brain or tumour outshines tenfold in PET
    return _image(Volume(part.grid, np.sqrt(np.clip(part.array.astype(np.float32), low, high) - low)))


def _image(volume: Volume) -> sitk.Image:
    """An upright volume as SimpleITK sees it: in LPS mm."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.array))
    image.SetSpacing([float(step) for step in volume.grid.spacing_mm[::-1]])
    image.SetOrigin([float(value) for value in volume.grid.affine[:3, 3]])
    return image


def _first(scan: Volume, image: Volume, region: Float, up_mm: float) -> sitk.Euler3DTransform:
    """A start: the middle of the matched part over the middle of the image's head, and so far up."""
    middle = region.mean(axis=0)
    target = _head_middle(image)
    first = sitk.Euler3DTransform()
    first.SetCenter(middle.tolist())
    first.SetTranslation((target - middle + np.array([0.0, 0.0, up_mm])).tolist())
    return first


def _head_middle(image: Volume) -> Float:
    """The middle of what the image shows, LPS mm."""
    part = image.array[::2, ::4, ::4]
    shown = np.argwhere(part > threshold_otsu(part)) * np.array([2, 4, 4])
    points = image.grid.to_patient(shown)
    return np.asarray((np.percentile(points, 2.0, axis=0) + np.percentile(points, 98.0, axis=0)) / 2)


def _search(fixed: sitk.Image, moving: sitk.Image, start: sitk.Euler3DTransform, steps: int) -> tuple[Any, float]:
    """The best motion near a start, and its metric (lower is better)."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(40)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.15, 7)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(4.0, 0.02, steps, 0.6)
    method.SetOptimizerScales([LEVER_MM**2] * 3 + [1.0] * 3)
    method.SetNumberOfThreads(1)
    motion = sitk.Euler3DTransform(start)
    method.SetInitialTransform(motion, inPlace=True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:  # the images do not meet from this start
        return start, float("inf")
    return motion, float(method.GetMetricValue())


def _beside(motion: sitk.Euler3DTransform) -> sitk.Euler3DTransform:
    """A motion some way off another one."""
    away = sitk.Euler3DTransform(motion)
    away.SetTranslation([value + sign * AWAY_MM for value, sign in zip(motion.GetTranslation(), (1, -1, 1), strict=True)])
    away.SetRotation(motion.GetAngleX() + AWAY_RAD, motion.GetAngleY(), motion.GetAngleZ() - AWAY_RAD)
    return away


def _affine(motion: sitk.Euler3DTransform) -> Affine:
    matrix = np.eye(4)
    turn, centre = np.array(motion.GetMatrix()).reshape(3, 3), np.array(motion.GetCenter())
    matrix[:3, :3] = turn
    matrix[:3, 3] = centre + np.array(motion.GetTranslation()) - turn @ centre
    return Affine(matrix)


def face_skin(scan: Volume, head: HeadFrame | None) -> Float:
    """Points on the skin of the scan's face, (N, 3) LPS mm; none where nobody knows where the face lies."""
    if head is None:
        return np.empty((0, 3))
    grid = head.grid(FACE_MM[0] * head.scale, FACE_MM[1] * head.scale, 2.0)
    dense = resample(scan, grid).array > SKIN_HU
    hit = dense.any(axis=1)
    front = dense.argmax(axis=1)
    k, i = np.nonzero(hit & (front > 0))
    return grid.to_patient(np.column_stack([k, front[k, i], i]))


def skin_apart(skin: Float, head: HeadFrame, image: Volume, percent: float) -> float | None:
    """Distance from front to back within which so many per cent of skin points lie from an image's first surface, mm.

    None where the image shows less than half of the points; `REACH_MM` where it shows no surface there.
    """
    steps = np.arange(-REACH_MM, REACH_MM + 0.5, 1.0)
    ends = image.grid.contains(skin - REACH_MM * head.axes[1]) & image.grid.contains(skin)
    if np.count_nonzero(ends) < 0.5 * len(skin) or not len(skin):
        return None
    rays = skin[ends][:, None, :] + steps[:, None] * head.axes[1]
    air, levels = _levels(image)
    values = sample(image, rays, outside=air)
    apart = [_first_above(values, level, steps, steady=image.unit is not Unit.HU) for level in levels]
    return min(float(np.percentile(away, percent)) for away in apart)


def _first_above(values: NDArray[np.float32], level: float, steps: Float, *, steady: bool) -> Float:
    """How far from the middle of each ray it first lies above a level, mm; with `steady`, for two steps: ghosts are thin."""
    above = values > level
    if steady:
        above[:, :-1] &= above[:, 1:]
        above[:, -1] = False
    away = np.abs(steps[above.argmax(axis=1)])
    return np.asarray(np.where(above.any(axis=1), away, REACH_MM))


def _levels(image: Volume) -> tuple[float, tuple[float, ...]]:
    """What the image shows of air, and the levels at which its skin may lie."""
    if image.unit is Unit.HU:
        return AIR_HU, (SKIN_HU,)
    thin = image.array[::2, ::2, ::2]
    air, otsu = float(np.percentile(thin, 1.0)), float(threshold_otsu(thin))
    return air, tuple(air + share * (otsu - air) for share in SURFACE_SHARES)
