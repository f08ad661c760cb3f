"""Face embeddings of pictures: 128 numbers per face, near for one person and far for two.

Source
------
dlib face recognition network (ResNet, CC0 weights); distances are Euclidean, jitters are off so that numbers repeat.
"""

from __future__ import annotations

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


@dataclass(frozen=True, eq=False)
class Likeness:
    """A face as the recogniser sees it: 128 numbers, the detector's score and its box in pixels."""

    embedding: Float
    score: float
    box: Box


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
    shape = predictor()(colour, dlib.rectangle(*box))
    return np.array(_network().compute_face_descriptor(colour, shape, 0), dtype=np.float64)
