"""Volumes on one grid share one plan: phases of a 4D CT and reconstructions of one acquisition change alike, or not together.

Were each phase planned by itself, the new faces would differ a little from phase to phase, and their mean would tell more of
the old one than any of them does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fw_gear_hndeface.casework import Case, Defaced, Stage
from fw_gear_hndeface.errors import VerificationError
from fw_gear_hndeface.methods import bounds_of
from fw_gear_hndeface.model import Finding, Level, Mask, Plan, Proposal, Volume
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.head import head_windows
from fw_gear_hndeface.ops.skin import SKIN_HU
from fw_gear_hndeface.privacy.check import assess, likenesses, shape_match
from fw_gear_hndeface.privacy.recognise import aligned_by
from fw_gear_hndeface.privacy.views import face_skin
from fw_gear_hndeface.settings import Settings
from fw_gear_hndeface.verify import roi_costs, verify


def leader_of(scan: Volume, done: Sequence[tuple[Volume, Defaced]]) -> Defaced | None:
    """The first defaced volume on the same grid in the same frame of reference; None where there is none."""
    for volume, made in done:
        if scan.grid.frame and volume.grid.frame == scan.grid.frame and volume.grid.matches(scan.grid):
            return made
    return None


def follow_leader(case: Case, leader: Defaced, settings: Settings, stage: Stage) -> Defaced | None:
    """The leader's plan carried out on another volume of its grid, verified and assessed there by itself.

    Returns
    -------
    Defaced
        None where the plan does not do for this volume: a promise would be broken, or its face could still be matched.
    """
    frame = leader.face.frame
    with stage("locate", 0.3):
        body = _body(case.scan, frame)
    if body is None:
        return None
    plan = _without_padding(leader.plan, case.padding)
    with stage("change", 0.5):
        after = plan.apply(case.scan)
    with stage("verify", 0.6):
        try:
            cost = verify(case.scan, after, plan, frame, bounds_of(settings.method, ears=settings.flattens_ears))
        except VerificationError:
            return None
    with stage("privacy", 0.7), aligned_by(settings.landmark_model):
        old, new = (
            face_skin(scan, patient, frame, SKIN_HU) for scan, patient in ((case.scan, [body]), (after, [body, plan.change]))
        )
        assessment = replace(assess(likenesses(old.surface), new.surface), shape=shape_match(old, new))
    if not assessment.passed:
        return None
    text = f"{case.label}: changed by the plan of another volume on the same grid; verified by itself."
    told = (Finding(Level.INFO, "shared_plan", text, case.label),)
    costs = roi_costs(case.scan, after, case.rois)
    return replace(leader, plan=plan, cost=cost, rois=costs, assessment=assessment, findings=told, labelled=())


def _body(scan: Volume, frame: HeadFrame) -> Mask | None:
    """The patient in the window that holds the head."""
    middle = frame.to_patient(np.zeros(3))
    return next((window.body for window in head_windows(scan) if window.body.grid.contains(middle)), None)


def _without_padding(plan: Plan, padding: Mask | None) -> Plan:
    """The plan less what this volume's scanner did not see."""
    if padding is None:
        return plan
    return Proposal(plan.change, plan.fill_hu, plan.method).without(plan.keep | padding)
