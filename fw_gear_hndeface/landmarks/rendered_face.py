"""Landmarks from pictures of the skin: render, detect the face, place 68 points, project them back onto the surface."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fw_gear_hndeface.landmarks.contract import Evidence, Source, nothing
from fw_gear_hndeface.landmarks.detector import Detection, detect, shape
from fw_gear_hndeface.model import Float, Landmark, Landmarks
from fw_gear_hndeface.ops.frame import fit_frame
from fw_gear_hndeface.ops.render import Picture, Pose, Surface, render

#: Viewing angles tried first, the likeliest first: planning scans lie with the chin raised as often as level.
FIRST_POSES = tuple(Pose(pitch) for pitch in (0, 15, 30, -15, -30, 45))
#: Tried when those find nothing sure: turned and tilted heads.
MORE_POSES = tuple(Pose(p, y, r) for r in (0, 20, -20) for y in (0, 25, -25) for p in (0, 25) if y or r)
#: Tried when those find nothing sure: a patient on the side, or under a label that has back and front or head and feet wrong.
AROUND_POSES = tuple(Pose(p, y, r) for r in (0, 180) for y in (90, -90, 180, 0) for p in (0, 25) if y or r)
#: Score that ends the search; weaker faces are compared before one is taken.
SURE_SCORE = 0.6
#: Width of the detector's box on a face, mm: from an infant's to a large adult's.
BOX_MM = (70.0, 240.0)
PIXEL_MM = 1.5
#: Boxes that the 68 points are started from: the detector's, so many times as large, its middle moved down by so much of its
#: height. Detectors frame a raised chin or a long face too tightly, and the points then squeeze it: the chin lands on the lip.
STARTS = ((1.0, 0.0), (1.2, 0.0), (1.2, 0.15), (1.4, 0.0))
#: Another box's points are taken where they fit a face so much better: quality, of which 1 mm of residual is 0.06.
LEAST_GAIN = 0.1
#: From the middle of the lid contour to the centre of the globe, backwards, mm (adult, measured on heads
#: of known globe centres).
LID_TO_GLOBE_MM = 15.5

#: Index ranges of the 68 points; the picture's left is the patient's right.
POINTS = {
    "brow_right": range(17, 22),
    "brow_left": range(22, 27),
    "canthus_outer_right": (36,),
    "canthus_inner_right": (39,),
    "canthus_inner_left": (42,),
    "canthus_outer_left": (45,),
    "nasion": (27,),
    "nose_tip": (30,),
    "ala_right": (31,),
    "subnasale": (33,),
    "ala_left": (35,),
    "mouth_right": (48,),
    "lip_upper": (51,),
    "mouth_left": (54,),
    "lip_lower": (57,),
    "chin": (8,),
    "jaw_right": (4,),
    "jaw_left": (12,),
}
LIDS = {"globe_right": range(36, 42), "globe_left": range(42, 48)}
#: One sigma of a well-detected point, mm; jaw points slide along the silhouette.
SIGMA_MM = 3.0
LOOSE = {
    "jaw_right": 4.0,
    "jaw_left": 4.0,
    "brow_left": 1.5,
    "brow_right": 1.5,
    "chin": 1.8,
    "globe_left": 1.2,
    "globe_right": 1.2,
}


@dataclass(frozen=True, eq=False)
class Sighting:
    """The face in one view: detector score, pose and the 68 points on the surface, (68, 3) LPS mm (NaN: off the surface)."""

    score: float
    pose: Pose
    points: Float


def look(skin: Surface, pose: Pose) -> Sighting | None:
    """The best face of plausible size in one view of a surface."""
    picture = render(skin, pose, pixel_mm=PIXEL_MM)
    for face in detect(picture.grey):
        if BOX_MM[0] <= face.width * PIXEL_MM <= BOX_MM[1]:
            first, *others = _sightings(picture, face, pose)
            if _plausible(first):
                best = max([first, *filter(_plausible, others)], key=_quality)
                return best if _quality(best) > _quality(first) + LEAST_GAIN else first
    return None


def _sightings(picture: Picture, face: Detection, pose: Pose) -> Iterator[Sighting]:
    """The 68 points of a detected face, from each of the boxes that they are started from."""
    left, top, right, bottom = face.box
    for grow, down in STARTS:
        half, across, deep = 0.5 * grow * (right - left), 0.5 * (left + right), 0.5 * (top + bottom) + down * (bottom - top)
        box = round(across - half), round(deep - half), round(across + half), round(deep + half)
        pixels = shape(picture.grey, face.box if grow == 1.0 else box)
        yield Sighting(face.score, pose, picture.to_patient(pixels[:, 0], pixels[:, 1]))


def sight(skin: Surface) -> Sighting | None:
    """The surest face over all views, seen again from straight in front; None where no view shows one."""
    best = None
    for poses in (FIRST_POSES, MORE_POSES):
        for pose in poses:
            best = _surer(best, look(skin, pose))
        if best is not None and best.score >= SURE_SCORE:
            break
    else:
        best = _around(skin, best)
    return None if best is None else _surer(best, _frontal(skin, best))


def _around(skin: Surface, best: Sighting | None) -> Sighting | None:
    """A better face from elsewhere in place of an unsure one; in place of none only a sure one, for ears and backs of heads
    are now and then taken for faces."""
    for pose in AROUND_POSES:
        seen = look(skin, pose)
        if seen is not None and (best is not None or seen.score >= SURE_SCORE):
            best = _surer(best, seen)
    return best


def _surer(one: Sighting | None, other: Sighting | None) -> Sighting | None:
    if one is None or other is None:
        return one or other
    return other if _quality(other) > _quality(one) else one


def _quality(sighting: Sighting) -> float:
    """The detector's score, less what speaks against a face: distance from the canonical shape and an unusual size."""
    frame = fit_frame(_marks(sighting, POINTS, SIGMA_MM))
    if frame is None:
        return -np.inf
    return sighting.score - 0.06 * frame.residual_mm - float(abs(np.log(frame.scale)))


def _frontal(skin: Surface, sighting: Sighting) -> Sighting | None:
    """The face seen again with its own yaw and roll taken out; pitch stays, as the detector chose it."""
    right, left = (_middle(sighting.points[list(LIDS[name])]) for name in LIDS)
    across = left - right
    yaw = float(np.degrees(np.arctan2(across[1], across[0])))
    roll = float(np.degrees(np.arctan2(-across[2], np.hypot(across[0], across[1]))))
    if abs(yaw) + abs(roll) < 3.0 or abs(yaw) > 60.0:
        return None
    return look(skin, Pose(sighting.pose.pitch_deg, yaw, roll))


def _plausible(sighting: Sighting) -> bool:
    """Gates against faces seen in noise: size, symmetry and depth of what was found (mm)."""
    points = sighting.points
    eyes = [_middle(points[list(LIDS[name])]) for name in LIDS]
    middle, mouth, nose = (eyes[0] + eyes[1]) / 2, _middle(points[48:60]), _middle(points[28:34])
    if not np.all(np.isfinite([*middle, *mouth, *nose])):
        return False
    between, height = np.linalg.norm(eyes[0] - eyes[1]), np.linalg.norm(middle - mouth)
    forward = np.dot(sighting.pose.axes[2], (middle + mouth) / 2 - nose)
    sides = [np.linalg.norm(eye - nose) for eye in eyes]
    if not (38 < between < 95 and 40 < height < 105 and 4 < forward < 45 and abs(sides[0] - sides[1]) < 14):
        return False
    frame = fit_frame(_marks(sighting, POINTS, SIGMA_MM))
    return frame is not None and frame.is_a_face


def locate(evidence: Evidence) -> Landmarks:
    """Landmarks of the face seen in the window; nothing where no face is seen."""
    sighting = sight(evidence.head.skin)
    if sighting is None:
        return nothing()
    sigma = SIGMA_MM * (1.0 if sighting.score > 0.3 else 1.5)
    skin = _marks(sighting, POINTS, sigma)
    frame = fit_frame(skin)
    backwards = sighting.pose.axes[2] if frame is None else frame.axes[1]
    return skin.updated(_marks(sighting, LIDS, sigma, LID_TO_GLOBE_MM * backwards))


def _marks(sighting: Sighting, indices: Mapping[str, Sequence[int]], sigma: float, offset: Float | None = None) -> Landmarks:
    """Named landmarks from groups of the 68 points, each moved by an offset; those off the surface are left out."""
    middles = {name: _middle(sighting.points[list(numbers)]) for name, numbers in indices.items()}
    return Landmarks(
        {
            name: Landmark(point if offset is None else point + offset, sigma * LOOSE.get(name, 1.0), SOURCE_NAME)
            for name, point in middles.items()
            if np.all(np.isfinite(point))
        }
    )


def _middle(points: Float) -> Float:
    """Median of the points on the surface; NaN where fewer than half of them are."""
    good = points[np.all(np.isfinite(points), axis=1)]
    return np.full(3, np.nan) if len(good) * 2 < len(points) else np.asarray(np.median(good, axis=0))


SOURCE_NAME = "rendered_face"
SOURCE = Source(
    SOURCE_NAME, "Bannister et al. 2020: landmarks by rendering and back-projection; dlib 68 points", locate, model="dlib68"
)
