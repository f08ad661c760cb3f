"""Shears the face off along a plane under the brain, over the whole width of the head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from fw_gear_hndeface.errors import LandmarkError, ProtectionError
from fw_gear_hndeface.methods.contract import GIVEN, Bounds, Method, Scene
from fw_gear_hndeface.model import Float, Mask, Proposal
from fw_gear_hndeface.ops.fills import material
from fw_gear_hndeface.ops.morphology import dilate, erode
from fw_gear_hndeface.ops.near import filled, look_at_region, proposal
from fw_gear_hndeface.ops.resample import resample

#: The plane passes this far below the brain (10 voxels of 1 mm in the published method).
BUFFER_MM = 10.0
#: The published hull runs around the silhouette's outer edge, one voxel outside.
EDGE_MM = 1.0
#: A plane that takes more of the body in view has missed the face.
MOST_SHARE = 0.20
#: HU of brain, how far it is worn down to part it from neck and orbits, and what an adult or a child has of it, mL.
BRAIN_HU = (-10.0, 110.0)
WORN_MM = 8.0
#: Noise is evened out over this before brain is told from bone and fluid.
EVEN_MM = 3.0
BRAIN_ML = (600.0, 2200.0)
#: The front of the hyoid in the head frame, mm at scale 1: below and behind the chin.
HYOID_MM = np.array([0.0, 42.0, -120.0])
#: A nasion placed worse than this gives no plane.
SURE_MM = 8.0


@dataclass(frozen=True)
class Line:
    """A plane seen from the side: everything with z below `slope * y + rise_mm` goes; head frame, mm."""

    slope: float
    rise_mm: float


def propose(scene: Scene) -> Proposal:
    """Air (or another fill) below and before the plane, within the face region.

    Raises
    ------
    LandmarkError
        Neither a whole brain nor the root of the nose is there to lay the plane by.
    ProtectionError
        The plane would take more than a fifth of the body in view.
    """
    brain = find_brain(scene)
    line = line_by_landmarks(scene) if brain is None else line_under(_silhouette(brain, scene), BUFFER_MM)
    near, region = look_at_region(scene.scan, scene.frame)
    cut = region & (near.place(2) < line.slope * near.place(1) + line.rise_mm)
    _demand_little(scene, line)
    fill = "air" if scene.fill == "auto" else scene.fill
    values = material(fill, near, region & ~cut, np.random.default_rng(scene.seed))
    return proposal(scene.scan, near, filled(near, cut, values), METHOD.name)


def line_under(silhouette: Float, buffer_mm: float) -> Line:
    """The first side of the silhouette's lower convex hull, counted from the front, moved down by the buffer.

    Parameters
    ----------
    silhouette : (N, 2), y and z of the brain seen from the side, mm

    Source
    ------
    Schimke and Hale 2011; hull by Andrew's monotone chain.
    """
    ring = np.array([[-EDGE_MM, 0.0], [EDGE_MM, 0.0], [0.0, -EDGE_MM], [0.0, EDGE_MM]])
    points = (silhouette[:, None] + ring).reshape(-1, 2)
    hull: list[Float] = []
    for point in points[np.lexsort((points[:, 1], points[:, 0]))]:
        while len(hull) > 1 and _turn(hull[-2], hull[-1], point) <= 0.0:
            hull.pop()
        hull.append(point)
    (y0, z0), (y1, z1) = hull[0], hull[1]
    slope = float((z1 - z0) / (y1 - y0))
    return Line(slope, float(z0 - slope * y0 - buffer_mm))


def _turn(a: Float, b: Float, c: Float) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def line_by_landmarks(scene: Scene) -> Line:
    """The plane from behind and below the root of the nose to the hyoid, for scans without a whole cranium."""
    nasion = scene.landmarks.get("nasion")
    if nasion is None or nasion.sigma_mm > SURE_MM:
        raise LandmarkError(
            "quickshear: the cranium is not whole in this scan and the root of the nose is not known surely, so no plane can "
            "be laid. Add a structure set with both eyes, or take another method."
        )
    front = scene.frame.to_frame(nasion.point)[1:] + np.array([BUFFER_MM, -BUFFER_MM])
    back = HYOID_MM[1:] * scene.frame.scale
    slope = float((back[1] - front[1]) / (back[0] - front[0]))
    return Line(slope, float(front[1] - slope * front[0]))


def find_brain(scene: Scene) -> Mask | None:
    """The brain on the body's grid; None where the cranium is cut or no organ of its size is found."""
    head = resample(scene.scan, scene.body.grid)
    even = ndimage.gaussian_filter(head.array.astype(np.float32), EVEN_MM / head.grid.spacing_mm)
    soft = Mask(head.grid, (even > BRAIN_HU[0]) & (even < BRAIN_HU[1]) & scene.body.array, "soft tissue")
    worn = erode(soft, WORN_MM)
    labels, count = ndimage.label(worn.array)
    if count == 0:
        return None
    z = scene.frame.to_frame(head.grid.to_patient(np.argwhere(worn.array)))[:, 2]
    sizes = np.bincount(labels[worn.array], z > 0.0, minlength=count + 1)
    brain = dilate(Mask(head.grid, labels == int(sizes.argmax()), "brain"), WORN_MM) & soft
    low, high = (volume * scene.frame.scale**3 for volume in BRAIN_ML)
    points = head.grid.to_patient(np.argwhere(brain.array))
    whole = bool(np.all(scene.scan.grid.contains(points, margin_mm=-4.0)))
    return brain if whole and low <= brain.volume_ml <= high else None


def _silhouette(brain: Mask, scene: Scene) -> Float:
    """The brain seen from the side, as whole millimetres of the head frame's y and z."""
    seen = scene.frame.to_frame(brain.grid.to_patient(np.argwhere(brain.array)))[:, 1:]
    return np.unique(np.rint(seen), axis=0)


def _demand_little(scene: Scene, line: Line) -> None:
    body = scene.frame.to_frame(scene.body.grid.to_patient(np.argwhere(scene.body.array)))
    share = float(np.mean(body[:, 2] < line.slope * body[:, 1] + line.rise_mm)) if len(body) else 1.0
    if share > MOST_SHARE:
        raise ProtectionError(
            f"quickshear: the plane would take {100 * share:.0f} % of the body in view (most: {100 * MOST_SHARE:.0f} %). Take "
            "another method, or give a scan with the whole cranium."
        )


METHOD = Method(
    name="quickshear",
    reference="Schimke and Hale 2011, USENIX HealthSec (buffer in mm, air fill, plane by landmarks if the cranium is cut)",
    removes="everything before a plane under the brain, over the full width: nose, mouth, chin and the front of the jaw",
    leaks="the plane cuts mandible, submandibular glands and often the lenses and targets; the forehead stays",
    licence="own code, Apache-2.0; the published code is BSD-type",
    propose=propose,
    varies=False,
    bounds=Bounds(most_removed_ml=1200.0),
    rules=GIVEN,
)
