"""What every source of landmarks is given and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fw_gear_hndeface.model import LabelMap, Landmarks, Roi
from fw_gear_hndeface.ops.head import HeadScan


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a source may look at: one head window, and what was drawn or segmented in the same frame of reference."""

    head: HeadScan
    rois: tuple[Roi, ...] = ()
    labels: tuple[LabelMap, ...] = ()


@dataclass(frozen=True)
class Source:
    """One way to find landmarks: `locate` answers with what it found, possibly nothing; it never guesses a whole face."""

    name: str
    reference: str
    locate: Callable[[Evidence], Landmarks]
    missing: Callable[[], str | None] = field(default=lambda: None)
    #: Landmark model that it loads (`vocabulary.LANDMARK_MODELS`), if any.
    model: str = ""
    #: Whether it is asked only where the others place no sure face: it takes its time.
    last: bool = False


def nothing() -> Landmarks:
    """The answer of a source that found no landmark."""
    return Landmarks({})


Sources = Iterator[Source]
