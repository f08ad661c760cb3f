"""What every method is given and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fw_gear_hndeface.model import Landmarks, Mask, Proposal, Volume
from fw_gear_hndeface.ops.frame import HeadFrame


@dataclass(frozen=True, eq=False)
class Scene:
    """One head to change.

    Parameters
    ----------
    scan : CT in HU on its own grid
    body : the patient without equipment, on any grid that covers the face
    keep : what must not change, on the scan's grid; a method shapes its surface around it, the pipeline takes it away
    landmarks, frame : where the face is
    seed : of everything random
    strength : 1 by default; a second try after a failed privacy check asks for more
    ears : whether the ears are changed too
    """

    scan: Volume
    body: Mask
    keep: Mask
    landmarks: Landmarks
    frame: HeadFrame
    seed: int
    strength: float = 1.0
    ears: bool = True


@dataclass(frozen=True)
class Method:
    """One way to change a face, with what a reader must know before choosing it."""

    name: str
    reference: str
    removes: str
    leaks: str
    licence: str
    propose: Callable[[Scene], Proposal]
    missing: Callable[[], str | None] = field(default=lambda: None)
