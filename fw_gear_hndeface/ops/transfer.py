"""A change of the skin carried to another image of the same head, with values of that image's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fw_gear_hndeface.model import Bool, Float, Grid, Mask, Plan, Proposal, Volume
from fw_gear_hndeface.ops.boxes import Box, points_box
from fw_gear_hndeface.ops.change import Change
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.morphology import set_cells, within_mm
from fw_gear_hndeface.ops.polygons import rasterise, roi_box
from fw_gear_hndeface.ops.resample import resample_mask
from fw_gear_hndeface.ops.scan import KEPT, Scan

Single = NDArray[np.float32]
#: How far new tissue is smoothed, mm: values taken from the nearest voxel come in streaks.
SMOOTH_MM = 3.0
#: Air this far from any body and change is the image's own background, mm.
CLEAR_MM = 10.0
#: Landmarks that an image may not show beyond the scan.
SHOWN = ("brow_left", "brow_right", "nasion", "nose_tip", "mouth_left", "mouth_right", "lip_upper", "lip_lower", "chin")
#: The room in front of the face where magnetic resonance leaves ghosts: head frame mm at scale 1, without end to the front.
BEFORE_MM = (np.array([-90.0, -np.inf, -150.0]), np.array([90.0, 30.0, 60.0]))
#: Ghosts are looked for this far in front of the new skin, mm, in columns of this width, mm.
STAND_OFF_MM, COLUMN_MM = 3.0, 4.0


@dataclass(frozen=True, eq=False)
class Site:
    """Where a change lies in another image: an index box of it, and masks of that box.

    Attributes
    ----------
    zone : voxels to be made anew
    body : the new body
    source : the part of it that new tissue is modelled on: away from the old skin
    """

    box: Box
    zone: Bool
    body: Bool
    source: Bool


def hidden_parts(scan: Scan, grid: Grid) -> tuple[str, ...]:
    """Landmarks of the face that another image shows and the scan does not: nobody planned their change."""
    if scan.head is None:
        return ()
    points = {name: scan.head.canonical(name) for name in SHOWN}
    return tuple(name for name, point in points.items() if bool(grid.contains(point)) and not bool(scan.grid.contains(point)))


def site(scan: Scan, grid: Grid, spread_mm: float, *, ghosts: bool = False) -> Site | None:
    """Where the scan's change lies in an image, None where it does not reach it.

    Parameters
    ----------
    grid : of the image
    spread_mm : how far the image smears the old skin; the zone grows by it, but not into what the plan keeps
    ghosts : whether the room in front of the face belongs to the zone
    """
    change, spread_mm = scan.change, spread_mm + scan.slack_mm
    if change is None:
        return None
    margin = np.ceil((spread_mm + CLEAR_MM) / grid.spacing_mm).max()
    box = points_box([change.grid.corners()], grid, int(margin))
    if box is None:
        return None
    if ghosts and scan.head is not None:
        box = _to_the_front(box, grid, scan.head)
    part = grid.crop(box)
    planned, body, kept = (carried(array, change, part) for array in (change.planned, change.body, change.kept))
    surface = carried(change.gone | change.came, change, part)
    drawn = kept_regions(scan, part)
    grown = within_mm(planned | surface, part.spacing_mm, spread_mm)
    zone = (planned | (grown & ~kept)) & ~drawn
    if ghosts and scan.head is not None:
        zone |= _before(change, scan.head, part) & ~drawn
    return Site(box, zone, body, body & ~grown) if zone.any() else None


def carried(array: Bool, change: Change, grid: Grid) -> Bool:
    """One of a change's arrays on another grid."""
    return np.asarray(resample_mask(Mask(change.grid, array, "change"), grid).array)


def kept_regions(scan: Scan, grid: Grid) -> Bool:
    """Voxels of an image inside drawn targets, organs, nodes and eyes."""
    out = np.zeros(grid.shape, np.bool_)
    for roi in scan.rois:
        box = roi_box(roi, grid) if roi.kind in KEPT else None
        if box is not None:
            out[box] |= rasterise(roi, grid.crop(box)).array
    return out


def transferred(image: Volume, where: Site, seed: int, *, method: str) -> Plan:
    """The plan that gives an image the new skin: inside it tissue like its neighbours', outside it the image's own air."""
    part = image.array[where.box].astype(np.float32)
    spacing = image.grid.spacing_mm
    value = part.copy()
    inside, outside = where.zone & where.body, where.zone & ~where.body
    if inside.any():
        value[inside] = extended(part, where.source, inside, spacing)
    if outside.any():
        air = _air(part, where, spacing)
        value[outside] = np.random.default_rng(seed).choice(air, int(np.count_nonzero(outside)))
    whole = np.zeros(image.grid.shape, np.bool_)
    whole[where.box] = where.zone
    change = Mask(image.grid, whole, "carried zone")
    return Proposal(change, value[where.zone], method).without(Mask.empty(image.grid, "nothing"))


def extended(values: Single, source: Bool, target: Bool, spacing_mm: Float) -> Single:
    """Values for target voxels that carry on those of the source: the nearest, smoothed; (N,) in C order of the target."""
    if not source.any():
        return np.full(int(np.count_nonzero(target)), values.min(), np.float32)
    nearest = ndimage.distance_transform_edt(~source, sampling=spacing_mm, return_distances=False, return_indices=True)
    filled = values[tuple(nearest)]
    there = (source | target).astype(np.float32)
    sigma = SMOOTH_MM / spacing_mm
    weight = ndimage.gaussian_filter(there, sigma)
    smooth = ndimage.gaussian_filter(filled * there, sigma)
    return np.asarray(smooth[target] / np.maximum(weight[target], 1e-6), dtype=np.float32)


def _air(part: Single, where: Site, spacing_mm: Float) -> Single:
    """Values of air well away from the body: the image's own noise; its lowest value where it shows no such air."""
    clear = ~within_mm(where.body | where.zone, spacing_mm, CLEAR_MM)
    found = part[clear]
    if found.size == 0:
        return np.array([part.min()], np.float32)
    # ghosts and spill are the bright half of what is seen there
    return np.asarray(found[found <= np.median(found)], dtype=np.float32)


def _to_the_front(box: Box, grid: Grid, head: HeadFrame) -> Box:
    """The index box made long enough to hold the room in front of the face up to the end of the image."""
    corners = grid.corners()
    reach = float(np.linalg.norm(corners.max(axis=0) - corners.min(axis=0)))
    low, high = (end * head.scale for end in BEFORE_MM)
    low = np.where(np.isfinite(low), low, -reach)
    front = points_box([head.corners(low, high)], grid)
    if front is None:
        return box
    pairs = zip(box, front, strict=True)
    k, j, i = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in pairs)
    return k, j, i


def _before(change: Change, head: HeadFrame, grid: Grid) -> Bool:
    """Voxels in front of the new skin, column by column of the head frame; columns without skin hold none."""
    front = _front(change, head)
    out = np.zeros(grid.shape, np.bool_)
    rows, columns = np.indices(grid.shape[1:])
    for k in range(grid.shape[0]):
        place = head.to_frame(grid.to_patient(np.stack([np.full_like(rows, k), rows, columns], axis=-1)))
        column = _column(place, head)
        inside = np.all((column >= 0) & (column < np.array(front.shape)), axis=-1)
        limit = front[tuple(np.moveaxis(np.clip(column, 0, np.array(front.shape) - 1), -1, 0))]
        out[k] = inside & (place[..., 1] < limit - STAND_OFF_MM)
    return out


def _column(place: Float, head: HeadFrame) -> NDArray[np.intp]:
    """The column of head frame points, (..., 3) mm -> (..., 2)."""
    low = BEFORE_MM[0][[0, 2]] * head.scale
    return np.rint((place[..., [0, 2]] - low) / COLUMN_MM).astype(np.intp)


def _front(change: Change, head: HeadFrame) -> Float:
    """Head frame y of the new skin for every column and its neighbours; minus infinity where it is not seen from the air."""
    skin = head.to_frame(change.grid.to_patient(set_cells(change.body)))
    low, high = BEFORE_MM[0][[0, 2]] * head.scale, BEFORE_MM[1][[0, 2]] * head.scale
    front = np.full(tuple(np.ceil((high - low) / COLUMN_MM).astype(int) + 1), np.inf)
    column = _column(skin, head)
    seen = np.all((column >= 0) & (column < np.array(front.shape)), axis=1)
    np.minimum.at(front, tuple(column[seen].T), skin[seen, 1])
    x, z = np.moveaxis(np.indices(front.shape), 0, -1).reshape(-1, 2).T * COLUMN_MM + low[:, None]
    ahead = np.column_stack([x, np.where(np.isinf(front), 0.0, front).ravel() - 2 * STAND_OFF_MM, z])
    # where the part of the scan that is looked at ends, its last tissue is no skin
    airy = change.grid.contains(head.to_patient(ahead)).reshape(front.shape)
    return np.asarray(ndimage.minimum_filter(np.where(np.isfinite(front) & airy, front, -np.inf), 3))
