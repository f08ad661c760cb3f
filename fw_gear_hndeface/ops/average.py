"""An average face as a relief over the surface spanned from the face's rim, carried from head to head by landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from fw_gear_hndeface.model import Bool, Float, Landmarks
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.front import HIGH_MM, LOW_MM, Front, around
from fw_gear_hndeface.ops.relief import Map, Rays, membrane, positions
from fw_gear_hndeface.vocabulary import CANONICAL_FACE_MM

#: Points on the skin that carry the relief; globes lie behind it and ears beside it.
CARRIERS = tuple(name for name in CANONICAL_FACE_MM if not name.startswith(("globe", "ear")))
#: Width of a pixel of the average, mm at scale 1.
PIXEL_MM = 2.0
#: The rim is smoothed as widely before a surface is spanned from it, mm at scale 1.
RIM_MM = 10.0


@dataclass(frozen=True, eq=False)
class Average:
    """Mean relief in the canonical head frame: rows go up, columns to the left, mm at scale 1; positive lies deeper."""

    relief: Map

    def at(self, x: Map, z: Map) -> Map:
        """The relief at canonical positions, mm; 0 outside."""
        index = [(z - LOW_MM[2]) / PIXEL_MM, (x - LOW_MM[0]) / PIXEL_MM]
        return np.asarray(ndimage.map_coordinates(self.relief, index, order=1, mode="constant"))


def spanned(front: Front, zone: Bool) -> Map:
    """The surface over a zone that knows nothing of the face in it: Laplace's membrane between the smoothed skin around."""
    rim = around(front, zone, RIM_MM * front.rays.frame.scale / front.rays.pixel_mm)
    return membrane(rim, zone & front.seen, stiff=False)


def relief_of(front: Front, zone: Bool, landmarks: Landmarks) -> Map:
    """A head's own relief over the spanned surface, carried to the canonical pixels, mm at scale 1."""
    scale = front.rays.frame.scale
    own = np.where(zone & front.seen, front.skin - spanned(front, zone), 0.0) / scale
    shape = np.ceil((HIGH_MM - LOW_MM) / PIXEL_MM).astype(int)
    x, z = (LOW_MM[axis] + PIXEL_MM * np.arange(shape[axis]) for axis in (0, 2))
    here, canonical = anchors(landmarks, front.rays.frame)
    place = carry(canonical, here, *np.meshgrid(x, z))
    return front.rays.lookup(own, place[..., 0], place[..., 1])


def canonical_positions(rays: Rays, landmarks: Landmarks) -> tuple[Map, Map]:
    """Canonical x and z, mm at scale 1, of every pixel of a patient's rays."""
    here, canonical = anchors(landmarks, rays.frame)
    x, z = np.broadcast_arrays(*positions(rays))
    place = carry(here, canonical, x, z)
    return place[..., 0], place[..., 1]


def anchors(landmarks: Landmarks, frame: HeadFrame) -> tuple[Float, Float]:
    """Matching (x, z) points in a patient's head frame (mm) and on the canonical face (mm at scale 1), (N, 2) each.

    Besides the landmarks there are points around the face that lie where the frame says, so that the warp ends there.
    """
    names = [name for name in CARRIERS if name in landmarks]
    here = frame.to_frame(landmarks.stack(names))[:, [0, 2]]
    canonical = np.array([CANONICAL_FACE_MM[name] for name in names]).reshape(-1, 3)[:, [0, 2]]
    ends = np.array([(x, z) for x in (-200.0, 0.0, 200.0) for z in (-260.0, -40.0, 180.0) if (x, z) != (0.0, -40.0)])
    return np.concatenate([here, ends * frame.scale]), np.concatenate([canonical, ends])


def carry(source: Float, target: Float, x: Map, z: Map) -> Float:
    """Where a piecewise affine map from source to target points takes positions, (..., 2)."""
    from scipy.interpolate import LinearNDInterpolator  # a tenth of a second to import, and only some methods need it

    return np.asarray(LinearNDInterpolator(source, target)(x, z))
