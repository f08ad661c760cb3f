"""Face embeddings of pictures: 128 numbers per face, near for one person and far for two.

Source
------
dlib face recognition network (ResNet, CC0 weights); distances are Euclidean, jitters are off so that numbers repeat.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

import dlib
import numpy as np
from numpy.typing import NDArray

from fw_gear_hndeface.landmarks.detector import detect, model_file, predictor
from fw_gear_hndeface.model import Float

#: Width of the detector's box on a face, pixels at 1 mm.
BOX_PX = (65, 240)

Box = tuple[int, int, int, int]

#: Outer and inner corner of the left eye, of the right one, and the base of the nose, as shares of the detector's box (right,
#: down). Means over 12 parametric heads of known landmarks seen from straight ahead, made symmetric; deviation 0.04.
BOX_POINTS = ((0.852, 0.282), (0.639, 0.291), (0.190, 0.282), (0.403, 0.291), (0.521, 0.616))

#: Landmark model that aligns faces for the recogniser: "dlib68", or "none" for the detector's box alone.
_ALIGNED_BY: ContextVar[str] = ContextVar("aligned_by", default="dlib68")


@dataclass(frozen=True, eq=False)
class Likeness:
    """A face as the recogniser sees it: 128 numbers, the detector's score and its box in pixels."""

    embedding: Float
    score: float
    box: Box


@contextmanager
def aligned_by(model: str) -> Iterator[None]:
    """Within the block, faces are aligned by this landmark model (`vocabulary.LANDMARK_MODELS`) and no other is loaded."""
    token = _ALIGNED_BY.set(model)
    try:
        yield
    finally:
        _ALIGNED_BY.reset(token)


def alignment() -> str:
    """The landmark model that aligns faces here."""
    return _ALIGNED_BY.get()


@cache
def _network() -> Any:
    return dlib.face_recognition_model_v1(model_file("dlib_face_recognition_resnet_model_v1.dat"))


def find_face(picture: NDArray[np.uint8]) -> Likeness | None:
    """The surest face of plausible size in a grey picture (R, C) at 1 mm per pixel; None where there is none."""
    for face in detect(picture):
        if BOX_PX[0] <= face.width <= BOX_PX[1]:
            return Likeness(embed(picture, face.box), face.score, face.box)
    return None


def embed(picture: NDArray[np.uint8], box: Box) -> Float:
    """Embedding of whatever lies in a box, face or not: what an attacker gets who knows where the face was, (128,)."""
    colour = np.ascontiguousarray(np.repeat(picture[..., None], 3, axis=2))
    shape = box_shape(box) if alignment() == "none" else predictor()(colour, dlib.rectangle(*box))
    return np.array(_network().compute_face_descriptor(colour, shape, 0), dtype=np.float64)


def box_shape(box: Box) -> Any:
    """The five points that dlib aligns a face by, where they usually lie in a detector's box."""
    width, height = box[2] - box[0], box[3] - box[1]
    points = [dlib.point(round(box[0] + right * width), round(box[1] + down * height)) for right, down in BOX_POINTS]
    return dlib.full_object_detection(dlib.rectangle(*box), dlib.points(points))
