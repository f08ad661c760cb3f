"""Landmarks from label maps that somebody gave: NIfTI among the inputs, or DICOM SEG."""

from __future__ import annotations

from fw_gear_hndeface.landmarks.contract import Evidence, Source
from fw_gear_hndeface.landmarks.from_labels import landmarks_of
from fw_gear_hndeface.model import Landmarks


def locate(evidence: Evidence) -> Landmarks:
    """Eyes, chin and nose from the given label maps; nothing without one."""
    given = [labels for labels in evidence.labels if labels.source in ("given", "segmentation")]
    return landmarks_of(evidence, given, SOURCE.name)


SOURCE = Source(
    "segmentation", "label maps by name: TotalSegmentator, CADS, MOOSE, SynthSeg, SuperSynth, drawn segments", locate
)
