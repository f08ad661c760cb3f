"""Sources of facial landmarks, one per file; adding one is a file and a word here and in `vocabulary.LANDMARK_SOURCES`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fw_gear_hndeface.landmarks import fitted_shape, geometry, rendered_face, rtstruct, segmentation, totalsegmentator
from fw_gear_hndeface.landmarks.consensus import Face, agree, is_sure
from fw_gear_hndeface.landmarks.contract import Evidence, Source
from fw_gear_hndeface.model import Landmarks
from fw_gear_hndeface.ops.head import HeadScan

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
    names = list(SOURCES) if wanted == "auto" else [wanted]
    if model == "none":
        names = [name for name in names if SOURCES[name].model == ""]
    return ask(names, lambda name: SOURCES[name].locate(evidence), evidence.head)


def ask(names: Sequence[str], answer: Callable[[str], Landmarks], head: HeadScan) -> Face | None:
    """The face as some sources together see it; those that come last are asked only where no other is sure, or alone."""
    answers = {name: answer(name) for name in names if not SOURCES[name].last or len(names) == 1}
    if not is_sure(answers, head):
        answers |= {name: answer(name) for name in names if name not in answers}
    return agree(answers, head)


__all__ = ["SOURCES", "Evidence", "Face", "Source", "ask", "find_face"]
