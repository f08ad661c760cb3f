"""The pictures of one run: the head turned round, slices, and every view and surface that the recogniser was shown."""

from __future__ import annotations

from collections.abc import Sequence

from fw_gear_hndeface.ops.render import Pose, Surface
from fw_gear_hndeface.privacy.attempts import Attempt
from fw_gear_hndeface.privacy.check import Sight
from fw_gear_hndeface.privacy.views import pictures
from fw_gear_hndeface.report.exhibit import Exhibit, Picture, Shown
from fw_gear_hndeface.report.scene import scene_of
from fw_gear_hndeface.report.slices import slice_pictures
from fw_gear_hndeface.report.words import attack_title

#: Ways round the head, degrees; positive is from the patient's left.
TURNTABLE_DEG = (-90.0, -60.0, -30.0, 0.0, 30.0, 60.0, 90.0)
PITCH_DEG = -8.0


def make_exhibit(
    shown: Shown, surface: Surface, sights: Sequence[Sight], attempts: Sequence[Attempt] = (), original: Surface | None = None
) -> Exhibit:
    """Everything a report shows of a defaced scan.

    Parameters
    ----------
    surface : of the head after the change, in frame mm
    sights : what the recogniser was shown of it
    attempts : the surfaces that attacks found in it
    original : of the head before the change, only where somebody asked for it in so many words
    """
    made = [*turntable(surface, "turntable"), *slice_pictures(shown), *(_view(n, sight) for n, sight in enumerate(sights))]
    made += [Picture(f"attack-{one.attack}", "attacks", attack_title(one.attack), one.grey) for one in attempts]
    before = [] if original is None else turntable(original, "before")
    return Exhibit((*made, *before), scene_of(shown))


def turntable(surface: Surface, group: str) -> list[Picture]:
    """A head from one side to the other."""
    views = pictures(surface, [Pose(PITCH_DEG, yaw) for yaw in TURNTABLE_DEG])
    named = zip(TURNTABLE_DEG, views, strict=False)
    return [Picture(f"{group}{yaw:+.0f}", group, _side(yaw), view.grey) for yaw, view in named]


def _side(yaw_deg: float) -> str:
    """Where the viewer stands, as the patient sees it."""
    return f"{abs(yaw_deg):.0f}° {'left' if yaw_deg > 0 else 'right'}" if yaw_deg else "front"


def _view(number: int, sight: Sight) -> Picture:
    pitch = sight.pose.pitch_deg
    height = f", {abs(pitch):.0f}° {'below' if pitch < 0 else 'above'}" if pitch else ""
    seen = "a face is seen" if sight.face_seen else "no face is seen"
    return Picture(f"view{number}", "views", f"{_side(sight.pose.yaw_deg)}{height}: {seen}", sight.grey)
