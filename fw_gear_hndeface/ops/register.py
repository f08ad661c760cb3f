"""A scan laid over another image of the same head by a rigid motion, and how far the two skins then lie apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from fw_gear_hndeface.model import Bool, Float, Grid, Volume
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.morphology import distance_mm
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
#: Fine searches and the steps of each: every further one starts this far off the best and must come back to the same place.
SEARCHES, STEPS = 4, 150
AWAY_MM, AWAY_RAD = 4.0, 0.05
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
    skin = _skin(scan, head)
    spread = float(np.linalg.norm(one(skin) - other(skin), axis=1).max()) if len(skin) else float("inf")
    return Registered(one, _apart(one(skin), image), spread)


def _metric(found: tuple[sitk.Euler3DTransform, float]) -> float:
    return found[1]


def _region(grid: Grid, head: HeadFrame | None) -> Float:
    """LPS corners of the part of the scan that is matched."""
    if head is None:
        return grid.corners()
    low, high = (end * head.scale for end in AROUND_MM)
    corners = head.to_patient(np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T)
    inside, around = grid.corners(), corners
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
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetNumberOfThreads(1)  # the sum over samples depends on how they are shared out
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


def _skin(scan: Volume, head: HeadFrame | None) -> Float:
    """Points on the skin of the scan's face, (N, 3) LPS mm; none where nobody knows where the face lies."""
    if head is None:
        return np.empty((0, 3))
    grid = head.grid(FACE_MM[0] * head.scale, FACE_MM[1] * head.scale, 2.0)
    dense = resample(scan, grid).array > SKIN_HU
    hit = dense.any(axis=1)
    front = dense.argmax(axis=1)
    k, i = np.nonzero(hit & (front > 0))
    return grid.to_patient(np.column_stack([k, front[k, i], i]))


def _apart(skin: Float, image: Volume) -> float:
    """Distance within which nine tenths of skin points lie from the surface of what an image shows, mm."""
    if not len(skin):
        return float("inf")
    seen = image.grid.contains(skin)
    if np.count_nonzero(seen) < 0.5 * len(skin):
        return float("inf")
    grid = lps_grid(np.array([skin.min(axis=0), skin.max(axis=0)]), 1.5, margin_mm=25.0)
    part = resample(image, grid, outside=float(image.array.min())).array.astype(np.float32)
    return min(_beside_surface(skin[seen], grid, _shown(part, image, share)) for share in SURFACE_SHARES)


def _beside_surface(skin: Float, grid: Grid, inside: Bool) -> float:
    if not inside.any() or inside.all():
        return float("inf")
    step = float(grid.spacing_mm[0])
    away = np.where(inside, distance_mm(inside, grid.spacing_mm), distance_mm(~inside, grid.spacing_mm)) - step / 2
    return float(np.percentile(sample(Volume(grid, away), skin, outside=25.0), 90.0))


def _shown(part: NDArray[np.float32], image: Volume, share: float) -> Bool:
    """What an image shows of a head, with what it encloses: above a share of Otsu's threshold."""
    thin = image.array[::2, ::2, ::2]
    low = float(np.percentile(thin, 1.0))
    level = low + share * (float(threshold_otsu(thin)) - low)
    return np.asarray(ndimage.binary_fill_holes(ndimage.gaussian_filter(part, 0.7) > level), dtype=np.bool_)
