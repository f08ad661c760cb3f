"""One method on one head: what it leaves to see, and what it costs. Plain data, ready for a file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fw_gear_hndeface.casework import deface_located, unwatched
from fw_gear_hndeface.errors import HndefaceError
from fw_gear_hndeface.evaluate.features import (
    body_of,
    dice,
    first_order,
    rim_of,
    surface_hd95,
    unchanged_percent,
)
from fw_gear_hndeface.evaluate.structures import structure_of
from fw_gear_hndeface.evaluate.studies import Head
from fw_gear_hndeface.methods import REGISTRY, Scene
from fw_gear_hndeface.model import Bool, Mask, Roi, RoiKind, Volume
from fw_gear_hndeface.ops.boxes import Box, mask_box, points_box
from fw_gear_hndeface.ops.polygons import rasterise
from fw_gear_hndeface.ops.skin import SKIN_HU
from fw_gear_hndeface.privacy.attacks import expose
from fw_gear_hndeface.privacy.battery import Exposure, Original, remember, run_battery
from fw_gear_hndeface.privacy.slopes import packed
from fw_gear_hndeface.settings import Settings
from fw_gear_hndeface.verify import differing, measure

#: The head as it came, measured like a method's result: the baseline of every table.
UNTOUCHED = "original"


@dataclass(frozen=True, eq=False)
class Structure:
    """A drawn region as voxels of its own index box."""

    roi: Roi
    name: str
    box: Box
    inside: Bool


@dataclass(frozen=True, eq=False)
class Ground:
    """What every method on one head is measured against."""

    head: Head
    original: Original
    structures: tuple[Structure, ...]
    body: Bool


def prepare(head: Head, original: Original | None = None) -> Ground:
    """The truth of one head: its face (`original` where the caller has it already), its regions, its outline."""
    if original is None:
        original = remember(expose(head.case.scan, [head.scan.body], head.face.frame), head.face.landmarks)
    return Ground(head, original, structures_of(head), body_of(head.case.scan.array))


def structures_of(head: Head) -> tuple[Structure, ...]:
    """The drawn regions that are neither outline nor equipment, as voxels."""
    grid, found = head.case.scan.grid, []
    for roi in head.case.rois:
        box = points_box(roi.contours_mm, grid)
        if roi.kind in (RoiKind.EXTERNAL, RoiKind.SUPPORT) or box is None:
            continue
        inside = rasterise(roi, grid.crop(box)).array
        if inside.any():
            found.append(Structure(roi, structure_of(roi), box, inside))
    return tuple(found)


def settings_of(method: str) -> Settings:
    """The settings of a trial; a method may name its fill behind a colon, as in "drown:air".

    Raises
    ------
    SettingsError
        No such method or fill.
    """
    name, _, fill = method.partition(":")
    return Settings(method=name, fill=fill or "auto", privacy="report", max_uncertainty_mm=50.0)


def try_method(ground: Ground, method: str, seed: int) -> dict[str, Any]:
    """The record of one method on one head; a refusal is a record too."""
    case, found = ground.head.case, (ground.head.scan, ground.head.face)
    record: dict[str, Any] = {"method": method, "head": ground.head.name, "status": "done"}
    start = time.perf_counter()
    after, changed = case.scan, np.zeros(case.scan.grid.shape, dtype=np.bool_)
    wanted = changed
    if method != UNTOUCHED:
        try:
            settings = settings_of(method)
            made = deface_located(case, found, settings, seed, unwatched)
        except HndefaceError as error:
            return {**record, "status": "refused", "reason": str(error), "error": type(error).__name__}
        after = made.plan.apply(case.scan)
        changed = differing(case.scan.array, after.array)
        record |= {"strength": made.strength, "seconds": round(time.perf_counter() - start, 2)}
        wanted = unprotected(ground, method, seed)
    cost = costs(ground, after, changed)
    for structure, one in zip(ground.structures, cost["structures"], strict=True):
        one["unprotected_percent"] = unchanged_percent(wanted[structure.box], structure.inside)
    return {"seconds": 0.0, **record, **cost, **exposures(ground, after, changed)}


def unprotected(ground: Ground, method: str, seed: int) -> Bool:
    """What the method would change if nothing were kept: what it does elsewhere, where nobody takes `keep` away."""
    case, head, face = ground.head.case, ground.head.scan, ground.head.face
    nothing = Mask.empty(case.scan.grid, "nothing kept")
    try:
        settings = settings_of(method)
        scene = Scene(case.scan, head.body, nothing, face.landmarks, face.frame, seed, fill=settings.fill)
        return REGISTRY[settings.method].propose(scene).change.array
    except HndefaceError:
        return nothing.array


def costs(ground: Ground, after: Volume, changed: Bool) -> dict[str, Any]:
    """Volumes, outline and structures after a change (privacy.md 7)."""
    before = ground.head.case.scan
    cost = measure(before, after, changed)
    old, new = _without_airways(ground.body, body_of(after.array), before, after)
    away = _beyond(changed)
    outside = rim_of(old)[away] ^ rim_of(new)[away]
    return {
        "removed_ml": round(cost.removed_ml, 2),
        "added_ml": round(cost.added_ml, 2),
        "retextured_ml": round(cost.retextured_ml, 2),
        "body_dice": round(dice(old, new), 6),
        "body_hd95_mm": round(surface_hd95(old, new, before.grid), 3),
        "outline_moved_outside_zone_voxels": int(np.count_nonzero(outside)),
        "structures": [_structure_cost(one, before, after, changed) for one in ground.structures],
    }


def _without_airways(old: Bool, new: Bool, before: Volume, after: Volume) -> tuple[Bool, Bool]:
    """Two bodies in which air that a change closed off or opened (behind nostrils, in the mouth) is inside both."""
    airway = (old ^ new) & np.asarray(before.array <= SKIN_HU) & np.asarray(after.array <= SKIN_HU)
    return old | airway, new | airway


def _beyond(changed: Bool) -> Bool:
    """Voxels farther than two voxels from every change."""
    away = np.ones(changed.shape, dtype=np.bool_)
    box = mask_box(changed, (2, 2, 2))
    if box is not None:
        away[box] = False
    return away


def _structure_cost(structure: Structure, before: Volume, after: Volume, changed: Bool) -> dict[str, Any]:
    inside, box = structure.inside, structure.box
    percent = unchanged_percent(changed[box], inside)
    old = first_order(before.array[box][inside])
    new = old if percent == 100.0 else first_order(after.array[box][inside])
    return {
        "structure": structure.name,
        "kind": structure.roi.kind.value,
        "volume_ml": round(float(np.count_nonzero(inside)) * before.grid.voxel_ml, 3),
        "unchanged_percent": percent,
        "features": {name: [_plain(old[name]), _plain(new[name])] for name in old},
    }


def _plain(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None


def exposures(ground: Ground, after: Volume, changed: Bool) -> dict[str, Any]:
    """What every attack shows of the face, with the embeddings that ranks in a cohort's gallery are made of."""
    head = ground.head
    patient = [head.scan.body, Mask(after.grid, changed, "changed")]
    found = run_battery(expose(after, patient, head.face.frame), ground.original)
    seen = [one for one in found if one.looks is not None or one.error is not None]
    shapes = [
        {"attack": one.attack, "surface": one.label, "inner": one.inner, "slopes": packed(one.slopes)}
        for one in found
        if one.slopes is not None
    ]
    embeddings = [_embeddings(one) for one in seen if one.looks]
    return {"exposures": [one.measures() for one in seen], "embeddings": embeddings, "shapes": shapes}


def _embeddings(exposure: Exposure) -> dict[str, Any]:
    rows: Sequence[Any] = [] if exposure.looks is None else exposure.looks.embeddings.tolist()
    plain = [None if not np.isfinite(row[0]) else [round(value, 4) for value in row] for row in rows]
    return {"attack": exposure.attack, "surface": exposure.label, "inner": exposure.inner, "views": plain}
