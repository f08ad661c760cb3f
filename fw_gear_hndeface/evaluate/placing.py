"""Where the face of a scan lies in the frames of reference of the objects beside it, and what those objects show there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fw_gear_hndeface.carry.frames import IMAGES
from fw_gear_hndeface.dicom.registration import Link, paths, read_links
from fw_gear_hndeface.dicom.rtdose import read_doses
from fw_gear_hndeface.dicom.rtstruct import read_rois
from fw_gear_hndeface.dicom.seg import Segment, read_segments
from fw_gear_hndeface.dicom.series import read_stacks
from fw_gear_hndeface.dicom.study import Contents, Series, SeriesKind
from fw_gear_hndeface.evaluate.siblings import (
    MATCHED_OUTSIDE_ML,
    OUTSIDE_ML,
    Seat,
    dose_guesses,
    hu_guesses,
    image_guesses,
    protruding_ml,
    solid_guesses,
)
from fw_gear_hndeface.model import Bool, Label, RoiKind, Volume
from fw_gear_hndeface.ops.labels import is_known, label_of
from fw_gear_hndeface.ops.parts import features
from fw_gear_hndeface.ops.register import register
from fw_gear_hndeface.ops.skin import SKIN_HU
from fw_gear_hndeface.ops.transform import Transform
from fw_gear_hndeface.privacy.attacks import Exposed, Guess, skin_guess
from fw_gear_hndeface.privacy.battery import Exposure

#: Kinds that are laid over a face.
LOOKED_AT = (SeriesKind.CT, SeriesKind.RTSTRUCT, SeriesKind.RTDOSE, SeriesKind.SEG, SeriesKind.PET, SeriesKind.MR)
#: A region that meets fewer of the rays through eyes, nose and mouth than this is no surface of the face.
LEAST_RAYS = 0.1
#: Against the original: a region that runs nearer to the old skin than to the new one on most of the rays where these part by
#: more than `MOVED_MM`, if they are more than `LEAST_CM2`. Drawn outlines of five real heads did on 78 to 90 in 100 rays before
#: and on 0 to 1 after.
FOLLOWS_SHARE, MOVED_MM, LEAST_CM2 = 0.6, 4.0, 5.0
#: Dose above this share of its maximum, where tissue was taken away.
DOSE_SHARE = 0.001
#: What holds more of the tissue before and around the face than this is an outline, whatever its name.
OUTLINE_SHARE = 0.8


@dataclass(frozen=True, eq=False)
class Place:
    """A face that objects are held against; `exposed` is the scan it was placed on, if it was one, and `label` that scan's."""

    seat: Seat
    exposed: Exposed | None
    label: str = ""


@dataclass(frozen=True)
class Shown:
    """What one object shows: exposures of the face it was held against, or a reason in words."""

    exposures: Sequence[Exposure] = ()
    matched: bool = False
    through: str = ""
    shows: str = "unknown"
    message: str = ""


@dataclass
class Placing:
    """Faces by frame of reference; others are reached by registration objects of the study, else by registering an image.

    Parameters
    ----------
    places : where faces were found
    contents : the study
    """

    places: Sequence[Place]
    contents: Contents
    _known: dict[str, tuple[Place, ...]] = field(default_factory=dict)

    def at(self, frame: str) -> tuple[Place, ...]:
        """Faces as seen from a frame of reference; none where nothing leads there.

        Raises
        ------
        InputError
            A registration object that cannot be read.
        """
        if frame not in self._known:
            here = tuple(place for place in self.places if place.seat.frame == frame)
            self._known[frame] = here or tuple(self._by_objects(frame)) or tuple(self._by_ourselves(frame))
        return self._known[frame]

    def _by_objects(self, frame: str) -> Iterator[Place]:
        objects = [(s, i) for s in self.contents.series if s.kind is SeriesKind.REG for i in s.instances]
        links: list[Link] = [link for series, instance in objects for link in read_links(instance, series.label)]
        for place in self.places:
            way = paths(place.seat.frame, links).get(frame)
            if way is not None:
                yield _moved(place, frame, way[0])

    def _by_ourselves(self, frame: str) -> Iterator[Place]:
        images = [s for s in self.contents.series if s.frame == frame and frame and s.kind in IMAGES]
        for series in sorted(images, key=lambda series: IMAGES.index(series.kind))[:1]:
            image = read_stacks(series)[0].volume
            for place in self.places:
                if place.exposed is not None:
                    found = register(place.exposed.scan, image, place.seat.rays.frame)
                    if found.is_good:
                        yield _moved(place, frame, found.transform)


def _moved(place: Place, frame: str, way: Transform) -> Place:
    return replace(place, seat=replace(place.seat, frame=frame, way=way))


def look_beside(series: Series, placing: Placing) -> Iterator[Shown]:
    """What a structure set, dose, segmentation or image shows of every face of its frame of reference.

    Raises
    ------
    DicomError, GeometryError
        An object that cannot be read.
    """
    if series.kind is SeriesKind.RTSTRUCT:
        yield from _structures(series, placing)
        return
    if series.kind is SeriesKind.CT:
        yield from _further_scans(series, placing)
        return
    places = placing.at(series.frame)
    if placing.places and not places:
        yield _nowhere(series.label)
    elif series.kind is SeriesKind.RTDOSE:
        for dose in read_doses(series):
            for place in places:
                yield _judged(place, "dose edge", dose_guesses(dose, place.seat))
                if place.seat.original is not None:
                    lit = place.seat.field(dose, 0.0) > DOSE_SHARE * float(dose.array.max())
                    yield from _in_the_air(series.label, "dose", lit, place)
    elif not places:
        text = f"{series.label} could not be judged: no scan shows where the face lies. Give it with its CT."
        yield Shown(through="unplaced", message=text)
    elif series.kind is SeriesKind.SEG:
        yield from _segments(series, places)
    else:
        for stack in read_stacks(series):
            for place in places:
                yield _judged(place, f"{series.kind.value} surface", image_guesses(stack.volume, place.seat))


def _further_scans(series: Series, placing: Placing) -> Iterator[Shown]:
    """CT volumes in which no face was placed: part of one may be in view, where another scan has it."""
    judged = {place.label for place in placing.places}
    for stack in read_stacks(series) if placing.places and series.label not in judged else ():
        if stack.series.label not in judged:
            for place in placing.at(series.frame):
                yield _judged(place, "CT surface", hu_guesses(stack.volume, place.seat))


def _nowhere(label: str) -> Shown:
    text = (
        f"{label} could not be judged: it lies in another frame of reference than the scans, and no registration leads there. "
        "Add a registration object, or leave it out."
    )
    return Shown(through="unplaced", message=text)


def _judged(place: Place, name: str, guesses: Iterable[Guess]) -> Shown:
    return Shown(place.seat.judge(name, guesses), place.seat.original is not None)


def _structures(series: Series, placing: Placing) -> Iterator[Shown]:
    for drawn in read_rois(series):
        rois = [roi for roi in drawn.rois if roi.contours_mm]
        places = placing.at(drawn.frame)
        if rois and placing.places and not places:
            yield _nowhere(series.label)
        for place in places:
            labels = (replace(label_of(roi.number, roi.name), kind=roi.kind) for roi in rois)
            regions = ((f"ROI {roi.number}", label, place.seat.inside(roi)) for roi, label in zip(rois, labels, strict=True))
            yield from _regions(series.label, "structure outline", regions, place)


def _segments(series: Series, places: Sequence[Place]) -> Iterator[Shown]:
    for place in places:
        regions = (
            (f"segment {segment.label.number}", segment.label, place.seat.field(_as_volume(segment), 0.0) > 0.5)
            for segment in read_segments(series)
        )
        yield from _regions(series.label, "segment surface", regions, place)


def _as_volume(segment: Segment) -> Volume:
    return Volume(segment.grid, segment.inside.astype(np.float32))


def _regions(where: str, attack: str, regions: Iterable[tuple[str, Label, Bool]], place: Place) -> Iterator[Shown]:
    """What regions show: by their surface, by what lies behind them, and by standing in the air where tissue was."""
    seat = place.seat
    zone = features(seat.rays, seat.landmarks)
    guesses: list[Guess] = []
    for name, label, inside in regions:
        met = np.count_nonzero(inside.any(axis=1) & zone)
        if met >= LEAST_RAYS * np.count_nonzero(zone) and not _is_inner(label, inside, place.exposed):
            found = [*solid_guesses(f"outline, {name}" if label.kind is RoiKind.EXTERNAL else name, inside, seat.rays)]
            guesses += found
            if any(_follows_old_skin(guess, zone, place) for guess in found):
                text = f"{where}: {name} follows the skin as it was, not the one that is there now."
                yield Shown(through="old skin", shows="surface", message=text)
        if met and label.kind is not RoiKind.SUPPORT:
            yield from _in_the_air(where, name, inside, place)
    yield _judged(place, attack, guesses)


def _in_the_air(where: str, name: str, inside: Bool, place: Place) -> Iterator[Shown]:
    """What stands in the air before the face, where the old skin lay."""
    seat, exposed = place.seat, place.exposed
    if exposed is None:
        return
    skin = None if seat.original is None else seat.original.relief
    outside = protruding_ml(inside, exposed, seat.landmarks, skin)
    if outside > (OUTSIDE_ML if skin is None else MATCHED_OUTSIDE_ML):
        text = f"{where}: {name} reaches {outside:.1f} mL into the air before the face: the old skin lay there."
        yield Shown(through="region in the air", shows="surface", message=text)


def _follows_old_skin(guess: Guess, zone: Bool, place: Place) -> bool:
    """Whether a surface runs along the original's skin where that of the released scan lies elsewhere."""
    if place.exposed is None or place.seat.original is None:
        return False
    relief, old, new = guess.relief(), place.seat.original.relief, skin_guess(place.exposed).relief()
    new = np.where(np.isfinite(new), new, np.inf)
    moved = zone & np.isfinite(relief) & np.isfinite(old) & (np.abs(new - old) > MOVED_MM)
    if np.count_nonzero(moved) * guess.rays.pixel_mm**2 < 100 * LEAST_CM2:
        return False
    to_old, to_new = np.abs(relief - old)[moved], np.abs(relief - new)[moved]
    return bool(np.mean(to_old < to_new) > FOLLOWS_SHARE and np.median(to_old) < MOVED_MM)


def _is_inner(label: Label, inside: Bool, exposed: Exposed | None) -> bool:
    """Whether a region is medicine that stays by design, by its name: targets, eyes, and structures that the tables know."""
    if label.kind in (RoiKind.EXTERNAL, RoiKind.SUPPORT, RoiKind.OTHER):
        return False
    if exposed is not None:
        tissue = exposed.cleaned > SKIN_HU
        if np.count_nonzero(inside & tissue) > OUTLINE_SHARE * np.count_nonzero(tissue):
            return False
    return label.kind is not RoiKind.ORGAN or is_known(label.name)
