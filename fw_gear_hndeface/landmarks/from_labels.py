"""Landmarks out of segmented structures: eyes from their centres, chin from the jaw, nose from the skin between them.

Left is the greater x of a pair, never a name: networks swap sides on turned and mirrored volumes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from fw_gear_hndeface.landmarks.contract import Evidence
from fw_gear_hndeface.model import Float, LabelMap, Landmark, Landmarks
from fw_gear_hndeface.ops.boxes import mask_box
from fw_gear_hndeface.ops.head import HeadScan
from fw_gear_hndeface.ops.labels import boxes_of, largest_part
from fw_gear_hndeface.ops.resample import sample
from fw_gear_hndeface.ops.skin import SKIN_HU

GLOBES = ("globe left", "globe right", "globes")
#: Radius of a globe, distances between two and volumes of one that are possible, mm and mL: an infant's to an adult's.
GLOBE_MM, BETWEEN_MM, GLOBE_ML = 12.0, (38.0, 85.0), (0.8, 16.0)
GLOBE_SIGMA_MM, CHIN_SIGMA_MM, PROFILE_SIGMA_MM = 2.0, 4.0, 4.0
#: A globe that reaches to within this of the scan's top is cut, and its centre lies lower than the eye's, mm.
CUT_MM, CUT_GLOBE_SIGMA_MM = 3.0, 6.0
#: The midline of the jaw is this wide to either side; at the symphysis bone lies under this much soft tissue, mm.
MIDLINE_MM, CHIN_PAD_MM = 7.0, 9.0
#: A jaw with fewer voxels than this is a fragment.
LEAST_JAW_ML = 4.0
#: Heights of the nose tip from eyes (0) to chin (1), how far the skin may lie before the eyes, and how flat a tip is, mm.
NOSE_HEIGHTS, FRONT_MM, TIP_MM = (0.2, 0.5), (5.0, 75.0), 1.0


def landmarks_of(evidence: Evidence, maps: Sequence[LabelMap], source: str) -> Landmarks:
    """Eyes, chin, nose tip and nose root as far as the labels and the skin before them show them."""
    points: dict[str, tuple[Float, float]] = {}
    eyes = globe_centres(maps)
    if eyes is not None:
        cut = max(eyes[0][2], eyes[1][2]) + GLOBE_MM + CUT_MM > evidence.head.top_mm
        sigma = CUT_GLOBE_SIGMA_MM if cut else GLOBE_SIGMA_MM
        points |= {"globe_right": (eyes[0], sigma), "globe_left": (eyes[1], sigma)}
    chin = menton(maps, eyes)
    if chin is not None:
        points["chin"] = (chin, CHIN_SIGMA_MM)
    if eyes is not None and chin is not None:
        points |= {name: (point, PROFILE_SIGMA_MM) for name, point in profile(evidence.head, eyes, chin).items()}
    grid = evidence.head.volume.grid
    inside = {name: found for name, found in points.items() if grid.contains(found[0], margin_mm=10.0)}
    return Landmarks({name: Landmark(point, sigma, source) for name, (point, sigma) in inside.items()})


def globe_centres(maps: Sequence[LabelMap]) -> tuple[Float, Float] | None:
    """Centres of the right and the left eye; None unless exactly two parts lie as the eyes of one face."""
    for labels in maps:
        centres = [centre for points in _parts(labels, GLOBES) for centre in [points.mean(axis=0)]]
        if len(centres) == 2:
            right, left = sorted(centres, key=lambda point: float(point[0]))
            if BETWEEN_MM[0] <= float(np.linalg.norm(left - right)) <= BETWEEN_MM[1]:
                return right, left
    return None


def _parts(labels: LabelMap, meanings: Sequence[str]) -> list[Float]:
    """The two largest connected parts of some structures, LPS mm, as far as each has a globe's volume."""
    mask = labels.mask(*meanings).array
    box = mask_box(mask)
    if box is None:
        return []
    parts, count = ndimage.label(mask[box])
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:] * labels.grid.voxel_ml
    order = [n for n in np.argsort(-sizes, kind="stable")[:2] if GLOBE_ML[0] <= sizes[n] <= GLOBE_ML[1]]
    grid = labels.grid.crop(box)
    return [grid.to_patient(np.argwhere(parts == n + 1)) for n in order]


def menton(maps: Sequence[LabelMap], eyes: tuple[Float, Float] | None) -> Float | None:
    """The chin's skin from the first label map that has a jaw."""
    for labels in maps:
        points = _structure(labels, "mandible")
        found = None if points is None else chin_of(points, eyes)
        if found is not None:
            return found
    return None


def chin_of(jaw: Float, eyes: tuple[Float, Float] | None) -> Float | None:
    """The chin's skin: the jaw's midline point farthest from its joints, and the soft tissue below it; (N, 3) LPS mm."""
    joints = jaw[jaw[:, 2] >= np.quantile(jaw[:, 2], 0.9)].mean(axis=0)
    across = np.array([1.0, 0.0, 0.0]) if eyes is None else (eyes[1] - eyes[0]) / np.linalg.norm(eyes[1] - eyes[0])
    middle = (jaw.min(axis=0) + jaw.max(axis=0)) / 2.0 if eyes is None else (eyes[0] + eyes[1]) / 2.0
    arch = jaw[np.abs((jaw - middle) @ across) <= MIDLINE_MM]
    if len(arch) == 0:
        return None
    away = np.linalg.norm(arch - joints, axis=1)
    bone = arch[away >= away.max() - 3.0].mean(axis=0)
    down = bone - joints
    down = down - (down @ across) * across
    return np.asarray(bone + CHIN_PAD_MM * down / np.linalg.norm(down))


def _structure(labels: LabelMap, meaning: str) -> Float | None:
    """Voxel centres of the largest part of one structure; None where it is missing or a fragment."""
    boxes = boxes_of(labels)
    numbers = [n for n in boxes if labels.labels[n].meaning == meaning]
    if not numbers:
        return None
    part = labels.crop(boxes[numbers[0]])
    points = part.grid.to_patient(np.argwhere(largest_part(np.asarray(part.array == numbers[0]))))
    return points if len(points) * labels.grid.voxel_ml >= LEAST_JAW_ML else None


def profile(head: HeadScan, eyes: tuple[Float, Float], chin: Float) -> dict[str, Float]:
    """Nose tip and nose root: the foremost skin of the midline between eyes and chin, and at the height of the eyes."""
    middle = (eyes[0] + eyes[1]) / 2.0
    across = (eyes[1] - eyes[0]) / np.linalg.norm(eyes[1] - eyes[0])
    down = chin - middle
    down = down - (down @ across) * across
    height = float(np.linalg.norm(down))
    down = down / height
    front = np.cross(down, across)
    steps = np.arange(FRONT_MM[1], FRONT_MM[0], -0.5)
    found: dict[str, Float] = {}
    heights = height * np.arange(NOSE_HEIGHTS[0], NOSE_HEIGHTS[1], 1.0 / height)
    ahead = np.array([_skin(head, middle + drop * down, front, steps) for drop in heights])
    if np.isfinite(ahead).any():
        tip = ahead >= ahead.max() - TIP_MM
        found["nose_tip"] = middle + heights[tip].mean() * down + ahead.max() * front
    root = _skin(head, middle, front, steps)
    if np.isfinite(root):
        found["nasion"] = middle + root * front
    return found


def _skin(head: HeadScan, start: Float, front: Float, steps: Float) -> float:
    """How far before a point the patient's skin lies, mm; minus infinity where the ray from the front meets none."""
    values = sample(head.volume, start + steps[:, None] * front)
    dense = values > SKIN_HU
    first = int(dense.argmax())
    if not dense.any() or first == 0:
        return -np.inf
    air, tissue = float(values[first - 1]), float(values[first])
    return float(steps[first] + (steps[first - 1] - steps[first]) * (tissue - SKIN_HU) / (tissue - air))
