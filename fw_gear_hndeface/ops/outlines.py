"""Drawn outlines made anew where the skin moved; points elsewhere are the input's, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from fw_gear_hndeface.model import Bool, Float, Grid
from fw_gear_hndeface.ops.change import Change
from fw_gear_hndeface.ops.morphology import set_cells, with_neighbours

#: Pieces and holes smaller than this are leftovers of the cut, mm2.
SLIVER_MM2 = 1.0
#: A part of a region with less tissue near the change than this lies in the air: mask, bolus, room.
LEAST_TISSUE = 0.1
#: An outline whose hole is more than this share of it is a shell: its inner side runs along the old skin as well.
SHELL_SHARE = 0.5
#: Overlays snap to this, mm: far below what a structure set stores, so that voxel edges and drawn lines meet without slits.
SNAP_MM = 1e-6
#: Contours whose planes lie nearer than this are on one plane, mm.
SAME_PLANE_MM = 0.1
#: A contour that strays less than this from the scan's slices, in slices, lies in their planes.
FLAT_SLICES = 0.1


def by_plane(contours: Sequence[Float]) -> list[list[int]]:
    """Indices of the contours on each plane."""
    if not contours:
        return []
    normal = _normal(max(contours, key=len))
    levels = [points @ normal for points in contours]
    planes: list[list[int]] = []
    last = -np.inf
    for n in sorted(range(len(contours)), key=lambda n: float(levels[n].mean())):
        here, tilted = float(levels[n].mean()), float(np.ptp(levels[n])) > SAME_PLANE_MM
        if tilted or not planes or here - last > SAME_PLANE_MM:
            planes.append([])
        planes[-1].append(n)
        last = -np.inf if tilted else here
    return planes


def redrawn(contours: Sequence[Float], change: Change, *, external: bool) -> tuple[Float, ...] | None:
    """The contours of one plane after the change; None where the change does not meet them.

    Parameters
    ----------
    contours : closed polygons of one plane, each (N, 3) LPS mm; one inside another is a hole
    external : outlines of the patient follow the new body near the change, and shells of skin become solid; everything else
        loses what lies in the room around it, and the parts that lie in the air: where they end, the old skin was

    Returns
    -------
    Closed polygons (N, 3) LPS mm, first point not repeated, holes joined by a channel without width; empty where nothing is
    left. Points that the change does not meet are those of the input.
    """
    plane = _Plane.of(contours, change.grid)
    index = plane.index(change.grid)
    if not (plane.sample(change.gone, index) | plane.sample(change.came, index)).any():
        return None
    old = _region([plane.flat(points) for points in contours])
    room = plane.sample(change.room, index)
    if external:
        near, solid = plane.sample(change.near, index), _solid(old)
        drawn = _grown(plane.covered(solid, near), plane.rim)
        fresh = near & ~room & (drawn | plane.sample(change.came, index))
        outside = shapely.difference(solid, plane.cells(near), grid_size=SNAP_MM)
        new = shapely.union(outside, plane.cells(fresh), grid_size=SNAP_MM)
    else:
        new = shapely.difference(_on_tissue(old, plane, change, index), plane.cells(room), grid_size=SNAP_MM)
    if _same_area(old, new):
        return None
    rings = [_keyholed(part, plane.shrink) for part in _polygons(new) if part.area >= SLIVER_MM2 * plane.shrink]
    return plane.lifted(rings, contours)


def _solid(region: shapely.Geometry) -> shapely.Geometry:
    """A region whose shells are filled."""
    parts = _polygons(region)
    wholes = [shapely.Polygon(part.exterior) for part in parts]
    if all(part.area > (1 - SHELL_SHARE) * whole.area for part, whole in zip(parts, wholes, strict=True)):
        return region
    return shapely.union_all(
        [
            shapely.Polygon(
                part.exterior, [hole for hole in part.interiors if shapely.Polygon(hole).area < SHELL_SHARE * whole.area]
            )
            for part, whole in zip(parts, wholes, strict=True)
        ]
    )


def _on_tissue(region: shapely.Geometry, plane: _Plane, change: Change, index: NDArray[np.intp] | None) -> shapely.Geometry:
    """A region without its parts that lie in the air near the change."""
    near, tissue = plane.sample(change.near, index), plane.sample(change.before, index)
    parts = _polygons(region)
    kept = []
    for part in parts:
        inside = plane.covered(part, near) & near
        if np.count_nonzero(inside & tissue) >= LEAST_TISSUE * np.count_nonzero(inside):
            kept.append(part)
    return region if len(kept) == len(parts) else shapely.union_all(kept)


@dataclass(frozen=True, eq=False)
class _Plane:
    """A plane seen along the patient axis nearest to its normal, and a lattice in it.

    Two of the three LPS coordinates stand for a point, so that flattening and lifting change no decimal.
    """

    normal: Float
    offset: float
    axes: tuple[int, int]
    origin: Float
    steps: Float
    shape: tuple[int, int]
    #: Width of the scan's voxels in cells of the lattice.
    rim: int
    #: The scan's slice that the plane is; None where it lies across the slices.
    slice: int | None

    @classmethod
    def of(cls, contours: Sequence[Float], grid: Grid) -> _Plane:
        points = np.concatenate(contours)
        index = grid.to_index(points)
        if np.ptp(index[:, 0]) <= FLAT_SLICES:
            steps = grid.affine[:3, 1:3]
            normal = np.cross(steps[:, 0], steps[:, 1])
            level = float(index[:, 0].mean())
            origin, shape, rim, number = grid.to_patient([level, 0, 0]), grid.shape[1:], 1, round(level)
        else:
            # Planes across the slices: voxels are looked up on a lattice finer than they are.
            row, column, normal = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2]
            fine = float(grid.spacing_mm.min()) / 2
            steps = np.column_stack([row, column]) * fine
            flat = (points - points.mean(axis=0)) @ steps / fine**2
            low = np.floor(flat.min(axis=0)) - 4
            shape = tuple((np.ceil(flat.max(axis=0)) + 5 - low).astype(int).tolist())
            origin, rim = points.mean(axis=0) + steps @ low, int(np.ceil(grid.spacing_mm.max() / fine))
            number = None
        normal = normal / np.linalg.norm(normal)
        first, second = (axis for axis in range(3) if axis != int(np.argmax(np.abs(normal))))
        return cls(normal, float((points @ normal).mean()), (first, second), origin, steps, (shape[0], shape[1]), rim, number)

    @property
    def shrink(self) -> float:
        """Seen area per true area."""
        return float(np.abs(self.normal).max())

    def flat(self, points: Float) -> Float:
        """(N, 3) LPS mm -> the two coordinates that stand for them."""
        return points[:, list(self.axes)]

    def index(self, grid: Grid) -> NDArray[np.intp] | None:
        """Nearest voxel of every lattice cell, (J, I, 3); it may lie off the grid. None where the lattice is a slice."""
        return None if self.slice is not None else np.rint(grid.to_index(self._centres())).astype(np.intp)

    def sample(self, array: Bool, index: NDArray[np.intp] | None) -> Bool:
        """An array of the grid on the lattice, False off the grid."""
        if self.slice is not None and 0 <= self.slice < len(array):
            return np.asarray(array[self.slice])
        if index is None:
            return np.zeros(self.shape, np.bool_)
        inside = np.all((index >= 0) & (index < np.array(array.shape)), axis=-1)
        out = np.zeros(self.shape, np.bool_)
        out[inside] = array[tuple(index[inside].T)]
        return out

    def covered(self, region: shapely.Geometry, where: Bool) -> Bool:
        """The cells of `where`, and those beside them, whose centre lies in the region."""
        asked = _grown(where, self.rim)
        centres = self.flat(self._at(set_cells(asked)))
        shapely.prepare(region)
        out = np.zeros(self.shape, np.bool_)
        out[asked] = shapely.intersects_xy(region, centres[:, 0], centres[:, 1])
        return out

    def cells(self, mask: Bool) -> shapely.Geometry:
        """The area of the lattice cells of a mask, to their edges."""
        # in cells, where halves are exact and no snapping is needed; then carried to mm
        lines: Any = shapely.linestrings(_edges(mask))
        faces = shapely.get_parts(shapely.polygonize(lines))
        inner = np.rint(shapely.get_coordinates(shapely.point_on_surface(faces))).astype(np.intp)
        inside = faces[mask[inner[:, 0], inner[:, 1]]]
        return shapely.transform(shapely.MultiPolygon(list(inside)), lambda cells: self.flat(self._at(cells)))

    def lifted(self, rings: Sequence[Float], contours: Sequence[Float]) -> tuple[Float, ...]:
        """Rings back in LPS mm; points that come from the old contours are exactly those."""
        known = np.concatenate(contours)
        tree = cKDTree(self.flat(known))
        third = next(axis for axis in range(3) if axis not in self.axes)
        out = []
        for ring in rings:
            points = np.empty((len(ring), 3))
            points[:, list(self.axes)] = ring
            points[:, third] = (self.offset - ring @ self.normal[list(self.axes)]) / self.normal[third]
            distance, nearest = tree.query(ring)
            same = distance <= 2 * SNAP_MM
            points[same] = known[nearest[same]]
            out.append(points)
        return tuple(out)

    def _at(self, cell: NDArray[Any]) -> Float:
        return np.asarray(self.origin + cell @ self.steps.T)

    def _centres(self) -> Float:
        cells = np.stack(np.meshgrid(*(np.arange(n) for n in self.shape), indexing="ij"), axis=-1)
        return self._at(cells)


def _edges(mask: Bool) -> Float:
    """The straight pieces of the border of a mask's cells, (N, 2 ends, 2), in row and column; they meet at their ends only."""
    padded = np.pad(mask, 1)
    upright, level = np.diff(padded[1:-1], axis=1), np.diff(padded[:, 1:-1], axis=0)
    above, below, before, behind = (np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.bool_) for _ in range(4))
    above[1:], below[:-1], before[:, 1:], behind[:, :-1] = upright, upright, level, level
    turn = (above | below) & (before | behind)  # a corner, or a place where two corners touch
    down = [np.argwhere((turn & end).T)[:, ::-1] for end in (below, above)]
    along = [np.argwhere(turn & end) for end in (behind, before)]
    return np.concatenate([np.stack(ends, axis=1) for ends in (down, along)]) - 0.5


def _grown(mask: Bool, cells: int) -> Bool:
    for _ in range(cells):
        mask = with_neighbours(mask)
    return mask


def _same_area(one: shapely.Geometry, other: shapely.Geometry) -> bool:
    """Whether two areas cover the same; different sizes are told without laying one over the other."""
    if abs(shapely.area(one) - shapely.area(other)) >= SNAP_MM:
        return False
    return bool(shapely.area(shapely.symmetric_difference(one, other, grid_size=SNAP_MM)) < SNAP_MM)


def _normal(points: Float) -> Float:
    return np.asarray(np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][2])


def _polygons(geometry: shapely.Geometry) -> list[shapely.Polygon]:
    """The areas of a geometry, without its lines and points."""
    return [part for part in shapely.get_parts(shapely.get_parts(geometry)) if isinstance(part, shapely.Polygon)]


def _region(rings: Sequence[Float]) -> shapely.Geometry:
    """The area of all polygons of a plane: one within another is a hole, those that overlap in part are joined."""
    parts = [shapely.union_all(_polygons(shapely.make_valid(shapely.Polygon(ring)))) for ring in rings]
    whole: shapely.Geometry = shapely.Polygon()
    for part in sorted(parts, key=lambda part: -part.area):
        inside = part.area > 0 and shapely.intersection(whole, part).area > (1 - SNAP_MM) * part.area
        whole = shapely.difference(whole, part) if inside else shapely.union(whole, part)
    return whole


def _keyholed(part: shapely.Polygon, shrink: float) -> Float:
    """One ring for a polygon with holes, (N, 2): each hole joined by a channel of no width (DICOM PS3.3 C.8.8.6.3)."""
    holes = [hole for hole in part.interiors if shapely.Polygon(hole).area >= SLIVER_MM2 * shrink]
    ring = shapely.get_coordinates(part.exterior)[:-1]
    # From the right: what a hole sees on its right is the outer ring or a hole that is part of it already.
    for points in sorted((shapely.get_coordinates(hole)[:-1] for hole in holes), key=lambda points: -points[:, 0].max()):
        ring = _joined(ring, points)
    return ring


def _joined(ring: Float, hole: Float) -> Float:
    """The ring with a way to the hole, round it and back."""
    start = int(np.argmax(hole[:, 0]))
    u, v = hole[start]
    after = np.roll(ring, -1, axis=0)
    crosses = (ring[:, 1] <= v) != (after[:, 1] <= v)
    part = (v - ring[crosses, 1]) / (after[crosses, 1] - ring[crosses, 1])
    hits = ring[crosses, 0] + part * (after[crosses, 0] - ring[crosses, 0])
    hits[hits < u - SNAP_MM] = np.inf
    nearest = int(np.argmin(hits))
    edge = int(np.flatnonzero(crosses)[nearest])
    door = np.array([[hits[nearest], v]])
    around = np.roll(hole, -start, axis=0)
    return np.concatenate([ring[: edge + 1], door, around, around[:1], door, ring[edge + 1 :]])
