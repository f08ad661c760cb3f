"""Landmarks of a face, cut or whole, by a statistical shape of faces laid on the skin.

Asked where no detector sees a sure face. It needs neither eyes nor bone: the shape's points that the scan shows have to lie on
the skin, those that it does not show say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from fw_gear_hndeface.landmarks.contract import Evidence, Source, nothing
from fw_gear_hndeface.model import Float, Landmark, Landmarks
from fw_gear_hndeface.ops.face_shape import PLACING, Placed, Problem, Skin, face_shape, refined
from fw_gear_hndeface.ops.frame import SCALES
from fw_gear_hndeface.ops.head import HeadScan
from fw_gear_hndeface.vocabulary import CANONICAL_FACE_MM

#: Where the search starts: lips at every so many mm of the midline's skin, in these pitches and sizes.
STEP_MM, PITCHES_DEG, SIZES = 12.0, (-35.0, -10.0, 15.0), (0.8, 1.0)
#: Starts that are tried as they are, and those of them that are tried with the shape's own modes; rounds of each.
RIGID, FREE = 24, 8
RIGID_ROUNDS, FREE_ROUNDS = 15, 30
#: Fits whose origins and pitches are nearer than this are one and the same, mm and radians.
SAME_MM, SAME_RAD = 3.0, 0.08
#: What a whole own relief takes off the misfit when fits are compared: a shape too low on a face shows more points of itself.
RELIEF_GAIN = 0.2
#: Kinds of faces: most misfit, least relief, sigma in mm. Necks reach a misfit of 0.82 with a relief of 0.24 and 0.87 with
#: 0.41, chests 0.85 with 0.09, vaults 0.74 and limbs 0.7 with none; 1 is a scan that shows nothing. The last kind may be
#: the flat face of somebody or the back of somebody's head: less sure than any run accepts, but no reason to say "no face".
FACES = ((0.7, 0.04, 8.0), (0.8, 0.1, 8.0), (0.86, 0.4, 10.0), (0.83, 0.015, 15.0))


@dataclass(frozen=True, eq=False)
class Fit:
    """A placed shape: its values, its misfit against that of a scan that shows nothing, and its relief (`Problem.relief`)."""

    values: Float
    misfit: float
    relief: float

    @property
    def sigma_mm(self) -> float:
        """How sure the place is; infinite where what is seen is no more a face than necks, vaults and backs of heads are."""
        size = float(np.exp(self.values[6]))
        known = [sigma for misfit, relief, sigma in FACES if self.misfit <= misfit and self.relief >= relief]
        return min(known) if known and SCALES[0] <= size <= SCALES[1] else np.inf

    @property
    def merit(self) -> float:
        """What the better of two fits has less of."""
        return self.misfit - RELIEF_GAIN * self.relief

    @property
    def landmarks(self) -> Landmarks:
        """Where the shape has the canonical landmarks."""
        placed = Placed(self.values)
        places = placed.places(face_shape().landmarks(placed.modes))
        names = zip(CANONICAL_FACE_MM, places, strict=True)
        return Landmarks({name: Landmark(place, self.sigma_mm, SOURCE.name) for name, place in names})


def _starts(head: HeadScan, modes: int) -> Iterator[Float]:
    """Values with the lips on the skin of the midline, from above downwards."""
    profile = head.profile
    if profile is None:
        return
    step = max(round(STEP_MM / abs(float(profile.z[1] - profile.z[0]))), 1)
    for y, z in zip(profile.skin[::step], profile.z[::step], strict=True):
        for pitch in PITCHES_DEG if np.isfinite(y) else ():
            turn = Rotation.from_euler("x", pitch, degrees=True)
            for size in SIZES:
                arm = size * turn.apply(np.array(CANONICAL_FACE_MM["lip_upper"]))
                yield np.array([*(np.array([profile.middle, y, z]) - arm), *turn.as_rotvec(), np.log(size), *np.zeros(modes)])


def fit(head: HeadScan) -> Fit | None:
    """The best placing of the face shape on a window's skin; None where there is no skin to start from."""
    problem = Problem(Skin(head))
    modes = len(problem.shape.modes)
    starts = sorted(_starts(head, modes), key=problem.loss)[:RIGID]
    rigid = sorted((refined(problem, values, PLACING, RIGID_ROUNDS) for values in starts), key=problem.loss)
    free = [refined(problem, values, PLACING + modes, FREE_ROUNDS) for values in _distinct(rigid)[:FREE]]
    fits = [Fit(values, problem.loss(values) / problem.nothing, problem.relief(values)) for values in free]
    return min(fits, key=lambda one: one.merit, default=None)


def _distinct(found: Sequence[Float]) -> list[Float]:
    """The fits without those that an earlier one has already."""
    kept: list[Float] = []
    for one in found:
        if all(np.linalg.norm(one[:3] - old[:3]) > SAME_MM or abs(one[3] - old[3]) > SAME_RAD for old in kept):
            kept.append(one)
    return kept


def locate(evidence: Evidence) -> Landmarks:
    """The landmarks of the fitted shape; nothing where no fit is a face."""
    found = fit(evidence.head)
    return found.landmarks if found is not None and np.isfinite(found.sigma_mm) else nothing()


SOURCE = Source("fitted_shape", "statistical shape of synthetic heads, fitted by least squares to the skin", locate, last=True)
