"""Which voxels a drawn region covers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fw_gear_hndeface.model import Bool, Float, Grid, Mask, Roi
from fw_gear_hndeface.ops.boxes import Box, points_box

EPS = 1e-6
#: A contour whose points stray less than this from one slice plane, in slices, is drawn on that slice grid.
FLAT_SLICES = 0.1
#: Contour planes this many usual distances apart still belong to one piece of anatomy.
BRIDGED_GAPS = 2.5
#: Contour planes farther apart than this are never one piece.
FARTHEST_MM = 20.0
#: Share of pixels that may differ between a polygon and its repeat.
SAME_POLYGON = 0.02
#: Finest step along the normal of the helper lattice of an oblique region, mm.
FINEST_STEP_MM = 0.5

Index = NDArray[np.intp]


def rasterise(roi: Roi, grid: Grid) -> Mask:
    """The voxels of a region: those whose centre lies inside or on its polygons.

    In the plane: borders count as inside. A polygon that lies within what the larger ones of its plane cover is a hole, whose
    border still belongs to the region; polygons that overlap in part are joined; a keyhole channel has no width. A polygon that
    meets no voxel centre covers the voxels its points lie in.

    Along the stack: each voxel follows the nearest contour plane, both where two are equally near. The region reaches half
    the usual contour distance beyond its last planes (not counting voxels exactly there) and at least half a slice; gaps of up
    to 2.5 usual distances between planes, but not beyond 20 mm, are bridged.

    Regions drawn on planes that are not the grid's slices go through a lattice in their own planes, as fine as the grid's
    finest spacing: there a border is true to half that spacing.

    Parameters
    ----------
    roi : closed planar polygons, LPS mm
    grid : any lattice, tilted ones included

    Returns
    -------
    Mask of the grid, named after the region
    """
    contours = _distinct([np.asarray(c, dtype=np.float64) for c in roi.contours_mm if len(c) >= 3])
    if not contours:
        return Mask.empty(grid, roi.name)
    index = [grid.to_index(contour) for contour in contours]
    if all(np.ptp(points[:, 0]) <= FLAT_SLICES for points in index):
        return Mask(grid, _fill(index, grid.shape, FARTHEST_MM / grid.spacing_mm[0]), roi.name)
    return Mask(grid, _fill_oblique(contours, grid), roi.name)


def roi_box(roi: Roi, grid: Grid, margin_mm: float = 0.0) -> Box | None:
    """The index box that holds every voxel `rasterise` can set, grown by a margin; None where the region is not on the grid."""
    reach_mm = FARTHEST_MM / 2 + margin_mm
    return points_box(roi.contours_mm, grid, int(np.ceil(reach_mm / float(grid.spacing_mm.min()))) + 2)


def _distinct(contours: Sequence[Float]) -> list[Float]:
    """The contours without exact repeats, which would otherwise be holes in themselves."""
    seen: dict[bytes, Float] = {}
    for contour in contours:
        seen.setdefault(np.round(contour, 3).tobytes(), contour)
    return list(seen.values())


def _fill(contours: Sequence[Float], shape: tuple[int, int, int], farthest: float) -> Bool:
    """Voxels of contours given in index coordinates, each on (nearly) one slice plane."""
    out = np.zeros(shape, np.bool_)
    levels = np.array([points[:, 0].mean() for points in contours])
    planes = _planes(levels)
    reach = _reach(np.array([levels[p].mean() for p in planes]), farthest)
    for plane, (first, last) in zip(planes, reach, strict=True):
        slices = slice(max(int(np.ceil(first)), 0), min(int(np.floor(last)), shape[0] - 1) + 1)
        if slices.start < slices.stop:
            _add_region(out[slices], [contours[n][:, 1:] for n in plane])
    return out


def _add_region(out: Bool, polygons: Sequence[Float]) -> None:
    """Set the pixels of one plane's polygons in some slices (K, J, I), worked out in the polygons' own box."""
    ends = np.concatenate(polygons)
    low = np.clip(np.floor(ends.min(axis=0)) - 1, 0, out.shape[1:]).astype(np.intp)
    high = np.clip(np.ceil(ends.max(axis=0)) + 2, 0, out.shape[1:]).astype(np.intp)
    if np.all(low < high):
        shape = int(high[0] - low[0]), int(high[1] - low[1])
        out[:, low[0] : high[0], low[1] : high[1]] |= _region(polygons, shape, low)


def _planes(levels: Float) -> list[list[int]]:
    """Indices of contours on the same plane, planes ascending."""
    planes: list[list[int]] = []
    last = -np.inf
    for n in np.argsort(levels, kind="stable"):
        if levels[n] - last > FLAT_SLICES:
            planes.append([])
            last = levels[n]
        planes[-1].append(int(n))
    return planes


def _reach(levels: Float, farthest: float) -> list[tuple[float, float]]:
    """From where to where along the stack each contour plane speaks, in slices, both ends included."""
    gaps = np.diff(levels)
    near = gaps[gaps <= farthest]
    usual = float(np.median(near)) if len(near) else 0.0
    outward = max(usual / 2 - EPS, 0.5 + EPS)
    inward = np.where(gaps <= min(BRIDGED_GAPS * usual, farthest), np.maximum(gaps / 2 + EPS, 0), outward)
    below = np.concatenate([[outward], inward])
    above = np.concatenate([inward, [outward]])
    return [(float(z - b), float(z + a)) for z, b, a in zip(levels, below, above, strict=True)]


def _region(polygons: Sequence[Float], shape: tuple[int, int], low: Index) -> Bool:
    """Pixels from `low` on of all polygons of one plane, (row, column) index coordinates; polygons within others are holes."""
    out = np.zeros(shape, np.bool_)
    before: list[Bool] = []
    for whole in sorted(polygons, key=_area, reverse=True):
        points = whole - low
        closed = polygon_pixels(points, shape)
        if not closed.any():
            closed = _touched(points, shape)
        if any(_much_alike(closed, other) for other in before):
            continue
        before.append(closed)
        if np.any(closed & ~out):
            out |= closed
        else:
            out &= ~polygon_pixels(points, shape, border=False)
    return out


def _much_alike(one: Bool, other: Bool) -> bool:
    """Whether a polygon is another one drawn again, not a hole that leaves a thin shell."""
    return bool(np.count_nonzero(one ^ other) <= SAME_POLYGON * np.count_nonzero(one))


def _area(points: Float) -> float:
    row, column = points[:, 0], points[:, 1]
    return float(abs(np.dot(row, _next(column)) - np.dot(column, _next(row)))) / 2


def polygon_pixels(points: Float, shape: tuple[int, int], *, border: bool = True) -> Bool:
    """Pixels whose centre lies inside a polygon, even-odd, by scan lines; with or without those on its border.

    Parameters
    ----------
    points : (N, 2), (row, column) index coordinates; the last point joins the first
    shape : (J, I)
    """
    rows, columns = _snapped(points)
    on_row = rows == np.rint(rows)
    crossings = [_crossings(rows, columns, shape[0], upper_end) for upper_end in ((False, True) if on_row.any() else (False,))]
    if not border:
        return np.asarray(np.logical_and.reduce([_between(*found, shape, -EPS) for found in crossings]))
    flat = (rows == _next(rows)) & on_row & (rows >= 0) & (rows < shape[0])
    pairs = np.sort(np.stack([columns, _next(columns)], axis=1)[flat], axis=1)
    crossings.append((np.repeat(rows[flat].astype(np.intp), 2), pairs.ravel()))
    line, cross = (np.concatenate(part) for part in zip(*crossings, strict=True))
    return _between(line, cross, shape, EPS)


def _next(values: Float) -> Float:
    """The value of each point's successor; `np.roll` takes five times as long for a contour."""
    return np.concatenate((values[1:], values[:1]))


def _snapped(points: Float) -> tuple[Float, Float]:
    """Rows and columns, with rows that are whole but for rounding made whole."""
    whole = np.rint(points[:, 0])
    return np.where(np.abs(points[:, 0] - whole) < EPS, whole, points[:, 0]), points[:, 1]


def _crossings(rows: Float, columns: Float, count: int, upper_end: bool) -> tuple[Index, Float]:
    """Where the edges cross each row's centre line, sorted by row then column; an even number on every row.

    An edge owns its lower end, or its upper one: what each choice misses of the border the other one finds. Where no point lies
    on a centre line both are the same.
    """
    next_rows, next_columns = _next(rows), _next(columns)
    low, high = np.minimum(rows, next_rows), np.maximum(rows, next_rows)
    first = np.clip(np.floor(low) + 1 if upper_end else np.ceil(low), 0, count).astype(np.intp)
    stop = np.clip(np.floor(high) + 1 if upper_end else np.ceil(high), 0, count).astype(np.intp)
    lengths = np.maximum(stop - first, 0)
    edge = np.repeat(np.arange(len(rows)), lengths)
    line = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + first[edge]
    part = (line - rows[edge]) / (next_rows[edge] - rows[edge])
    cross = columns[edge] + part * (next_columns[edge] - columns[edge])
    order = np.lexsort((cross, line))
    return line[order], cross[order]


def _between(line: Index, cross: Float, shape: tuple[int, int], rim: float) -> Bool:
    """Pixels between the 1st and 2nd, 3rd and 4th ... crossing, both on one row; ends included where `rim` is positive."""
    steps = np.zeros((shape[0], shape[1] + 1), np.int32)
    first = np.clip(np.ceil(cross[0::2] - rim), 0, shape[1]).astype(np.intp)
    stop = np.clip(np.floor(cross[1::2] + rim) + 1, 0, shape[1]).astype(np.intp)
    some = stop > first
    row = line[0::2][some] * (shape[1] + 1)
    flat = steps.reshape(-1)
    np.add.at(flat, row + first[some], np.int32(1))
    np.add.at(flat, row + stop[some], np.int32(-1))
    inside: Bool = np.cumsum(steps, axis=1, dtype=np.int32)[:, :-1] > 0
    return inside


def _touched(points: Float, shape: tuple[int, int]) -> Bool:
    """Pixels that hold a point of the polygon."""
    out = np.zeros(shape, np.bool_)
    nearest = np.rint(points).astype(np.intp)
    inside = np.all((nearest >= 0) & (nearest < np.array(shape)), axis=1)
    out[tuple(nearest[inside].T)] = True
    return out


def _fill_oblique(contours: Sequence[Float], grid: Grid) -> Bool:
    """Voxels of contours on planes across the grid's slices, looked up in a lattice of the contours' own planes."""
    helper = _own_lattice(contours, grid)
    drawn = [helper.to_index(contour) for contour in contours]
    filled = _fill(drawn, helper.shape, FARTHEST_MM / helper.spacing_mm[0])
    out = np.zeros(grid.shape, np.bool_)
    low, high = _box(helper, grid)
    for k in range(low[0], high[0]):
        index = np.stack(
            np.meshgrid(k, *(np.arange(a, b) for a, b in zip(low[1:], high[1:], strict=True)), indexing="ij"), axis=-1
        )
        at = np.rint(helper.to_index(grid.to_patient(index))).astype(np.intp)
        inside = np.all((at >= 0) & (at < np.array(helper.shape)), axis=-1)
        hit = np.zeros(inside.shape, np.bool_)
        hit[inside] = filled[tuple(at[inside].T)]
        out[k, low[1] : high[1], low[2] : high[2]] = hit[0]
    return out


def _own_lattice(contours: Sequence[Float], grid: Grid) -> Grid:
    """A lattice whose slices are parallel to the contours and that holds them all, with a rim."""
    largest = max(contours, key=np.ptp)
    row, column, normal = np.linalg.svd(largest - largest.mean(axis=0), full_matrices=False)[2]
    axes = np.column_stack([normal, column, row])
    finest = float(grid.spacing_mm.min())
    steps = np.array([_step_mm(contours, normal, grid), finest, finest])
    points = np.concatenate(contours) @ axes
    low, high = points.min(axis=0) - grid.spacing_mm.max(), points.max(axis=0) + grid.spacing_mm.max()
    affine = np.eye(4)
    affine[:3, :3] = axes * steps
    affine[:3, 3] = axes @ low
    shape = np.ceil((high - low) / steps).astype(int) + 1
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine, grid.frame)


def _step_mm(contours: Sequence[Float], normal: Float, grid: Grid) -> float:
    """Half the usual distance of the contour planes, or half a slice where that is less."""
    gaps = np.diff(np.unique(np.round([contour.mean(axis=0) @ normal for contour in contours], 1)))
    usual = float(np.median(gaps)) if len(gaps) else np.inf
    return max(min(usual, float(grid.spacing_mm[0])) / 2, FINEST_STEP_MM)


def _box(helper: Grid, grid: Grid) -> tuple[Index, Index]:
    """The index box of the grid that may meet the helper lattice: first index, and one past the last."""
    corners = grid.to_index(helper.corners())
    low = np.clip(np.floor(corners.min(axis=0)), 0, grid.shape).astype(np.intp)
    high = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, grid.shape).astype(np.intp)
    return low, high
