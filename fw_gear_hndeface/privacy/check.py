"""Is the result any nearer to the original than strangers are? The question every run must answer before it writes.

A single case has no rank statistics, so a gallery of synthetic strangers (embeddings only, made by `scripts/make_gallery`)
says how near two different heads come in the same views. The result must not come nearer to its own original than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fw_gear_hndeface.model import Float
from fw_gear_hndeface.ops.render import Picture, Pose, Surface
from fw_gear_hndeface.privacy.recognise import Likeness, alignment, embed, find_face
from fw_gear_hndeface.privacy.slopes import ShapeMatch, match_shape
from fw_gear_hndeface.privacy.views import Skin, pictures

#: Views of the head frame in which detectors find faces best: from a little below to level, from the front and both sides.
POSES = tuple(Pose(pitch, yaw) for pitch in (-20.0, 0.0) for yaw in (-22.0, 0.0, 22.0))
#: Strangers as each landmark model aligns them: distances compare only between faces that were aligned alike.
GALLERIES = {"dlib68": "gallery.npz", "none": "gallery_box.npz"}
#: Share of stranger pairs that must be at least as near as the result is to its original.
STRANGER_SHARE = 0.05
#: Share from which on no further try is made: the result is as far from its original as strangers usually are.
CLEAR_SHARE = 0.25

#: One picture of a head and the face found in it.
View = tuple[Picture, Likeness | None]


@dataclass(frozen=True, eq=False)
class Sight:
    """One view of the result: its picture (R, C) grey, whether a face, anybody's, is seen in it, and its distance.

    `distance` to the original in this view is NaN where the original showed no face.
    """

    pose: Pose
    grey: NDArray[np.uint8]
    face_seen: bool
    distance: float


@dataclass(frozen=True, eq=False)
class Assessment:
    """What the recogniser made of one result.

    Parameters
    ----------
    views : views in which the original's face was found; the others say nothing and are left out
    seen_after : of those, the views in which the detector still finds a face, anybody's
    own_distance, nearest_distance : mean and smallest distance from the result to its original over the views
    stranger_share : share of stranger pairs that are as near or nearer over the same views; NaN without views
    score_before, score_after : best detector scores (NaN: no face)
    sights : every view of the result
    shape : how far the result's shape is the original's; None where too little of either is seen
    """

    views: int
    seen_after: int
    own_distance: float
    nearest_distance: float
    stranger_share: float
    score_before: float
    score_after: float
    sights: tuple[Sight, ...] = ()
    shape: ShapeMatch | None = None

    @property
    def passed(self) -> bool:
        """Whether the result looks no more like the original than strangers do, and has not its shape.

        True where no face was there to match.
        """
        return not self.shape_matched and (self.views == 0 or self.stranger_share >= STRANGER_SHARE)

    @property
    def is_clear(self) -> bool:
        """Whether another try would gain nothing worth its time."""
        return not self.shape_matched and (self.views == 0 or self.stranger_share >= CLEAR_SHARE)

    @property
    def shape_matched(self) -> bool:
        """Whether the shape of the result is nobody's but the original's."""
        return self.shape is not None and self.shape.is_match()

    @property
    def merit(self) -> tuple[bool, float]:
        """What the better of two tries has more of."""
        return not self.shape_matched, 1.0 if self.views == 0 else self.stranger_share

    def measures(self) -> dict[str, Any]:
        """Plain data for the report."""
        return {
            "passed": self.passed,
            "views": self.views,
            "views_with_a_face_after": self.seen_after,
            "own_distance": _plain(self.own_distance),
            "nearest_distance": _plain(self.nearest_distance),
            "stranger_share": _plain(self.stranger_share),
            "required_share": STRANGER_SHARE,
            "detector_score_before": _plain(self.score_before),
            "detector_score_after": _plain(self.score_after),
            "gallery": len(gallery()),
            "shape": None if self.shape is None else self.shape.measures(),
            "sights": [
                {
                    "pitch_deg": sight.pose.pitch_deg,
                    "yaw_deg": sight.pose.yaw_deg,
                    "face_seen": sight.face_seen,
                    "distance": _plain(sight.distance),
                }
                for sight in self.sights
            ],
        }


def _plain(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def gallery() -> NDArray[np.float32]:
    """Embeddings of synthetic strangers in `POSES`, (heads, views, 128), aligned as ours are; NaN where no face was found."""
    return _gallery(GALLERIES[alignment()])


@cache
def _gallery(name: str) -> NDArray[np.float32]:
    with resources.as_file(resources.files("fw_gear_hndeface.privacy") / name) as path, np.load(path) as data:
        poses = [(pose.pitch_deg, pose.yaw_deg) for pose in POSES]
        if not np.allclose(data["poses"], poses):
            raise ValueError("the gallery was made for other views: run scripts/make_gallery")
        return np.asarray(data["embeddings"], dtype=np.float32)


def likenesses(surface: Surface) -> list[View]:
    """Each view of a surface with the face found in it."""
    return [(picture, find_face(picture.grey)) for picture in pictures(surface, POSES)]


def shape_match(before: Skin, after: Skin) -> ShapeMatch | None:
    """How far a result's shape is the original's; None where too little of either is seen."""
    return None if before.slopes is None or after.slopes is None else match_shape(after.slopes, before.slopes)


def assess(before: Sequence[View], after: Surface) -> Assessment:
    """How near the result is to its original, against how near strangers are to each other.

    Parameters
    ----------
    before : `likenesses` of the original's surface
    after : the result's surface
    """
    originals = [face for _, face in before]
    results = likenesses(after)
    used = [n for n, face in enumerate(originals) if face is not None and n < len(results)]
    distances = np.array([_distance(originals[n], *results[n]) for n in used])
    scores = [face.score for _, face in results if face is not None]
    each = np.full(len(results), np.nan)
    each[used] = distances
    return Assessment(
        views=len(used),
        seen_after=sum(results[n][1] is not None for n in used),
        own_distance=float(distances.mean()) if used else np.nan,
        nearest_distance=float(distances.min()) if used else np.nan,
        stranger_share=float(np.mean(strangers(used) <= distances.mean())) if used else np.nan,
        score_before=max((face.score for face in originals if face is not None), default=np.nan),
        score_after=max(scores, default=np.nan),
        sights=tuple(
            Sight(pose, picture.grey, face is not None, float(far))
            for pose, (picture, face), far in zip(POSES, results, each, strict=False)
        ),
    )


def _distance(original: Likeness | None, picture: Picture, found: Likeness | None) -> float:
    """Distance in one view. Where no face is found any more, the attacker looks where the original's face was."""
    if original is None:
        raise ValueError("a view without the original's face cannot be compared")
    result = found.embedding if found is not None else embed(picture.grey, original.box)
    return float(np.linalg.norm(result - original.embedding))


def strangers(views: Sequence[int]) -> Float:
    """Mean distance over the given views of every pair of gallery heads that shows a face in at least half of them, sorted."""
    heads = gallery()[:, list(views)].astype(np.float64)
    first, second = np.triu_indices(len(heads), 1)
    distance = np.linalg.norm(heads[first] - heads[second], axis=2)
    enough = np.isfinite(distance).sum(axis=1) * 2 >= len(views)
    return np.sort(np.nanmean(distance[enough], axis=1))
