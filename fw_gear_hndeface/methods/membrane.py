"""The default method: a plain face that is nobody's, laid in front of bone and of everything kept.

The new skin is one smooth surface, the same for everybody but for size, moved forward as one piece until hardly anything of the
head stands out through it and little tissue is lost behind it. Only its rim follows the patient's own skin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from skimage.draw import polygon2mask

from fw_gear_hndeface.methods.contract import Method, Scene
from fw_gear_hndeface.model import Float, Grid, Proposal, Volume
from fw_gear_hndeface.ops.front import HIGH_MM, LOW_MM, bone_front, patient_alone
from fw_gear_hndeface.ops.parts import features
from fw_gear_hndeface.ops.plain_face import plain_face
from fw_gear_hndeface.ops.relief import (
    Map,
    Rays,
    along_rays_mm,
    fill_nearest,
    first_crossing,
    first_inside,
    make_rays,
    positions,
    smooth_inside,
)
from fw_gear_hndeface.ops.resample import resample, resample_mask
from fw_gear_hndeface.ops.resurface import SHELL_MM, SKIN_LAYER_MM, Surfacing, resurface
from fw_gear_hndeface.ops.skin import SKIN_HU
from fw_gear_hndeface.ops.texture import measure_texture

#: A ray that was outside the scan's slices so shortly before it met tissue came over their end, mm.
END_MM = 2.0
#: Where facial nodes (level IX) may lie: beside the mouth and the nose up to the masseter, from the orbits to the lower edge of
#: the jaw, by |x| and z of the head frame at scale 1, and so deep under the skin; mm (methods.md 5).
CHEEK_X_MM, CHEEK_Z_MM, NODES_MM = (25.0, 62.0), (-105.0, -18.0), (5.0, 20.0)


@dataclass(frozen=True)
class Shape:
    """Numbers of the new surface, mm at scale 1 (our own trials, docs/default-method.md)."""

    eyes_mm: float = 14.0
    nose_mm: float = 17.5
    mouth_mm: float = 14.0
    hull_mm: float = 34.0
    fade_mm: float = 16.0
    random_mm: float = 1.5
    random_lengths_mm: tuple[float, float] = (26.0, 40.0)
    out_share: float = 0.01
    most_removed_ml: float = 20.0
    most_node_share: float = 0.015
    least_moved_mm: float = 7.0
    most_forward_mm: float = 24.0
    bone_hu: float = 250.0
    bone_margin_mm: float = 3.0
    keep_margin_mm: float = 2.0
    blunt_mm: float = 10.0
    level_mm: float = 20.0
    most_level_mm: float = 10.0
    level_fade_mm: float = 6.0
    globe_mm: float = 15.0


@dataclass(frozen=True, eq=False)
class Face:
    """The old face as maps over the rays: skin, whether a ray meets skin, and the front of what may not be cut.

    `thickness` is that of the scan's voxels along the rays, mm.
    """

    rays: Rays
    head: Volume
    skin: Map
    seen: NDArray[np.bool_]
    obstacle: Map
    thickness: float = 1.0

    def canonical_skin(self, x_mm: Float, z_mm: Float) -> Map:
        """Depth of the skin at canonical positions x (X,) and z (Z,), mm at scale 1, (Z, X); NaN where none is seen."""
        scale = self.rays.frame.scale
        x, z = np.meshgrid(x_mm * scale, z_mm * scale)
        seen = self.rays.lookup(self.seen.astype(np.float64), x, z) > 0.99
        return np.where(seen, self.rays.lookup(self.skin, x, z) / scale, np.nan)


def propose(scene: Scene, shape: Shape | None = None) -> Proposal:
    """The change that gives the scene's face a new surface."""
    shape = shape or Shape()
    face = read_face(scene, shape)
    core, hull = zones(face.rays, scene, shape)
    new = new_surface(face, hull, scene, shape)
    texture = measure_texture(scene.scan, face.head, face.rays, face.skin, hull & face.seen)
    surfacing = Surfacing(face.rays, face.skin, new, hull, face.seen, floor(face, new, core, scene, shape))
    return resurface(scene.scan, surfacing, texture, seed=scene.seed, method=METHOD.name)


def read_face(scene: Scene, shape: Shape) -> Face:
    """Skin, bone and kept structures as seen from in front."""
    scale = scene.frame.scale
    rays = make_rays(scene.frame, LOW_MM * scale, HIGH_MM * scale)
    raw = resample(scene.scan, rays.grid)
    head = patient_alone(raw, [scene.body])
    skin = first_crossing(rays, head, SKIN_HU)
    seen = np.isfinite(skin) & (skin < _deepest_face(rays, scale)) & ~_over_the_end(rays, skin, scene.scan.grid)
    fronts = [
        bone_front(rays, head, shape.bone_hu) - shape.bone_margin_mm * scale,
        first_inside(rays, resample_mask(scene.keep, rays.grid)) - shape.keep_margin_mm * scale,
    ]
    thickness = along_rays_mm(scene.scan.grid, scene.frame)
    return Face(rays, raw, fill_nearest(np.where(seen, skin, np.nan)), seen, np.minimum(*fronts), thickness)


def _deepest_face(rays: Rays, scale: float) -> Map:
    """How deep skin can lie and still be face: behind that, a ray passed over the cut end of the scan into neck or spine."""
    x = np.abs(positions(rays)[0])
    return np.broadcast_to(scale * 45.0 + 0.5 * np.maximum(x - 35.0 * scale, 0.0), rays.shape)


def _over_the_end(rays: Rays, skin: Map, grid: Grid) -> NDArray[np.bool_]:
    """Rays that enter through the first or last slice of the scan: what they meet is a cut, not skin."""
    x, z = positions(rays)
    before = np.stack(np.broadcast_arrays(x, np.nan_to_num(skin) - END_MM, z), axis=-1)
    k = grid.to_index(rays.frame.to_patient(before))[..., 0]
    return np.asarray((k < 0.0) | (k > grid.shape[0] - 1.0))  # beyond the last centre there is nothing to interpolate


def _fade(face: Face, hull: NDArray[np.bool_], shape: Shape, scale: float) -> Map:
    """How much the new surface counts: none at the rim of the hull and beside the head, all of it further in.

    At the cut end of a scan it counts in full: what is left of a face there must not show.
    """
    x = np.abs(positions(face.rays)[0])
    beside = ~face.seen & (x > 45.0 * scale)
    near = np.clip(ndimage.distance_transform_edt(hull & ~beside) / (shape.fade_mm * scale), 0.0, 1.0)
    return np.asarray(near * near * (3.0 - 2.0 * near))


def zones(rays: Rays, scene: Scene, shape: Shape) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The identity zone (brows and eyes, nose, mouth) and the whole face around it, as maps."""
    grow, scale = scene.strength, scene.frame.scale

    def part(names: tuple[str, ...], margin: float) -> NDArray[np.bool_]:
        return _hull(rays, _flat(scene, names), margin * scale * grow)

    eyes = part(("brow_left", "brow_right", "canthus_outer_left", "canthus_outer_right", "nasion"), shape.eyes_mm)
    under = _flat(scene, ("globe_left", "globe_right")) - np.array([0.0, 16.0 * scale])
    eyes |= _hull(rays, np.concatenate([under, _flat(scene, ("canthus_outer_left", "canthus_outer_right"))]), 10.0 * scale)
    nose = part(("nasion", "nose_tip", "ala_left", "ala_right", "subnasale"), shape.nose_mm)
    mouth = part(("mouth_left", "mouth_right", "lip_upper", "lip_lower"), shape.mouth_mm)
    core = eyes | nose | mouth
    rim = ("brow_left", "brow_right", "canthus_outer_left", "canthus_outer_right", "jaw_left", "jaw_right", "chin")
    return core, part(rim, shape.hull_mm) | core


def _flat(scene: Scene, names: tuple[str, ...]) -> Float:
    points = [scene.landmarks[n].point if n in scene.landmarks else scene.frame.canonical(n) for n in names]
    return np.asarray(scene.frame.to_frame(np.array(points))[:, [0, 2]])


def _hull(rays: Rays, points: Float, margin_mm: float) -> NDArray[np.bool_]:
    """Convex hull of frame (x, z) points grown by a margin, as a map."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = margin_mm * np.column_stack([np.cos(angles), np.sin(angles)])
    cloud = np.asarray((points[:, None] + circle).reshape(-1, 2))
    rim = cloud[ConvexHull(cloud).vertices]
    row, column = rays.pixels(rim[:, 0], rim[:, 1])
    return np.asarray(polygon2mask(rays.shape, np.column_stack([row, column])))


def new_surface(face: Face, hull: NDArray[np.bool_], scene: Scene, shape: Shape) -> Map:
    """Frame y of the new skin over the whole map; equal to the old skin outside the hull."""
    scale = scene.frame.scale
    fade = _fade(face, hull, shape, scale)
    plain = plain_face(face.rays) + scene.strength * shape.random_mm * _wander(face.rays, scene, shape)
    plain -= forward_mm(plain, face, fade, features(face.rays, scene.landmarks), shape)
    new = fade * plain + (1.0 - fade) * face.skin
    new = _raised(smooth_inside(new, np.ones_like(new), 2.0 * scale), face.obstacle, shape.blunt_mm * scale)
    return np.where(hull, new, face.skin)


def forward_mm(plain: Map, face: Face, fade: Map, telling: NDArray[np.bool_], shape: Shape) -> float:
    """How far the plain face must come forward as a whole, mm.

    Far enough that bone and what is kept stand out through all but a small share of it, that little tissue is lost, hardly any
    where facial nodes lie, and that the skin of what tells people apart (`telling`: eyes, nose, mouth) is somewhere else. One
    number says next to nothing about a face; fitting the surface to the face in any other way would.
    """
    scale, inner = face.rays.frame.scale, (fade > 0.9) & face.seen
    if not inner.any():
        return 0.0
    out = (plain - np.where(np.isfinite(face.obstacle), face.obstacle, 1e6))[inner]
    least = max(float(np.quantile(out, 1.0 - shape.out_share)), -shape.most_forward_mm * scale)
    node_share, telling = _node_share(face), telling & face.seen

    def is_enough(forward: float) -> bool:
        moved = np.minimum(fade * (plain - forward - face.skin), face.obstacle - face.skin)
        cut = np.maximum(moved, 0.0)
        lost_ml = float(cut[face.seen].sum()) * face.rays.pixel_mm**2 / 1000.0
        if lost_ml > shape.most_removed_ml * scale**3 or node_share(cut) > shape.most_node_share:
            return False
        return not telling.any() or float(np.median(np.abs(moved[telling]))) >= shape.least_moved_mm * scale

    steps = np.arange(least, max(least, shape.most_forward_mm * scale) + 1.0)
    return next((float(step) for step in steps if is_enough(step)), float(steps[-1]))


def _node_share(face: Face) -> Callable[[Map], float]:
    """A function of a cut (mm along the rays): the share of the place of facial nodes that it and the skin under it take."""
    scale, cheek = face.rays.frame.scale, face.seen & _node_place(face.rays)
    slant = np.hypot(1.0, np.hypot(*np.gradient(ndimage.gaussian_filter(face.skin, 2.0 * scale), face.rays.pixel_mm)))
    whole = float(slant[cheek].sum()) * (NODES_MM[1] - NODES_MM[0])

    def share(cut: Map) -> float:
        taken = np.where(cut > 0.0, (cut + 0.5 * face.thickness) / slant + SKIN_LAYER_MM, 0.0)
        deep = np.clip(taken, *NODES_MM) - NODES_MM[0]
        return float((deep * slant)[cheek].sum()) / whole if whole > 0.0 else 0.0

    return share


def floor(face: Face, new: Map, core: NDArray[np.bool_], scene: Scene, shape: Shape) -> Map:
    """Frame y up to which tissue behind the new skin is made anew, mm.

    Over eyes, nose and mouth it is a level that the old skin's own shape is not in, so that even an attacker who tells what was
    filled in from what was not sees little of them. Not before the globes, which lie too near, nor where facial nodes lie; and
    it ends before bone and what is kept.
    """
    scale, pixel_mm = scene.frame.scale, face.rays.pixel_mm
    deepest = ndimage.maximum_filter(face.skin, int(shape.level_mm * scale / pixel_mm) | 1)
    level = ndimage.gaussian_filter(deepest, shape.level_mm * scale / pixel_mm / 3.0)
    level = np.minimum(level, face.obstacle - 0.5 * face.thickness)
    front = np.maximum(face.skin, new)
    inside = core & face.seen & ~_before_globes(face.rays, scene, shape) & ~_node_place(face.rays)
    share = np.minimum(ndimage.distance_transform_edt(inside) * pixel_mm / (shape.level_fade_mm * scale), 1.0)
    levelled = front + share * np.clip(level - front, 0.0, shape.most_level_mm * scale)
    return np.maximum(face.skin + SHELL_MM, np.where(share > 0.0, levelled, -np.inf))


def _before_globes(rays: Rays, scene: Scene, shape: Shape) -> NDArray[np.bool_]:
    """Rays that may meet a globe, as surely as its place is known."""
    found = np.zeros(rays.shape, dtype=np.bool_)
    x, z = positions(rays)
    for name in ("globe_left", "globe_right"):
        centre = _flat(scene, (name,))[0]
        sigma = scene.landmarks[name].sigma_mm if name in scene.landmarks else 0.0
        found |= np.hypot(x - centre[0], z - centre[1]) < shape.globe_mm * scene.frame.scale + sigma
    return found


def _node_place(rays: Rays) -> NDArray[np.bool_]:
    """Rays through the place of facial nodes."""
    x, z = (at / rays.frame.scale for at in positions(rays))
    beside = (np.abs(x) > CHEEK_X_MM[0]) & (np.abs(x) < CHEEK_X_MM[1])
    return np.asarray(beside & (z > CHEEK_Z_MM[0]) & (z < CHEEK_Z_MM[1]))


def _wander(rays: Rays, scene: Scene, shape: Shape) -> Map:
    """Smooth random relief of unit deviation, as wide as a cheek and as half the face: no two releases are quite alike."""
    scale = scene.frame.scale
    fields = [smooth_field(rays, scene.seed + n, length * scale) for n, length in enumerate(shape.random_lengths_mm)]
    return np.asarray(sum(fields) / np.sqrt(len(fields)))


def _raised(surface: Map, obstacle: Map, width_px: float) -> Map:
    """The surface lifted in front of an obstacle in soft bumps, so that the obstacle's shape is not read off it.

    Each round lifts by a blurred hull of what is still too deep; the last one by the remainder itself.
    """
    size = max(int(2 * width_px) | 1, 3)
    for _ in range(3):
        excess = np.where(np.isfinite(obstacle), np.maximum(surface - obstacle, 0.0), 0.0)
        if excess.max() <= 0.0:
            return surface
        surface = surface - ndimage.gaussian_filter(ndimage.maximum_filter(excess, size), width_px / 2.0)
    return np.minimum(surface, obstacle)


def smooth_field(rays: Rays, seed: int, length_mm: float) -> Map:
    """A smooth random map of zero mean and unit deviation with the given correlation length."""
    noise = np.random.default_rng(seed).standard_normal(rays.shape)
    field = ndimage.gaussian_filter(noise, length_mm / rays.pixel_mm / 2.0, mode="reflect")
    return np.asarray((field - field.mean()) / field.std())


METHOD = Method(
    name="membrane",
    reference="this project: a plain face in front of bone and kept structures, spanned to the skin around it",
    removes="what stands out of a plain face (nose, lips, brows) in front of bone; a smooth layer is laid over eyes and cheeks",
    leaks="deep bone relief, teeth and frontal sinus stay and can be matched by a specialist",
    licence="Apache-2.0",
    propose=propose,
)
