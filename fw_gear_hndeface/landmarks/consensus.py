"""One face out of what several sources say: combined points, the head frame, what is in view, and where sources disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from fw_gear_hndeface.model import Finding, Float, Landmark, Landmarks, Level, View
from fw_gear_hndeface.ops.frame import HeadFrame, fit_frame
from fw_gear_hndeface.ops.head import HeadScan
from fw_gear_hndeface.vocabulary import CANONICAL_FACE_MM

#: Two sources whose frames lie farther apart than this do not see the same face.
SAME_FACE_MM = 40.0
#: An outlined landmark farther than this from where the detected face would have it belongs to no face like it.
FAR_MM = 25.0
#: A landmark nearer than this to the cut end of the body was fitted to the cut, not to the face.
CUT_MM = 5.0
#: Where the body is looked for to tell where it is cut: columns of this half width, this far behind the skin.
COLUMN_MM, BEHIND_MM = 10.0, 18.0
#: Landmarks that must be in view for the face to count as whole.
WHOLE = ("brow_left", "brow_right", "globe_left", "globe_right", "nose_tip", "mouth_left", "mouth_right", "chin")
EYES = ("globe_left", "globe_right")
#: What of a squeezed face is found where it is: what lies at the eyes and above.
UPPER = ("globe", "brow", "canthus", "nasion")
#: Sources that stand for what a person or a network outlined.
GIVEN = ("rtstruct", "segmentation", "totalsegmentator")
#: Sources that need no detector, and what they are called.
STRAIGHT = {"geometry": "jaw profile", "fitted_shape": "fitted shape"}
#: A jaw's chin so far below where the detected face would have it, not farther beside it nor farther below the lips, is that
#: face's, mm at scale 1; the profile's chin lay 3 to 9 mm from drawn mandibles, sigma in mm.
JAW_BELOW_MM, JAW_BESIDE_MM, LONGEST_JAW_MM, JAW_SIGMA_MM = 10.0, 15.0, 85.0, 6.0
#: A detection less sure than this needs the jaw profile's agreement.
SURE_MM = 4.4
#: A fitted shape that is less sure than this does not overrule the profile, mm.
SURE_FIT_MM = 8.0
#: Sigma of a face that only one unsure witness places, mm: more than any run accepts by default.
UNSURE_MM = 15.0
#: An unsure detection whose left and right are turned so far from the profile's is a chance find beside the face.
MOST_TURNED_DEG = 25.0
#: Heads are raised, lowered and turned by less than this in their own scan, degrees.
MOST_AWAY_DEG = 70.0


@dataclass(frozen=True, eq=False)
class Face:
    """Where the face is: every canonical landmark with sigma, source and view, and the frame they define."""

    landmarks: Landmarks
    frame: HeadFrame
    findings: tuple[Finding, ...]

    @property
    def is_whole(self) -> bool:
        """Whether eyes, nose, mouth and chin are all in view."""
        return all(self.landmarks[name].view is View.IN_VIEW for name in WHOLE)

    @property
    def is_in_view(self) -> bool:
        """Whether anything of the face is in view at all."""
        return any(self.landmarks[name].view is View.IN_VIEW for name in WHOLE)

    @property
    def sigma_mm(self) -> float:
        """Uncertainty of the zone: median sigma of the landmarks in view."""
        return float(np.median([mark.sigma_mm for mark in self.landmarks.values() if mark.view is View.IN_VIEW]))


def agree(answers: Mapping[str, Landmarks], head: HeadScan) -> Face | None:
    """One face from the sources' answers.

    The rendered face leads where its shape is a face's; what is drawn or segmented outranks it; the jaw profile and the fitted
    shape take over where no detector saw a face, and are the witness against chance finds of the detector. A face that does not
    look to the front of the patient is a finding: its position label may be wrong.
    """
    straight, told = _straight(answers)
    face = _combined(answers, straight, head)
    if face is None:
        return None
    face = _with_jaw(face, answers.get("geometry", Landmarks({})))
    taken = told if face.landmarks["nose_tip"].source in STRAIGHT else ()
    return replace(face, findings=(*face.findings, *taken, *_turned_away(face.frame)))


def is_sure(answers: Mapping[str, Landmarks], head: HeadScan) -> bool:
    """Whether a detector saw a face that needs no witness."""
    rendered = _without_cut(answers.get("rendered_face", Landmarks({})), head)
    return _frame(rendered) is not None and _least_sigma(rendered) <= SURE_MM


def _straight(answers: Mapping[str, Landmarks]) -> tuple[Landmarks, tuple[Finding, ...]]:
    """The face without a detector: the profile, whose chin is bone, where the fitted shape agrees; else the shape, if sure."""
    profile, fitted = (answers.get(name, Landmarks({})) for name in STRAIGHT)
    one, other = _frame(profile), _frame(fitted)
    if one is None or other is None:
        return profile if other is None else fitted, ()
    apart = _apart(one, other)
    if apart <= SAME_FACE_MM:
        return profile, ()
    finding = _disagreement(apart, _called(fitted), _called(profile))
    return fitted if _is_sure_fit(fitted) else _doubted(fitted), (finding,)


def _combined(answers: Mapping[str, Landmarks], profile: Landmarks, head: HeadScan) -> Face | None:
    rendered = _without_cut(answers.get("rendered_face", Landmarks({})), head)
    drawn = _surest(answers, GIVEN)
    rendered, drawn, findings = _reconciled(rendered, drawn)
    frame, witness = _frame(rendered.updated(drawn)), _frame(profile)
    if frame is None:
        if witness is None:
            return None
        backed = _backed(profile, drawn)
        return _cut_face(backed, witness, head, _against(backed[1], drawn, findings))
    combined = _with_view(_completed(rendered.updated(drawn), frame), head)
    if findings:
        return Face(_doubted(combined) if rendered else combined, frame, findings)
    apart = 0.0 if witness is None else _apart(frame, witness)
    if witness is None or _least_sigma(rendered) <= SURE_MM or apart <= SAME_FACE_MM:
        return Face(combined, frame, ())
    askew = _turned_deg(frame, witness) > MOST_TURNED_DEG
    straight = _cut_face(_backed(profile, drawn), witness, head, ()) if askew else None
    if straight is not None:
        return replace(straight, findings=(_disagreement(apart, _called(profile), "detected face"),))
    return Face(_doubted(combined), frame, (_disagreement(apart, "detected face", _called(profile)),))


def _surest(answers: Mapping[str, Landmarks], names: tuple[str, ...]) -> Landmarks:
    """The landmarks of several sources, each as the surest of them has it."""
    found: dict[str, Landmark] = {}
    for marks in (answers[name] for name in names if name in answers):
        found |= {name: mark for name, mark in marks.items() if name not in found or mark.sigma_mm < found[name].sigma_mm}
    return Landmarks(found)


def _with_jaw(face: Face, profile: Landmarks) -> Face:
    """The face with the profile's chin where it lies well below a detected one: detectors squeeze long and raised faces.

    The profile's chin is the end of the jaw's bone. Where it is none it lies too high (upper jaw, orbits) or before the face
    (bite block); where it is right it lies below the face that was seen, not far, in its middle.
    """
    old, jaw = face.landmarks["chin"], profile.get("chin")
    if jaw is None or old.source in GIVEN or all(mark.source != "rendered_face" for mark in face.landmarks.values()):
        return face
    place = face.frame.to_frame(jaw.point) / face.frame.scale
    off, lips = (place - np.array(CANONICAL_FACE_MM[name]) for name in ("chin", "lip_upper"))
    below = off[2] < -JAW_BELOW_MM and lips[2] > -LONGEST_JAW_MM and float(np.linalg.norm(jaw.point - old.point)) > FAR_MM
    if not below or abs(off[0]) > JAW_BESIDE_MM or off[1] < -JAW_BELOW_MM:
        return face
    text = "The jaw ends well below the detected chin: the chin was taken from the jaw. Look at the zone."
    finding = Finding(Level.WARNING, "landmarks_disagree", text, "landmarks")
    chin = replace(jaw, sigma_mm=JAW_SIGMA_MM, view=old.view)
    return replace(face, landmarks=face.landmarks.updated(Landmarks({"chin": chin})), findings=(*face.findings, finding))


def _outranks(name: str, mark: Landmark, rendered: Landmarks) -> bool:
    """Whether an outlined landmark replaces the rendered one: eyes always do, they are not to be seen on skin."""
    return name.startswith("globe") or name not in rendered or mark.sigma_mm < rendered[name].sigma_mm


def _doubted(landmarks: Landmarks) -> Landmarks:
    return Landmarks({name: replace(mark, sigma_mm=2.0 * mark.sigma_mm) for name, mark in landmarks.items()})


def _reconciled(rendered: Landmarks, drawn: Landmarks) -> tuple[Landmarks, Landmarks, tuple[Finding, ...]]:
    """What was rendered and what was outlined, without the one of the two that the other contradicts.

    A sure detection outweighs outlines far from it, which may be another head's; an unsure one gives way to them, and so does
    one that has the outlined eyes but not the rest of a face that was outlined: detectors squeeze raised chins.
    """
    seen = _frame(rendered)
    if seen is None and _frame(drawn) is not None:
        return Landmarks({}), drawn, ()
    far = [] if seen is None else [name for name, mark in drawn.items() if _away(name, mark, seen, rendered) > FAR_MM]
    squeezed = not any(name in EYES for name in far) and all(name in drawn for name in EYES) and _frame(drawn) is not None
    if far == ["chin"] and not squeezed:
        upper = Landmarks({name: rendered[name] for name in rendered if name.startswith(UPPER)})
        if _frame(upper.updated(drawn)) is not None:
            return (
                Landmarks({}),
                upper.updated(drawn),
                (_stray(far, "The chin was taken, and of the found face what lies above the nose."),),
            )
    if far and (squeezed or _least_sigma(rendered) > SURE_MM):
        return Landmarks({}), drawn, (_stray(far, "What was outlined was taken."),)
    near = {n: mark for n, mark in drawn.items() if n not in far and _outranks(n, mark, rendered)}
    return rendered, Landmarks(near), (_stray(far, "The found face was taken."),) if far else ()


def _away(name: str, mark: Landmark, seen: HeadFrame, rendered: Landmarks) -> float:
    """How far an outlined landmark lies from where the detected face has it, as found or as its frame would have it, mm."""
    places = [seen.canonical(name)] + ([rendered[name].point] if name in rendered else [])
    return min(float(np.linalg.norm(mark.point - place)) for place in places)


def _stray(names: list[str], outcome: str) -> Finding:
    text = f"What was drawn or segmented ({', '.join(names)}) lies far from the detected face. {outcome} Look at the zone."
    return Finding(Level.WARNING, "landmarks_disagree", text, "landmarks")


def _backed(profile: Landmarks, drawn: Landmarks) -> tuple[Landmarks, HeadFrame | None]:
    """The profile with what was outlined on it, and their common frame where both eyes were outlined and agree with it."""
    together, seen = profile.updated(drawn), _frame(profile)
    eyes = [name for name in EYES if name in drawn]
    if seen is None or len(eyes) < 2:
        return together, None
    away = max(float(np.linalg.norm(drawn[name].point - seen.canonical(name))) for name in eyes)
    return together, _frame(together) if away <= FAR_MM else None


def _against(common: HeadFrame | None, drawn: Landmarks, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The findings, and one more where both eyes were outlined and the profile's face has them elsewhere."""
    contradicted = all(name in drawn for name in EYES) and common is None
    return (*findings, _stray(list(EYES), "Neither is sure.")) if contradicted and not findings else findings


def _cut_face(
    backed: tuple[Landmarks, HeadFrame | None], frame: HeadFrame, head: HeadScan, findings: tuple[Finding, ...]
) -> Face | None:
    """The face by its profile, where no detector saw one. A whole face would have been detected: one by the profile is unsure,
    unless outlined eyes agree with it; so is one that anything outlined speaks against (a finding says so).

    The profile reads faces that are cut from above. In a head that is cut from below it takes the skull's base for a jaw, so
    it is not believed where the vault is in view; a sure fitted shape is.
    """
    landmarks, common = backed
    if common is not None:
        return Face(_with_view(_completed(landmarks, common), head), common, findings)
    combined = _with_view(_completed(landmarks, frame), head)
    face = Face(combined, frame, findings)
    if not face.is_whole and not findings:
        return None if head.shows_vault and not _is_sure_fit(landmarks) else face
    unsure = {name: replace(mark, sigma_mm=max(mark.sigma_mm, UNSURE_MM)) for name, mark in combined.items()}
    return Face(Landmarks(unsure), frame, findings)


def _frame(landmarks: Landmarks) -> HeadFrame | None:
    frame = fit_frame(landmarks)
    return frame if frame is not None and frame.is_a_face else None


def _apart(one: HeadFrame, other: HeadFrame) -> float:
    names = ("globe_left", "globe_right", "nose_tip", "chin")
    return float(np.median([np.linalg.norm(one.canonical(n) - other.canonical(n)) for n in names]))


def _turned_deg(one: HeadFrame, other: HeadFrame) -> float:
    """Angle between the left-right axes of two frames."""
    return float(np.degrees(np.arccos(np.clip(one.axes[0] @ other.axes[0], -1.0, 1.0))))


def _turned_away(frame: HeadFrame) -> tuple[Finding, ...]:
    """A finding where a face looks to the side, to the back, or stands on its head."""
    most = max(float(np.degrees(np.arccos(np.clip(frame.axes[axis, axis], -1.0, 1.0)))) for axis in (1, 2))
    if most <= MOST_AWAY_DEG:
        return ()
    text = f"The face looks {most:.0f} degrees away from the patient's front: is the position label right? Sides follow it."
    return (Finding(Level.WARNING, "face_turned", text, "landmarks"),)


def _is_sure_fit(landmarks: Landmarks) -> bool:
    return _called(landmarks) == STRAIGHT["fitted_shape"] and _least_sigma(landmarks) <= SURE_FIT_MM


def _called(landmarks: Landmarks) -> str:
    return STRAIGHT[next(iter(landmarks.values())).source]


def _disagreement(distance: float, taken: str, other: str) -> Finding:
    text = f"The {taken} and the {other} lie {distance:.0f} mm apart; the {taken} was taken. Look at the zone."
    return Finding(Level.WARNING, "landmarks_disagree", text, "landmarks")


def _completed(landmarks: Landmarks, frame: HeadFrame) -> Landmarks:
    """Every canonical landmark: as found where it fits the frame, else where the canonical face has it, less surely."""
    points: dict[str, Landmark] = {}
    for name in CANONICAL_FACE_MM:
        expected = frame.canonical(name)
        found = landmarks.get(name)
        off = np.inf if found is None else float(np.linalg.norm(found.point - expected))
        if found is not None and off <= max(14.0, 3.0 * frame.residual_mm):
            points[name] = replace(found, sigma_mm=float(np.hypot(found.sigma_mm, 0.3 * off)))
        else:
            points[name] = Landmark(expected, max(6.0, frame.residual_mm, _least_sigma(landmarks)), "canonical")
    return Landmarks(points)


def _least_sigma(landmarks: Landmarks) -> float:
    return float(np.median([mark.sigma_mm for mark in landmarks.values()])) if landmarks else 8.0


def _backwards(frame: HeadFrame | None) -> Float:
    """Horizontal unit vector from a face into its head, LPS; to the back of the patient where no face is known."""
    level = np.array([0.0, 1.0, 0.0]) if frame is None else frame.axes[1] * (1.0, 1.0, 0.0)
    length = float(np.linalg.norm(level))
    return level / length if length > 0.1 else np.array([0.0, 1.0, 0.0])


def _local_top(head: HeadScan, point: Float, backwards: Float) -> float:
    """Most superior height of the body in the columns behind a point of the face, mm; a cut face ends there."""
    grid = head.body.grid
    _, j, i = grid.to_index(point + BEHIND_MM * backwards)
    reach = round(COLUMN_MM / float(grid.spacing_mm[1]))
    columns = head.body.array[:, max(int(j) - reach, 0) : int(j) + reach + 1, max(int(i) - reach, 0) : int(i) + reach + 1]
    filled = np.flatnonzero(columns.any(axis=(1, 2))) if columns.size else np.array([], dtype=int)
    return float(grid.to_patient((filled[-1], 0, 0))[2]) if filled.size else -np.inf


def _without_cut(landmarks: Landmarks, head: HeadScan) -> Landmarks:
    """The landmarks without those that the detector pressed against the cut end of the body."""
    way = _backwards(_frame(landmarks))
    kept = {name: mark for name, mark in landmarks.items() if mark.point[2] < _local_top(head, mark.point, way) - CUT_MM}
    return Landmarks(kept)


def _with_view(landmarks: Landmarks, head: HeadScan) -> Landmarks:
    grid, way = head.scan.grid, _backwards(_frame(landmarks))

    def view(point: Float) -> View:
        inside = bool(grid.contains(point)) and point[2] <= _local_top(head, point, way) - CUT_MM / 2
        return View.IN_VIEW if inside else View.CUT

    return Landmarks({name: replace(mark, view=view(mark.point)) for name, mark in landmarks.items()})
