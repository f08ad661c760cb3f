"""Sources of facial landmarks, one per file; adding one is a file and a word here and in `vocabulary.LANDMARK_SOURCES`."""

from __future__ import annotations

from fw_gear_hndeface.landmarks import fitted_shape, geometry, rendered_face, rtstruct, segmentation, totalsegmentator
from fw_gear_hndeface.landmarks.consensus import Face, agree, is_sure
from fw_gear_hndeface.landmarks.contract import Evidence, Source

SOURCES: dict[str, Source] = {
    module.SOURCE.name: module.SOURCE
    for module in (rtstruct, rendered_face, segmentation, totalsegmentator, geometry, fitted_shape)
}


def find_face(evidence: Evidence, wanted: str = "auto", *, model: str = "dlib68") -> Face | None:
    """The face in one window as all sources together see it; None where there is none.

    Parameters
    ----------
    wanted : name of the only source to ask, or "auto" for all of them.
    model : landmark model that sources may load; with "none" those that need one are not asked.
    """
    asked = SOURCES if wanted == "auto" else {wanted: SOURCES[wanted]}
    if model == "none":
        asked = {name: source for name, source in asked.items() if source.model == ""}
    first = [name for name, source in asked.items() if not source.last or len(asked) == 1]
    answers = {name: asked[name].locate(evidence) for name in first}
    if not is_sure(answers, evidence.head):
        answers |= {name: source.locate(evidence) for name, source in asked.items() if name not in answers}
    return agree(answers, evidence.head)


__all__ = ["SOURCES", "Evidence", "Face", "Source", "find_face"]
