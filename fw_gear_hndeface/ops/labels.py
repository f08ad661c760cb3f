"""Label maps: what their numbers are, whether they belong to a scan, and where their structures lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from scipy import ndimage

from fw_gear_hndeface.errors import InputError
from fw_gear_hndeface.label_tables import LABEL_KINDS, LABEL_MEANINGS, LABEL_TABLES, SOLID
from fw_gear_hndeface.model import Bool, Finding, Float, Label, LabelMap, Level, RoiKind, Volume
from fw_gear_hndeface.ops.boxes import Box
from fw_gear_hndeface.ops.names import fold, roi_kind
from fw_gear_hndeface.ops.resample import sample

#: HU below which there is no solid tissue, and the share of solid structures that must lie above it.
AIR_HU, LEAST_SOLID = -300.0, 0.6
#: Voxels of a structure that are looked at to tell tissue from air.
MOST_SAMPLES = 4000

_KNOWN = {fold(name) for table in LABEL_TABLES.values() for name in table.values()} | set(LABEL_MEANINGS)


def is_known(name: str) -> bool:
    """Whether some table has a structure of that name."""
    return fold(name) in _KNOWN


def label_of(number: int, name: str) -> Label:
    """What a label is by its name: the tables' word for it, else what a drawn region of that name would be."""
    folded = fold(name)
    meaning = LABEL_MEANINGS.get(folded, folded)
    if meaning in LABEL_KINDS:
        return Label(number, name, meaning, RoiKind(LABEL_KINDS[meaning]))
    return Label(number, name, meaning, RoiKind.ORGAN if is_known(name) else roi_kind(name))


def understand(present: Iterable[int], names: Mapping[int, str], table: str, where: str) -> dict[int, Label]:
    """What every number that occurs in a label map is.

    Parameters
    ----------
    names : as the file or its sidecar gives them; empty where it gives none
    table : a key of `LABEL_TABLES` that outranks the names, or "auto"

    Raises
    ------
    InputError
        No names and no table, names that no table knows, or a number that has no name.
    """
    known = LABEL_TABLES[table] if table != "auto" else dict(names)
    numbers = sorted(set(present) - {0})
    remedy = f"Set label_table to one of {', '.join(LABEL_TABLES)}, or put a JSON file with the names beside it."
    if not known:
        raise InputError(f"{where}: a label map without names of its labels. {remedy}")
    nameless = [number for number in numbers if not known.get(number, "").strip()]
    if nameless:
        origin = "its names" if table == "auto" else f"label table {table}"
        raise InputError(f"{where}: label {nameless[0]} is not in {origin}. {remedy}")
    if table == "auto" and numbers and not any(is_known(known[number]) for number in numbers):
        raise InputError(f"{where}: no table knows any name of its {len(numbers)} labels. {remedy}")
    return {number: label_of(number, known[number]) for number in numbers}


def boxes_of(labels: LabelMap) -> dict[int, Box]:
    """The index box of every label that occurs."""
    found = ndimage.find_objects(labels.array)
    return {number: box for number, box in enumerate(found, 1) if box is not None and number in labels.labels}


def points_of(labels: LabelMap, number: int, box: Box) -> Float:
    """Voxel centres of one label, (N, 3) LPS mm."""
    part = labels.crop(box)
    return part.grid.to_patient(np.argwhere(part.array == number))


def misfit(labels: LabelMap, scan: Volume) -> str | None:
    """Why a label map cannot belong to a scan; None where it can.

    A map says nothing of its patient, so its geometry is held against the scan: some of it must lie in the scan, and what is
    solid must not lie in air there.
    """
    boxes = boxes_of(labels)
    if not boxes:
        return "it holds no label."
    solid: list[Float] = []
    meets = False
    for number, box in boxes.items():
        points = points_of(labels, number, box)
        points = points[:: max(len(points) // MOST_SAMPLES, 1)]
        inside = points[scan.grid.contains(points)]
        meets = meets or len(inside) > 0
        if labels.labels[number].meaning in SOLID and len(inside):
            solid.append(inside)
    if not meets:
        return "none of its labels lies in the CT; it has another geometry or belongs to another scan."
    share = float(np.mean(sample(scan, np.concatenate(solid)) > AIR_HU)) if solid else 1.0
    if share < LEAST_SOLID:
        return f"only {100 * share:.0f} % of its solid structures lie in tissue; another geometry or another patient."
    return None


def sides_swapped(labels: LabelMap, where: str) -> tuple[Finding, ...]:
    """A finding where names say left for what lies on the patient's right."""
    boxes, centres = boxes_of(labels), {}
    for number, box in boxes.items():
        centres[labels.labels[number].meaning] = float(points_of(labels, number, box)[:, 0].mean())
    pairs = [(name, f"{name.removesuffix('left')}right") for name in centres if name.endswith(" left")]
    wrong = [centres[left] < centres[right] for left, right in pairs if right in centres]
    if not wrong or sum(wrong) * 2 <= len(wrong):
        return ()
    text = f"{where}: its names say left for what lies on the patient's right. Sides were taken from positions."
    return (Finding(Level.WARNING, "label_sides", text, where),)


def largest_part(mask: Bool) -> Bool:
    """The largest connected part of a set of voxels: specks that a network scatters are no structure."""
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    return np.asarray(parts == 1 + int(np.bincount(parts.ravel())[1:].argmax()))


def kept(labels: LabelMap) -> LabelMap:
    """The map without labels that protect nothing: outlines, airways, the face itself."""
    kinds = (RoiKind.TARGET, RoiKind.ORGAN, RoiKind.NODE, RoiKind.LANDMARK)
    return replace(labels, labels={n: label for n, label in labels.labels.items() if label.kind in kinds})
