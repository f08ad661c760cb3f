"""Which networks a run asks for, and the label maps they make of its scan."""

from __future__ import annotations

from collections.abc import Sequence

from fw_gear_hndeface.errors import SettingsError
from fw_gear_hndeface.model import Finding, Grid, LabelMap, Level, Volume
from fw_gear_hndeface.networks import nnunet, totalsegmentator
from fw_gear_hndeface.ops.head import head_windows
from fw_gear_hndeface.settings import Settings

Made = tuple[tuple[LabelMap, ...], tuple[Finding, ...]]


def tasks_of(settings: Settings) -> tuple[str, ...]:
    """TotalSegmentator's tasks that the settings ask for; its usual ones where it is the only source asked."""
    tasks = settings.totalseg_task_names
    return totalsegmentator.USUAL_TASKS if not tasks and settings.landmarks == totalsegmentator.NAME else tasks


def network_labels(scan: Volume, settings: Settings) -> Made:
    """Label maps of the head by every network that was asked for.

    What stands in for nothing else is refused when it cannot run; TotalSegmentator beside other sources is left out with a
    finding.

    Raises
    ------
    SettingsError
        `landmarks=totalsegmentator` or `method=nnunet`, and it cannot run here.
    HndefaceError
        A network failed.
    """
    tasks, model = tasks_of(settings), settings.method == nnunet.NAME
    if model:
        nnunet.face_labels(nnunet.read_model(settings.nnunet_model))
        _demand(nnunet.missing())
    lacking = totalsegmentator.missing(tasks) if tasks else None
    if settings.landmarks == totalsegmentator.NAME:
        _demand(lacking)
    if not model and (not tasks or lacking is not None):
        return (), _left_out(lacking)
    around = _window(scan)
    if around is None:
        return (), ()
    made = [] if not tasks or lacking is not None else [_totalseg(scan, around, tasks, settings)]
    if model:
        made.append(_nnunet(scan, around, settings))
    return tuple(one for maps, _ in made for one in maps), (*_left_out(lacking), *(f for _, told in made for f in told))


def _totalseg(scan: Volume, around: Grid, tasks: Sequence[str], settings: Settings) -> Made:
    return totalsegmentator.segment(scan, around, tasks, use_gpu=settings.use_gpu)


def _nnunet(scan: Volume, around: Grid, settings: Settings) -> Made:
    folder, way = settings.nnunet_model, settings.nnunet_orientation
    labels, told = nnunet.segment_face(scan, around, folder, use_gpu=settings.use_gpu, orientation=way)
    return (labels,), told


def _demand(lacking: str | None) -> None:
    if lacking is not None:
        raise SettingsError(lacking)


def _left_out(lacking: str | None) -> tuple[Finding, ...]:
    if lacking is None:
        return ()
    return (Finding(Level.WARNING, "network_missing", f"{lacking} The run went on without it.", totalsegmentator.NAME),)


def _window(scan: Volume) -> Grid | None:
    """The window with a brain in it, else the topmost; None without a patient."""
    first = None
    for head in head_windows(scan):
        first = first or head.volume.grid
        if head.brain_mm.size:
            return head.volume.grid
    return first
