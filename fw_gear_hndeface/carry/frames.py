"""Which frames of reference a defaced CT can be followed into, and how."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fw_gear_hndeface.dicom.registration import Link, paths, read_links
from fw_gear_hndeface.dicom.series import Stack, read_stacks
from fw_gear_hndeface.dicom.study import Series, SeriesKind
from fw_gear_hndeface.dicom.uids import new_uid
from fw_gear_hndeface.errors import GeometryError, InputError
from fw_gear_hndeface.model import Finding, Level, Plan, Roi
from fw_gear_hndeface.ops.change import surface_change
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.register import Registered, face_skin, register
from fw_gear_hndeface.ops.scan import Scan
from fw_gear_hndeface.ops.stray import room_around

#: Kinds that lie somewhere in a frame of reference and could show the face there.
PLACED = (SeriesKind.CT, SeriesKind.PET, SeriesKind.MR, SeriesKind.RTSTRUCT, SeriesKind.RTDOSE, SeriesKind.SEG)
#: Kinds that can be registered with the CT, the most alike first.
IMAGES = (SeriesKind.CT, SeriesKind.MR, SeriesKind.PET)


@dataclass(frozen=True, eq=False)
class Leader:
    """A defaced CT: what was planned on it, the regions drawn on it with the kinds that counted, and where its face lies."""

    stack: Stack
    plan: Plan
    rois: tuple[Roi, ...] = ()
    head: HeadFrame | None = None

    @property
    def frame(self) -> str:
        """Its frame of reference."""
        return self.stack.series.frame

    def scan(self, key: bytes, *, air: bool = False) -> Scan:
        """As the objects around it see it; with `air`, the room around the head as well."""
        slices = frozenset(new_uid(slice_.instance.uid, key) for slice_ in self.stack.slices)
        change = surface_change(self.stack.volume, self.plan)
        skin = face_skin(self.stack.volume, self.head)
        room = room_around(self.stack.volume, self.head) if air else None
        return Scan(self.stack.volume.grid, change, slices, self.rois, self.head, skin=skin, air=room)


@dataclass
class Frames:
    """Defaced CTs by the frame of reference they are seen from, and how each frame was reached.

    `routes` holds plain data for the report: by registration objects or by our own registration, with its residual.
    """

    scans: dict[str, list[Scan]] = field(default_factory=dict)
    routes: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def reach_frames(leaders: Sequence[Leader], companions: Sequence[Series], key: bytes, policy: str) -> Frames:
    """Every frame of reference that the companions lie in and the CTs can be followed into.

    Parameters
    ----------
    policy : 'drop' leaves out what no registration object leads to, 'register' registers its images with the CT, 'refuse' stops

    Raises
    ------
    GeometryError
        A companion in another frame of reference that nothing leads to, with policy 'refuse'.
    """
    out = Frames()
    air = any(series.kind is SeriesKind.MR for series in companions)
    seen = [(leader, leader.scan(key, air=air)) for leader in leaders if companions]
    for leader, scan in seen:
        out.scans.setdefault(leader.frame, []).append(scan)
    own = set(out.scans)
    _by_objects(out, own, companions)
    for frame, members in _others(companions, out.scans).items():
        if policy == "refuse":
            text = f"{members[0].label}: its frame of reference is not the CT's, and no registration object leads there."
            raise GeometryError(f"{text} Add one, or set other_frames=drop or other_frames=register.")
        if policy == "register":
            _by_ourselves(out, seen, frame, members)
    return out


def _others(companions: Iterable[Series], known: Mapping[str, object]) -> dict[str, list[Series]]:
    """Companions in frames of reference that cannot be reached, by frame."""
    found: dict[str, list[Series]] = {}
    for series in companions:
        if series.kind in PLACED and series.frame and series.frame not in known:
            found.setdefault(series.frame, []).append(series)
    return found


def _by_objects(out: Frames, own: set[str], companions: Sequence[Series]) -> None:
    """Frames that registration objects of the job lead to."""
    links: list[Link] = []
    for series in companions:
        for instance in series.instances if series.kind is SeriesKind.REG else ():
            try:
                links += read_links(instance, series.label)
            except InputError as error:
                out.findings.append(Finding(Level.WARNING, "registration_unread", str(error), series.label))
    for origin in sorted(own):
        for frame, (transform, labels) in paths(origin, links).items():
            if frame in own:
                continue
            out.scans.setdefault(frame, []).extend(scan.moved(transform, frame) for scan in out.scans[origin])
            out.routes.setdefault(frame, {"by": "registration object", "objects": sorted(set(labels))})


def _by_ourselves(out: Frames, seen: Sequence[tuple[Leader, Scan]], frame: str, members: Sequence[Series]) -> None:
    """A frame of reference reached by registering one of its images with the CT."""
    images = sorted((series for series in members if series.kind in IMAGES), key=lambda series: IMAGES.index(series.kind))
    if not images:
        out.failures[frame] = "nothing in its frame of reference is an image that could be registered with the CT."
        return
    leader, scan = max(seen, key=lambda pair: pair[0].stack.volume.grid.shape[0])
    try:
        found = register(leader.stack.volume, read_stacks(images[0])[0].volume, leader.head)
    except InputError as error:
        out.failures[frame] = f"it could not be registered with the CT: {error}"
        return
    if not found.is_good:
        out.failures[frame] = f"its registration with the CT is not good enough ({found.words}). Add a registration object."
        return
    out.scans[frame] = [replace(scan, slack_mm=found.skin_mm).moved(found.transform, frame)]
    out.routes[frame] = _route(found, images[0].label)
    text = f"{images[0].label} was registered with the CT ({found.words}); its frame of reference follows the CT by that."
    out.findings.append(Finding(Level.WARNING, "registered", text, images[0].label))


def _route(found: Registered, label: str) -> dict[str, Any]:
    return {"by": "own registration", "objects": [label], **found.measures()}
