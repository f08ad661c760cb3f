"""Replaces the face that a given label map names."""

from __future__ import annotations

from fw_gear_hndeface.methods.contract import GIVEN, Bounds, Method, Scene
from fw_gear_hndeface.methods.face_label import propose_label
from fw_gear_hndeface.model import Proposal


def propose(scene: Scene) -> Proposal:
    """Air, tissue or a number in the labelled face.

    Raises
    ------
    LandmarkError
        No given label map names a face.
    """
    given = [labels for labels in scene.labels if labels.source in ("given", "segmentation")]
    return propose_label(scene, given, METHOD.name)


METHOD = Method(
    name="segmented_face",
    reference="face labels of TotalSegmentator, CADS, MOOSE or a person, given as NIfTI or DICOM SEG beside the CT",
    removes="the voxels labelled face or ears, whatever whoever labelled them took for a face",
    leaks="where the label is tight to the skin its own outline is the face; fill=face keeps that outline in tissue",
    licence="own code, Apache-2.0; a face label by TotalSegmentator needs its licence, CADS and MOOSE have their own terms",
    propose=propose,
    bounds=Bounds(most_removed_ml=1500.0),
    rules=GIVEN,
    needs="a label map in which a label is called face",
)
