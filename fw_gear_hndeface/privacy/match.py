"""Ranks in a gallery: whose face does a surface look like most, over the same views?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fw_gear_hndeface.model import Float
from fw_gear_hndeface.ops.render import Picture, Surface
from fw_gear_hndeface.privacy.check import POSES, View, gallery, strangers
from fw_gear_hndeface.privacy.recognise import Box, embed, find_face
from fw_gear_hndeface.privacy.views import pictures

#: Views from straight in front, which are looked at first.
FRONTAL = tuple(n for n, pose in enumerate(POSES) if pose.yaw_deg == 0.0)
#: Where these already come no nearer than this share of stranger pairs, the other views are not looked at.
FAR_SHARE = 0.25
#: Name of the head a result comes from among the references of a ranking.
OWN = "own"


@dataclass(frozen=True, eq=False)
class Looks:
    """What the recogniser makes of one surface: an embedding per view (views, 128), NaN where there is none.

    `detected` counts the views in which a detector sees a face by itself; `score` is its best score, NaN for none.
    """

    embeddings: Float
    detected: int
    score: float

    @property
    def known(self) -> Float:
        """Which views say something, (views,) bool."""
        return np.isfinite(self.embeddings[:, 0])


@dataclass(frozen=True)
class Match:
    """How near a surface comes to its original: mean distance over the views, share of stranger pairs as near, and the rank
    of the original among the synthetic gallery; rank None where no view says anything."""

    views: int
    detected: int
    score: float
    distance: float
    nearest: float
    stranger_share: float
    rank: int | None
    of: int


def look_at(surface: Surface, guide: Sequence[View] | None = None) -> Looks:
    """What the recogniser makes of a surface in all views, or in the frontal ones where these leave no doubt.

    Parameters
    ----------
    guide : views of the original in the same poses. Where no face is found any more, an attacker who knows where it was looks
        there; views without the original's face say nothing.
    """
    looks = _some_looks(surface, guide, FRONTAL)
    if guide is not None:
        front = match(guide, looks)
        if front.views and front.stranger_share > FAR_SHARE:
            return looks
    rest = _some_looks(surface, guide, [n for n in range(len(POSES)) if n not in FRONTAL])
    rows = np.where(np.isfinite(looks.embeddings), looks.embeddings, rest.embeddings)
    return Looks(rows, looks.detected + rest.detected, float(np.fmax(looks.score, rest.score)))


def _some_looks(surface: Surface, guide: Sequence[View] | None, wanted: Sequence[int]) -> Looks:
    rows, scores = np.full((len(POSES), 128), np.nan), []
    for n, picture in zip(wanted, pictures(surface, [POSES[n] for n in wanted]), strict=False):
        face = find_face(picture.grey)
        known = guide[n] if guide is not None else None
        if face is not None:
            scores.append(face.score)
        if face is not None and (known is None or known[1] is not None):
            rows[n] = face.embedding
        elif known is not None and known[1] is not None:
            rows[n] = embed(picture.grey, moved_box(known[1].box, known[0], picture))
    return Looks(rows, len(scores), max(scores, default=np.nan))


def looks_of(views: Sequence[View]) -> Looks:
    """The faces that were found in some views, as they are."""
    rows = np.full((len(views), 128), np.nan)
    for n, (_, face) in enumerate(views):
        rows[n] = np.nan if face is None else face.embedding
    scores = [face.score for _, face in views if face is not None]
    return Looks(rows, len(scores), max(scores, default=np.nan))


def moved_box(box: Box, here: Picture, there: Picture) -> Box:
    """A box in one picture as it lies in another of the same pose: pictures are as large as what they show."""
    shift = np.rint((here.origin - there.origin)[:2] / there.pixel_mm).astype(int)
    return (box[0] + int(shift[0]), box[1] + int(shift[1]), box[2] + int(shift[0]), box[3] + int(shift[1]))


def distances(looks: Looks, references: Mapping[str, Float]) -> dict[str, float]:
    """Mean distance over common views to every reference; those sharing fewer than half of the views are left out.

    Parameters
    ----------
    references : name -> embeddings (views, 128) with NaN where a head shows no face.
    """
    found = {}
    for name, other in references.items():
        away = np.linalg.norm(looks.embeddings - other, axis=1)
        common = np.isfinite(away)
        if common.any() and 2 * common.sum() >= looks.known.sum():
            found[name] = float(away[common].mean())
    return found


def rank_of(name: str, found: Mapping[str, float]) -> int | None:
    """1 + the number of references that are nearer; equal ones count against us. None where the name is not among them."""
    return None if name not in found else 1 + sum(d < found[name] for other, d in found.items() if other != name)


def match(original: Sequence[View], looks: Looks) -> Match:
    """How near a surface, seen with `look_at(surface, original)`, comes to its original, against synthetic strangers."""
    own = looks_of(original)
    away = np.linalg.norm(looks.embeddings - own.embeddings, axis=1)
    used = np.flatnonzero(np.isfinite(away))
    if used.size == 0:
        return Match(0, looks.detected, looks.score, np.nan, np.nan, np.nan, None, 0)
    references = {f"stranger {n}": heads.astype(np.float64) for n, heads in enumerate(gallery())}
    found = distances(looks, {OWN: own.embeddings, **references})
    mean = float(away[used].mean())
    share = float(np.mean(strangers(used.tolist()) <= mean))
    return Match(used.size, looks.detected, looks.score, mean, float(away[used].min()), share, rank_of(OWN, found), len(found))
