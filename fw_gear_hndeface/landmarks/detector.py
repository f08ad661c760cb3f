"""The dlib face detector and its 68-point predictor on grey pictures.

The 68-point model was trained on iBUG 300-W, whose licence excludes commercial use; the detector is free of that.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import dlib
import numpy as np
from numpy.typing import NDArray

from fw_gear_hndeface.errors import HndefaceError
from fw_gear_hndeface.model import Float

#: The lowest detector score worth looking at: dlib's own threshold is 0, weak faces lie below.
WEAK_SCORE = -0.5


@dataclass(frozen=True)
class Detection:
    """One face in a picture: detector score and box (left, top, right, bottom) in pixels."""

    score: float
    box: tuple[int, int, int, int]

    @property
    def width(self) -> int:
        """Width of the box, pixels."""
        return self.box[2] - self.box[0]


def model_file(name: str) -> str:
    """Path of one of the weights that the package face_recognition_models carries.

    The package itself cannot be imported beside a recent setuptools, so its files are found through its metadata.
    """
    try:
        files = importlib.metadata.files("face_recognition_models") or []
    except importlib.metadata.PackageNotFoundError as error:
        raise HndefaceError("The package face_recognition_models is missing: install it and run again.") from error
    for file in files:
        if file.name == name and Path(str(file.locate())).is_file():
            return str(file.locate())
    raise HndefaceError(f"The weights {name} are missing: reinstall the package face_recognition_models.")


@cache
def _detector() -> Any:
    return dlib.get_frontal_face_detector()


@cache
def predictor() -> Any:
    """The 68-point shape predictor, loaded once (a third of a second)."""
    return dlib.shape_predictor(model_file("shape_predictor_68_face_landmarks.dat"))


def detect(picture: NDArray[np.uint8], *, lowest: float = WEAK_SCORE, enlarge: int = 1) -> list[Detection]:
    """Faces in a grey picture (R, C), best first."""
    boxes, scores, _ = _detector().run(picture, enlarge, lowest)
    found = [Detection(float(s), (b.left(), b.top(), b.right(), b.bottom())) for b, s in zip(boxes, scores, strict=True)]
    return sorted(found, key=lambda face: -face.score)


def shape(picture: NDArray[np.uint8], box: tuple[int, int, int, int]) -> Float:
    """The 68 points of the face in a box: (68, 2) column and row, pixels."""
    parts = predictor()(picture, dlib.rectangle(*box)).parts()
    return np.array([(point.x, point.y) for point in parts], dtype=np.float64)
