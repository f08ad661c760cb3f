"""Landmarks from label maps that TotalSegmentator made on this scan; the package runs beforehand, in `networks`."""

from __future__ import annotations

from fw_gear_hndeface.landmarks.contract import Evidence, Source
from fw_gear_hndeface.landmarks.from_labels import landmarks_of
from fw_gear_hndeface.model import Landmarks
from fw_gear_hndeface.networks.totalsegmentator import NAME, missing


def locate(evidence: Evidence) -> Landmarks:
    """Eyes, chin and nose from its labels; nothing where it did not run."""
    return landmarks_of(evidence, [labels for labels in evidence.labels if labels.source == NAME], NAME)


SOURCE = Source(NAME, "Wasserthal et al. 2023, TotalSegmentator (code Apache-2.0), its open head tasks", locate, missing)
