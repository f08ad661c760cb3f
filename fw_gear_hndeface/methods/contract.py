"""What every method is given and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fw_gear_hndeface.model import LabelMap, Landmarks, Mask, Proposal, Volume
from fw_gear_hndeface.ops.frame import HeadFrame

#: Rules that hold for every method: what somebody drew, and what a label map names.
GIVEN = ("drawn", "labelled")


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
    labels : segmented structures, each map on a grid of its own
    ears : whether the outer ears go, too, whatever the method
    fill : what takes the face's place where a method leaves that open: auto, face, air, or a number of HU
    """

    scan: Volume
    body: Mask
    keep: Mask
    landmarks: Landmarks
    frame: HeadFrame
    seed: int
    strength: float = 1.0
    fill: str = "auto"
    ears: bool = False
    labels: tuple[LabelMap, ...] = ()


@dataclass(frozen=True)
class Bounds:
    """What a method may do at most; the result is held against it, so a wrong plane or box does not pass.

    Parameters
    ----------
    most_removed_ml : tissue turned to air; a face is 5-400 mL, methods that cut boxes and half-spaces take more
    reach_mm : how far beyond the face region (`ops.frame.REGION_MM`) it may change voxels
    """

    most_removed_ml: float = 400.0
    reach_mm: float = 0.0


@dataclass(frozen=True)
class Method:
    """One way to change a face, with what a reader must know before choosing it.

    `rules` names the rules of protection that hold for it, None for all of them. The default method keeps bone, globes and deep
    tissue by rule; a published method is only held off what somebody drew, or it would not be that method any more.
    """

    name: str
    reference: str
    removes: str
    leaks: str
    licence: str
    propose: Callable[[Scene], Proposal]
    bounds: Bounds = field(default_factory=Bounds)
    rules: tuple[str, ...] | None = None
    missing: Callable[[], str | None] = field(default=lambda: None)
    #: What a run must be given for it besides a CT, in words; empty where nothing.
    needs: str = ""
    #: Whether strength or seed change what it does: if not, a try that failed the privacy check is not repeated.
    varies: bool = True
