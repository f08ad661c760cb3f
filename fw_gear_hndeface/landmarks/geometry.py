"""Landmarks of a cut face from its midline profile: chin from the jaw bone, pitch and size from nose or lips.

Used when no detector sees a face because eyes or more are outside the scan. It reads two curves in the mid-sagittal plane, the
front of the skin and the front of the bone, and lays the canonical face on them.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from fw_gear_hndeface.landmarks.contract import Evidence, Source, nothing
from fw_gear_hndeface.model import Landmark, Landmarks, Volume
from fw_gear_hndeface.ops.boxes import points_box
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.profile import BONE_HU, Profile
from fw_gear_hndeface.vocabulary import CANONICAL_FACE_MM

#: Soft tissue between the skin of the chin and the symphysis is 8-16 mm thick; hyoid and spine lie deeper.
JAW_DEPTH_MM = 24.0
#: The nasal aperture, from nasal bones to upper jaw, is the widest gap in the front bone of a face.
GAP_MM = 45.0
#: Front bone may step back by this much from slice to slice; from chin to hyoid it steps back farther.
STEP_BACK_MM = 14.0
#: Across a gap the front may recede with the slope of a receding jaw, less than that from jaw to hyoid.
SLOPE = 0.4
#: A jaw's front bone is at least this high, spreads to both sides by this much within 7 cm of the chin, and the skin falls
#: back by at least this much below the chin. Sternum and clavicles spread farther, hyoid and larynx are lower and narrower.
JAW_HEIGHT_MM, JAW_SPREAD_MM, BELOW_CHIN_MM = 22.0, (32.0, 82.0), 12.0
#: A nose stands at least this far before the upper lip 14 mm below its tip.
NOSE_MM = 8.0
SIGMA_MM = 7.0
#: Without a nose, size is taken as average and pitch from the lips alone.
SIGMA_NO_NOSE_MM = 10.0
#: Without a throat in view, what looks like a chin may be any bone that the scan's end cuts: more than any run accepts.
SIGMA_NO_THROAT_MM, THROAT_MM = 15.0, 15.0
#: Sizes of faces that a profile is believed, against the canonical adult.
SIZES = (0.7, 1.35)
#: Chins are lowered by 30 and raised by 55 degrees at most, usually raised by 15 in a planning mask; radians.
PITCH, USUAL_PITCH = (-0.52, 0.96), 0.26


def find_chin(profile: Profile) -> int | None:
    """Row of the menton: where the front bone of the jaws, followed downwards, ends or steps back to hyoid and spine."""
    step = abs(profile.z[1] - profile.z[0])
    last, gap = None, 0.0
    for row in range(len(profile.z)):
        depth = profile.bone[row] - profile.skin[row]
        jaw = np.isfinite(depth) and depth < JAW_DEPTH_MM
        if jaw and last is not None and profile.bone[row] - profile.bone[last] > STEP_BACK_MM + SLOPE * gap:
            break
        if jaw:
            last, gap = row, 0.0
        else:
            gap += step
            if last is not None and gap > GAP_MM:
                break
    return last


def is_jaw(volume: Volume, profile: Profile, chin: int) -> bool:
    """Whether the bone above a supposed chin is a jaw: high, an arch to both sides, the throat falling back below."""
    above = (profile.z >= profile.z[chin]) & (profile.z <= profile.z[chin] + 60.0)
    height = np.count_nonzero(above & (profile.bone - profile.skin < JAW_DEPTH_MM)) * abs(profile.z[1] - profile.z[0])
    below = profile.skin[(profile.z <= profile.z[chin] - 15.0) & (profile.z >= profile.z[chin] - 40.0)]
    below = below[np.isfinite(below)]
    retreats = below.size == 0 or float(below.max()) - profile.skin[chin] >= BELOW_CHIN_MM
    spread = _spread(volume, profile, chin)
    return bool(height >= JAW_HEIGHT_MM and retreats and all(JAW_SPREAD_MM[0] <= side <= JAW_SPREAD_MM[1] for side in spread))


def _spread(volume: Volume, profile: Profile, chin: int) -> tuple[float, float]:
    """How far front bone reaches to the left and to the right of the midline within 3 cm above the chin, mm."""
    corners = np.array(
        [
            [profile.middle - 200.0, profile.skin[chin] - 10.0, profile.z[chin]],
            [profile.middle + 200.0, profile.skin[chin] + 70.0, profile.z[chin] + 30.0],
        ]
    )
    box = points_box([corners], volume.grid, margin=0)
    if box is None:
        return 0.0, 0.0
    near = volume.crop(box)
    columns = np.flatnonzero((near.array > BONE_HU).any(axis=(0, 1)))
    if columns.size == 0:
        return 0.0, 0.0
    ends = near.grid.to_patient(np.array([[0, 0, columns[0]], [0, 0, columns[-1]]]))[:, 0] - profile.middle
    return float(ends[1]), float(-ends[0])


def find_nose(profile: Profile, chin: int) -> int | None:
    """Row of the nose tip: the foremost skin 45-100 mm above the chin that stands clear of the upper lip."""
    z = profile.z - profile.z[chin]
    smooth = ndimage.gaussian_filter1d(np.where(np.isfinite(profile.skin), profile.skin, 1e3), 1.0)
    rows = np.flatnonzero((z > 42.0) & (z < 105.0) & np.isfinite(profile.skin))
    if rows.size < 3:
        return None
    tip = int(rows[smooth[rows].argmin()])
    lip = int(np.abs(z - (z[tip] - 14.0)).argmin())
    return tip if smooth[lip] - smooth[tip] >= NOSE_MM else None


def locate(evidence: Evidence) -> Landmarks:
    """The canonical face laid on chin and nose, or on chin and lips; nothing where no jaw is found."""
    profile = evidence.head.profile
    chin = None if profile is None else find_chin(profile)
    if profile is None or chin is None or profile.z[0] - profile.z[chin] < 20.0:
        return nothing()
    if not is_jaw(evidence.head.volume, profile, chin):
        return nothing()
    frame, sigma = _frame(profile, chin)
    if profile.z[chin] - profile.z[-1] < THROAT_MM:
        sigma = SIGMA_NO_THROAT_MM
    if not SIZES[0] <= frame.scale <= SIZES[1]:
        return nothing()
    names = CANONICAL_FACE_MM
    return Landmarks({name: Landmark(frame.canonical(name), sigma, SOURCE.name) for name in names})


def _frame(profile: Profile, chin: int) -> tuple[HeadFrame, float]:
    """Head frame with its midline at the profile's and pitch and size from two points of it.

    A nose so near the chin that its face would be no one's is a lip under the cut end of the scan.
    """
    nose = find_nose(profile, chin)
    if nose is not None:
        frame, sigma = _laid(profile, chin, "nose_tip", nose)
        if frame.scale >= SIZES[0]:
            return frame, sigma
    rows = np.flatnonzero((profile.z > profile.z[chin] + 25.0) & np.isfinite(profile.skin))
    return _laid(profile, chin, "lip_upper", int(rows[profile.skin[rows].argmin()] if rows.size else 0))


def _laid(profile: Profile, chin: int, name: str, other: int) -> tuple[HeadFrame, float]:
    """The canonical face laid on the chin and on a second landmark of the profile; only a nose tells its size."""
    sigma = SIGMA_MM if name == "nose_tip" else SIGMA_NO_NOSE_MM
    base = np.array([profile.skin[chin], profile.z[chin]])
    found = np.array([profile.skin[other], profile.z[other]]) - base
    model = np.array(CANONICAL_FACE_MM[name])[1:] - np.array(CANONICAL_FACE_MM["chin"])[1:]
    turn = float(np.arctan2(found[0], found[1]) - np.arctan2(model[0], model[1]))
    scale = float(np.linalg.norm(found) / np.linalg.norm(model)) if name == "nose_tip" else 1.0
    if not PITCH[0] <= turn <= PITCH[1]:
        turn, sigma = USUAL_PITCH, SIGMA_NO_NOSE_MM
    up = np.array([0.0, np.sin(turn), np.cos(turn)])
    axes = np.array([[1.0, 0.0, 0.0], np.cross(up, [1.0, 0.0, 0.0]), up])
    chin_point = np.array([profile.middle, *base])
    return HeadFrame(chin_point - scale * np.array(CANONICAL_FACE_MM["chin"]) @ axes, axes, scale), sigma


SOURCE = Source("geometry", "midline profile of skin and jaw bone; ranges of methods.md 2.1", locate)
