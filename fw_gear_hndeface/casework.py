"""One CT volume from landmarks to a verified, assessed plan; no files, no DICOM."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fw_gear_hndeface.errors import HndefaceError, LandmarkError, PrivacyError, ProtectionError
from fw_gear_hndeface.landmarks import Evidence, Face, find_face
from fw_gear_hndeface.methods import REGISTRY, Scene, bounds_of, propose
from fw_gear_hndeface.model import Finding, LabelMap, Level, Mask, Plan, Roi, RoiKind, Volume
from fw_gear_hndeface.networks.wanted import network_labels
from fw_gear_hndeface.ops.boxes import Box, points_box
from fw_gear_hndeface.ops.head import HeadScan, head_windows
from fw_gear_hndeface.ops.morphology import set_cells
from fw_gear_hndeface.ops.names import fold
from fw_gear_hndeface.ops.polygons import rasterise
from fw_gear_hndeface.ops.render import Surface
from fw_gear_hndeface.ops.skin import SKIN_HU
from fw_gear_hndeface.privacy.attempts import Attempt, try_attacks
from fw_gear_hndeface.privacy.check import STRANGER_SHARE, Assessment, View, assess, likenesses, shape_match
from fw_gear_hndeface.privacy.recognise import aligned_by
from fw_gear_hndeface.privacy.views import Skin, face_skin
from fw_gear_hndeface.protect import Subject, keep
from fw_gear_hndeface.report.exhibit import Exhibit, Shown
from fw_gear_hndeface.report.pictures import make_exhibit
from fw_gear_hndeface.settings import Settings
from fw_gear_hndeface.verify import Cost, LabelCost, RoiCost, label_costs, roi_costs, verify
from fw_gear_hndeface.vocabulary import IN_A_FACE

Stage = Callable[[str, float], AbstractContextManager[None]]

#: How strongly the method works on the first try and, while the result comes near the original, on the next ones.
STRENGTHS = (1.0, 1.2, 1.5)
#: A region that covers more of the head than this is its outline; the brain, the largest organ, covers less than half.
MOST_ORGAN_SHARE = 0.8
#: No outline of a head is narrower than this from side to side or from front to back, mm.
LEAST_OUTLINE_MM = 90.0


def unwatched(_name: str, _share: float) -> AbstractContextManager[None]:
    """A stage that nobody watches."""
    return nullcontext()


@dataclass(frozen=True, eq=False)
class Case:
    """One CT volume with what was drawn and segmented on it; `label` is safe to print."""

    scan: Volume
    padding: Mask | None
    rois: tuple[Roi, ...]
    label: str
    labels: tuple[LabelMap, ...] = ()


@dataclass(frozen=True, eq=False)
class Defaced:
    """A plan that was verified and assessed, and everything measured on the way."""

    face: Face
    plan: Plan
    cost: Cost
    rois: tuple[RoiCost, ...]
    assessment: Assessment
    strength: float
    exhibit: Exhibit
    findings: tuple[Finding, ...]
    attempts: tuple[Attempt, ...] = ()
    labelled: tuple[LabelCost, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether neither the plain result nor a surface that an attack finds in it can be matched to the original."""
        return self.assessment.passed and not any(one.is_matched for one in self.attempts)

    def measures(self) -> dict[str, Any]:
        """Plain data for the report."""
        marks = self.face.landmarks.items()
        return {
            "landmarks": {
                name: {
                    "lps_mm": [round(float(value), 2) for value in mark.point],
                    "sigma_mm": round(mark.sigma_mm, 2),
                    "source": mark.source,
                    "view": mark.view.value,
                }
                for name, mark in marks
            },
            "head": {
                "scale": round(self.face.frame.scale, 3),
                "residual_mm": round(self.face.frame.residual_mm, 2),
                "sigma_mm": round(self.face.sigma_mm, 2),
            },
            "strength": self.strength,
            "kept_ml": round(self.plan.keep.volume_ml, 1),
            "scan_unchanged_percent": round(100.0 * (1.0 - self.plan.change.count / self.plan.change.array.size), 3),
            "rois": [{"name": cost.roi.name, "kind": cost.roi.kind.value, **cost.told()} for cost in self.rois],
            "labelled": [
                {"name": cost.label.name, "kind": cost.label.kind.value, "source": cost.source, **cost.told()}
                for cost in self.labelled
            ],
            "privacy": {**self.assessment.measures(), "attacks": [one.measures() for one in self.attempts]},
        }


@dataclass(frozen=True, eq=False)
class _Attempt:
    """One try of the method: the plan, the scan it makes, and what verification and the recogniser say of it.

    `contested` are the indices (N, 3) of voxels that the method would change and that are kept; `ears_ml` is what was to be
    changed of outer ears, None where they were not asked for.
    """

    strength: float
    contested: NDArray[np.intp]
    plan: Plan
    after: Volume
    cost: Cost
    surface: Surface
    assessment: Assessment
    ears_ml: float | None = None


def deface_case(case: Case, settings: Settings, seed: int, stage: Stage) -> Defaced | None:
    """A verified plan for the face in a volume; None where no face is in view.

    Raises
    ------
    SettingsError
        A network that the settings cannot do without is not there.
    LandmarkError
        A face is in view but cannot be placed within `max_uncertainty_mm`.
    ProtectionError
        A target lies in the zone and `targets=refuse`.
    VerificationError, PrivacyError
        The result broke a promise, or can still be matched after the last try.
    """
    with stage("segment", 0.1):
        maps, told = network_labels(case.scan, settings)
    case = replace(case, labels=(*case.labels, *maps))
    try:
        with stage("locate", 0.2):
            found = locate(case, settings)
        done = deface_located(case, found, settings, seed, stage) if found is not None else None
    except HndefaceError as error:
        error.findings = (*told, *error.findings)
        raise
    return None if done is None else replace(done, findings=(*told, *done.findings))


def deface_located(case: Case, found: tuple[HeadScan, Face], settings: Settings, seed: int, stage: Stage) -> Defaced:
    """A verified plan for a face that `locate` found already.

    Raises
    ------
    ProtectionError, VerificationError, PrivacyError
        As `deface_case`.
    """
    head, face = found
    case, outlines = _without_outlines(case, head)
    with stage("protect", 0.35):
        kept = protect(case, head, face, settings)
    scene = Scene(case.scan, head.body, kept, face.landmarks, face.frame, seed, labels=case.labels)
    scene = replace(scene, fill=settings.fill, ears=settings.flattens_ears)
    with aligned_by(settings.landmark_model):
        with stage("privacy", 0.4):
            skin = face_skin(scene.scan, [scene.body], scene.frame, SKIN_HU)
            known = likenesses(skin.surface)
        best = _best_attempt(scene, (skin, known), settings, stage)
        _demand_unlike(case.label, best.assessment, settings)
        with stage("attacks", 0.72):
            attempts = try_attacks(best.after, [head.body, best.plan.change], face.frame, known)
            _demand_unmatched(case.label, attempts, settings)
    findings = (*outlines, *face.findings, *_exposed(case, best.contested, settings), *_way_taken(case, best, settings))
    with stage("verify", 0.75):
        costs = roi_costs(case.scan, best.after, case.rois)
        labelled = label_costs(case.scan, best.after, case.labels)
    with stage("pictures", 0.77):
        shown = Shown(best.after, best.plan.change, tuple(cost.roi for cost in costs), face.frame)
        before = skin.surface if settings.report_before_images else None
        exhibit = make_exhibit(shown, best.surface, best.assessment.sights, attempts, before)
    return Defaced(face, best.plan, best.cost, costs, best.assessment, best.strength, exhibit, findings, attempts, labelled)


def _way_taken(case: Case, best: _Attempt, settings: Settings) -> list[Finding]:
    """What a reader must know of how the result came about."""
    findings = []
    if settings.landmark_model == "none":
        text = "The privacy check aligned faces by the detector's box, against strangers aligned alike: landmark_model=none."
        findings.append(Finding(Level.INFO, "aligned_by_box", text, case.label))
    if best.ears_ml == 0.0:
        text = f"{case.label}: ears=flatten found no outer ear in the scan; none was changed. Look at the sides of the head."
        findings.append(Finding(Level.WARNING, "no_ears", text, case.label))
    if best.strength != STRENGTHS[0]:
        text = f"The first try came near the original; the one at strength {best.strength:g} was taken."
        findings.append(Finding(Level.INFO, "stronger_try", text, case.label))
    return findings


def _demand_unmatched(label: str, attempts: Sequence[Attempt], settings: Settings) -> None:
    matched = [one.attack for one in attempts if one.is_matched]
    if matched and settings.privacy == "enforce":
        raise PrivacyError(
            f"{label}: the plain result cannot be matched to the original, but the surface that the attack {matched[0]} finds "
            "in it can. No image was written; try another method or privacy=report."
        )


def _demand_unlike(label: str, found: Assessment, settings: Settings) -> None:
    if found.passed or settings.privacy != "enforce":
        return
    if found.shape_matched and found.shape is not None:
        why = f"the result has the original's shape, and no stranger's (likeness {found.shape.likeness:.2f})"
    else:
        why = (
            "the result is nearer to the original than strangers are (share of strangers as near "
            f"{found.stranger_share:.3f}, required {STRANGER_SHARE:g})"
        )
    raise PrivacyError(f"{label}: {why}. No image was written; try another method or privacy=report.")


def _best_attempt(scene: Scene, original: tuple[Skin, Sequence[View]], settings: Settings, stage: Stage) -> _Attempt:
    """The first try that is as far from the original as strangers usually are, else the farthest of all tries."""
    best: _Attempt | None = None
    tries = STRENGTHS if REGISTRY[settings.method].varies else STRENGTHS[:1]
    for number, strength in enumerate(tries):
        tried = _attempt(replace(scene, seed=scene.seed + number, strength=strength), settings.method, original, stage)
        if best is None or tried.assessment.merit > best.assessment.merit:
            best = tried
        if best.assessment.is_clear:
            break
    if best is None:
        raise ValueError("no strength to try")
    return best


def _attempt(scene: Scene, name: str, original: tuple[Skin, Sequence[View]], stage: Stage) -> _Attempt:
    with stage("change", 0.5):
        proposal, ears_ml = propose(name, scene)
        plan = proposal.without(scene.keep)
        wanted = set_cells(proposal.change.array)
        contested = wanted[scene.keep.array[tuple(wanted.T)]]
        del proposal, wanted  # as large as the scan
        after = plan.apply(scene.scan)
    with stage("verify", 0.6):
        cost = verify(scene.scan, after, plan, scene.frame, bounds_of(name, ears=scene.ears))
    with stage("privacy", 0.7):
        skin = face_skin(after, [scene.body, plan.change], scene.frame, SKIN_HU)
        assessment = replace(assess(original[1], skin.surface), shape=shape_match(original[0], skin))
    return _Attempt(scene.strength, contested, plan, after, cost, skin.surface, assessment, ears_ml)


def locate(case: Case, settings: Settings) -> tuple[HeadScan, Face] | None:
    """The head window and the face in it; None where no window shows a face.

    Raises
    ------
    LandmarkError
        The face is placed less surely than the settings allow, or a head is in view and no face could be placed on it.
    """
    heads = 0
    for head in head_windows(case.scan):
        face = find_face(Evidence(head, case.rois, case.labels), settings.landmarks, model=settings.landmark_model)
        if face is None or not face.is_in_view:
            heads += head.brain_mm.size > 0
            continue
        if face.sigma_mm > settings.max_uncertainty_mm:
            raise LandmarkError(
                f"{case.label}: a face is in view but its place is uncertain by {face.sigma_mm:.0f} mm (allowed "
                f"{settings.max_uncertainty_mm:.0f}). Add a structure set with both eyes or a label map, or more of the head."
            )
        return head, face
    if heads or _names_a_face(case):
        raise LandmarkError(
            f"{case.label}: a head is in view but no face could be placed on it. Add a structure set with both eyes or a label "
            "map of eyes and jaw, or give a scan that goes from the brows to the chin."
        )
    return None


def _names_a_face(case: Case) -> bool:
    """Whether something of a face is drawn or segmented in the scan."""

    def is_told(name: str) -> bool:
        return re.search(IN_A_FACE, fold(name)) is not None

    drawn = (roi for roi in case.rois if is_told(roi.name) and roi.contours_mm)
    if any(case.scan.grid.contains(np.concatenate(roi.contours_mm)).any() for roi in drawn):
        return True
    told = ((given, label) for given in case.labels for label in given.labels.values() if is_told(label.meaning))
    return any(given.mask(label.meaning).count > 0 for given, label in told)


def no_face_reason(case: Case) -> str:
    """Why nothing was changed, for the report."""
    return f"no face was found in {case.scan.grid.shape[0]} slices; nothing was changed and nothing is written."


def protect(case: Case, head: HeadScan, face: Face, settings: Settings) -> Mask:
    """What must not change, on the scan's grid: every rule near the face, and padding everywhere."""
    method = REGISTRY[settings.method]
    kept = np.zeros(case.scan.grid.shape, dtype=np.bool_)
    box = _face_box(case.scan, face, bounds_of(settings.method, ears=settings.flattens_ears).reach_mm)
    if box is not None:
        near = case.scan.crop(box)
        margins = settings.target_margin_mm, settings.organ_margin_mm
        subject = Subject(near, head, face.landmarks, face.frame, case.rois, *margins, labels=case.labels)
        kept[box] = keep(subject, method.rules).array
    if case.padding is not None:
        kept |= case.padding.array
    return Mask(case.scan.grid, kept, "kept")


def _without_outlines(case: Case, head: HeadScan) -> tuple[Case, list[Finding]]:
    """The case with regions that hold nearly the whole head taken as outlines, whatever their names say.

    Kept as an organ, an outline under an unusual name would forbid every change.
    """
    rois, findings = [], []
    for roi in case.rois:
        if roi.kind in (RoiKind.ORGAN, RoiKind.NODE) and _holds(roi, head):
            text = f"ROI {roi.number} holds nearly the whole head: it is taken for the patient's outline and protects nothing."
            findings.append(Finding(Level.WARNING, "outline_by_shape", text, case.label))
            roi = replace(roi, kind=RoiKind.EXTERNAL)
        rois.append(roi)
    return replace(case, rois=tuple(rois)), findings


def _holds(roi: Roi, head: HeadScan) -> bool:
    """Whether a region covers most of the body in the head window; small regions are told by their size alone."""
    if not roi.contours_mm or np.any(np.ptp(np.concatenate(roi.contours_mm), axis=0)[:2] < LEAST_OUTLINE_MM):
        return False
    inside = rasterise(roi, head.body.grid).array & head.body.array
    return bool(np.count_nonzero(inside) > MOST_ORGAN_SHARE * head.body.count)


def _face_box(scan: Volume, face: Face, reach_mm: float) -> Box | None:
    """The index box of the face region: nothing outside it may change anyway."""
    return points_box([face.frame.corners(*face.frame.region(reach_mm))], scan.grid)


def _exposed(case: Case, contested: NDArray[np.intp], settings: Settings) -> list[Finding]:
    """Where targets reach into the zone: their voxels stay, and the reader is told how much face stays with them.

    Parameters
    ----------
    contested : (N, 3) indices of voxels that the method would change and that are kept
    """
    findings = []
    for roi in case.rois:
        box = points_box(roi.contours_mm, case.scan.grid) if roi.kind is RoiKind.TARGET else None
        if box is None:
            continue
        drawn = rasterise(roi, case.scan.grid.crop(box)).array
        at = contested - np.array([part.start for part in box])
        at = at[np.all((at >= 0) & (at < drawn.shape), axis=1)]
        exposed = float(np.count_nonzero(drawn[tuple(at.T)])) * case.scan.grid.voxel_ml
        if exposed > 0 and settings.targets == "refuse":
            raise ProtectionError(
                f"{case.label}: ROI {roi.number} (target) reaches {exposed:.1f} mL into the face zone. Run with targets=keep "
                "to keep its voxels as they are."
            )
        if exposed > 0:
            text = f"ROI {roi.number} (target) reaches into the face zone: {exposed:.1f} mL there stay as they were."
            findings.append(Finding(Level.WARNING, "target_exposed", text, case.label))
    return findings
