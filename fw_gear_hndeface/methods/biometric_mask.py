"""Cuts out three boxes: the lower face and both ears; eyes and forehead stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fw_gear_hndeface.methods.contract import GIVEN, Bounds, Method, Scene
from fw_gear_hndeface.model import Bool, Proposal
from fw_gear_hndeface.ops.fills import material
from fw_gear_hndeface.ops.near import Near, filled, look_at_region, patient_of, proposal

#: The ears' boxes end this far behind the face region.
REACH_MM = 40.0


@dataclass(frozen=True)
class Boxes:
    """The boxes of the template in the head frame, mm at scale 1; origin midway between the globes.

    The template's boxes are placed on a brain; here they follow the globes, and the face box ends at the chin, not at the last
    slice.
    """

    face_half_width_mm: float = 40.0
    face_top_mm: float = -26.0
    face_back_mm: float = 19.0
    below_chin_mm: float = 5.0
    ears: bool = True
    ear_inner_mm: float = 79.0
    ear_y_mm: tuple[float, float] = (73.0, 135.0)
    ear_z_mm: tuple[float, float] = (-33.0, 26.0)


def propose(scene: Scene, boxes: Boxes | None = None) -> Proposal:
    """Air (or another fill) in the patient's part of the boxes."""
    boxes = boxes or Boxes()
    near, region = look_at_region(scene.scan, scene.frame, REACH_MM)
    patient = patient_of(near, scene.body)
    cut = _face(near, scene, boxes)
    if boxes.ears:
        cut |= _ears(near, boxes)
    # partial volume around the skin belongs to the patient too: it would stay as a film of the old face
    edge = near.scan.array > -950
    fill = "air" if scene.fill == "auto" else scene.fill
    values = material(fill, near, patient & ~cut, np.random.default_rng(scene.seed))
    return proposal(scene.scan, near, filled(near, cut & region & (patient | (edge & (fill == "air"))), values), METHOD.name)


def _face(near: Near, scene: Scene, boxes: Boxes) -> Bool:
    scale = scene.frame.scale
    chin = scene.landmarks["chin"].point if "chin" in scene.landmarks else scene.frame.canonical("chin")
    bottom = float(scene.frame.to_frame(chin)[2]) / scale - boxes.below_chin_mm
    half = boxes.face_half_width_mm
    return near.within((-half, -np.inf, bottom), (half, boxes.face_back_mm, boxes.face_top_mm))


def _ears(near: Near, boxes: Boxes) -> Bool:
    (front, back), (low, high) = boxes.ear_y_mm, boxes.ear_z_mm
    inner = boxes.ear_inner_mm
    return np.asarray(
        near.within((inner, front, low), (np.inf, back, high)) | near.within((-np.inf, front, low), (-inner, back, high))
    )


METHOD = Method(
    name="biometric_mask",
    reference="ct_biometric_mask of ichseg (Muschelli); boxes placed by landmarks instead of a brain registration",
    removes="a box of 80 mm width from under the eyes to the chin, jaw bone and teeth included, and the outer ears",
    leaks="eyes, brows and forehead stay as they were; the box cuts the mandible, the submandibular glands and node level Ib",
    licence="own code, Apache-2.0; the published code is GPL-2 and was not used",
    propose=propose,
    varies=False,
    bounds=Bounds(most_removed_ml=700.0, reach_mm=REACH_MM),
    rules=GIVEN,
)
