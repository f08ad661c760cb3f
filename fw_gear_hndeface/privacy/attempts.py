"""What a run itself tries on its result: one picture of the surface that each attack finds, and whether it tells who it was.

The whole battery takes minutes. Here every attack has one try, on a coarse grid and in one view, which is enough to show a
person what there is to see; what comes near the original in that view is looked at in all of them before it counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fw_gear_hndeface.model import Grid, Mask, Volume
from fw_gear_hndeface.ops.boxes import part_around
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.render import Surface
from fw_gear_hndeface.privacy.attacks import ATTACKS, Attack, Exposed, expose
from fw_gear_hndeface.privacy.battery import MATCHED_SHARE
from fw_gear_hndeface.privacy.check import POSES, View
from fw_gear_hndeface.privacy.match import FRONTAL, Looks, Match, look_at, match, moved_box
from fw_gear_hndeface.privacy.recognise import embed, find_face
from fw_gear_hndeface.privacy.views import pictures

#: Edge of the voxels that attacks work on here, mm.
COARSE_MM = 2.5
#: The texture of a fill lies within slices, so slices nearer than this are left out, mm.
THIN_MM = 6.0
#: The plain skin has its own check, in every view.
TRIED = tuple(attack for attack in ATTACKS.values() if attack.name != "skin")


@dataclass(frozen=True, eq=False)
class Attempt:
    """One attack's surface as the recogniser saw it.

    Parameters
    ----------
    surface : which of the attack's surfaces this is
    inner : muscle or bone, left by design: it is shown, not compared
    grey : (R, C) picture from the front
    score : of the face that the detector sees in it; NaN for none
    match : how near it comes to the original; None for inner surfaces and where the original shows no face from the front
    """

    attack: str
    surface: str
    inner: bool
    grey: NDArray[np.uint8]
    score: float
    match: Match | None

    @property
    def is_matched(self) -> bool:
        """Whether it is told from all strangers, nearer than many tries come by chance."""
        return self.match is not None and self.match.rank == 1 and self.match.stranger_share < MATCHED_SHARE

    def measures(self) -> dict[str, Any]:
        """Plain data for the report."""
        distance, share = (self.match.distance, self.match.stranger_share) if self.match else (np.nan, np.nan)
        numbers = {"detector_score": self.score, "distance": distance, "stranger_share": share}
        told = {name: round(float(value), 4) if np.isfinite(value) else None for name, value in numbers.items()}
        return {"attack": self.attack, "surface": self.surface, "inner": self.inner, "matched": self.is_matched, **told}


def try_attacks(
    after: Volume, patient: Sequence[Mask], frame: HeadFrame, original: Sequence[View], attacks: Sequence[Attack] = TRIED
) -> tuple[Attempt, ...]:
    """The first surface of every attack on a result; none for an attack that finds nothing.

    Parameters
    ----------
    patient : masks whose union, a little grown, is the patient
    original : `check.likenesses` of the original's surface
    """
    exposed = expose(after, patient, frame, spacing_mm=COARSE_MM)
    exposed = Exposed(_thinned(after, exposed.rays.grid), exposed.rays, exposed.hu, exposed.near)
    tried = (_attempt(attack, exposed, original) for attack in attacks)
    return tuple(one for one in tried if one is not None)


def _attempt(attack: Attack, exposed: Exposed, original: Sequence[View]) -> Attempt | None:
    guess = next(attack.guesses(exposed), None)
    surface = guess.surface() if guess is not None else None
    if guess is None or surface is None or surface.is_empty:
        return None
    view = _frontal(original)
    picture = pictures(surface, [POSES[view]])[0]
    face = find_face(picture.grey)
    score = face.score if face is not None else np.nan
    known = original[view] if view < len(original) else None
    found = None
    if known is not None and known[1] is not None and not attack.inner:
        rows = np.full((len(POSES), 128), np.nan)
        box = moved_box(known[1].box, known[0], picture)  # an attacker who sees no face looks where it was
        rows[view] = face.embedding if face is not None else embed(picture.grey, box)
        found = _confirmed(match(original, Looks(rows, int(face is not None), score)), surface, original)
    return Attempt(attack.name, guess.label, attack.inner, picture.grey, score, found)


def _frontal(original: Sequence[View]) -> int:
    """The view from the front in which the original's face is seen best."""
    seen = {n: original[n][1] for n in FRONTAL if n < len(original)}
    return max(FRONTAL, key=lambda n: -np.inf if (face := seen.get(n)) is None else face.score)


def _confirmed(first: Match, surface: Surface, original: Sequence[View]) -> Match:
    """A match in one view, by all views where it could count: one of a gallery of strangers is always the nearest."""
    if first.rank != 1 or first.stranger_share >= MATCHED_SHARE:
        return first
    return match(original, look_at(surface, original))


def _thinned(scan: Volume, near: Grid) -> Volume:
    """The scan around a grid with slices left out, all pixels of the others kept."""
    part = part_around(scan, near)
    every = max(int(THIN_MM / float(part.grid.spacing_mm[0])), 1)
    array, affine = part.array[::every], part.grid.affine.copy()
    affine[:3, 0] *= every
    return Volume(Grid((array.shape[0], array.shape[1], array.shape[2]), affine, part.grid.frame), array, part.unit)
