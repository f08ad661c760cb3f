"""Segmentations and objects in other frames of reference: the audit lays them over the face, or says that nobody can."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from scipy import ndimage

from fw_gear_hndeface.evaluate import audit as auditing
from fw_gear_hndeface.evaluate import placing
from fw_gear_hndeface.evaluate.audit import Audit, audit
from fw_gear_hndeface.evaluate.siblings import Seat
from fw_gear_hndeface.model import Volume
from fw_gear_hndeface.ops.frame import fit_frame
from fw_gear_hndeface.ops.head import head_windows
from fw_gear_hndeface.privacy import battery
from fw_gear_hndeface.privacy.attacks import ATTACKS, expose
from fw_gear_hndeface.synthetic.head import SyntheticHead
from tests import labelled
from tests import phantom as make
from tests.dicom import build
from tests.dicom import family as family_of
from tests.unit.test_audit import defaced

pytestmark = pytest.mark.slow
Bool = NDArray[np.bool_]


@pytest.fixture(autouse=True)
def _few_attacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scan itself is not what is looked at here."""
    monkeypatch.setattr(battery, "ATTACKS", {"skin": ATTACKS["skin"]})


@cache
def original() -> SyntheticHead:
    return make.phantom(plain=True)


def body(head: SyntheticHead) -> Bool:
    """The head and what it encloses, slice by slice."""
    tissue = head.volume.array > -300
    return np.stack([ndimage.binary_fill_holes(part) for part in tissue])


def looked_at(folder: Path, extra: dict[str, bytes], *, known: bool = False) -> Audit:
    """The audit of a changed face with further objects beside it, with or without the original."""
    family = family_of.Family.of(defaced(), folder, structures=False, dose=False)
    placed = {name: in_frame(data, family.frame) if name == "seg" else data for name, data in extra.items()}
    path = build.zip_of(folder / "released.zip", {**family.members, **placed})
    if not known:
        return audit([path], [], folder)
    before = family_of.Family.of(original(), folder, structures=False, dose=False)
    return audit([path], [build.zip_of(folder / "before.zip", before.members)], folder)


def fractional(data: bytes) -> bytes:
    """A binary segmentation as fractions of 200."""
    ds = dcmread(io.BytesIO(data))
    bits = np.unpackbits(np.frombuffer(ds.PixelData, np.uint8), bitorder="little")
    values = np.where(bits[: ds.NumberOfFrames * ds.Rows * ds.Columns], 180, 60).astype(np.uint8)
    ds.SegmentationType, ds.SegmentationFractionalType, ds.MaximumFractionalValue = "FRACTIONAL", "OCCUPANCY", 200
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelData = 7, values.tobytes() + b"\0" * (values.size % 2)
    return family_of.encoded(ds)


def in_frame(data: bytes, frame: str) -> bytes:
    ds = dcmread(io.BytesIO(data))
    ds.FrameOfReferenceUID = frame
    return family_of.encoded(ds)


def segmentation(name: str, mask: Bool, kind: str = "BINARY") -> dict[str, bytes]:
    stored = labelled.segmentation({name: mask}, original().volume.grid, kind="LABELMAP" if kind == "LABELMAP" else "BINARY")
    return {"seg": fractional(stored) if kind == "FRACTIONAL" else stored}


@pytest.mark.parametrize(
    ("kind", "known"),
    [("BINARY", True), ("BINARY", False), ("FRACTIONAL", False), ("LABELMAP", False)],
)
def test_a_body_segment_of_any_kind_shows_the_face_it_was_made_on(tmp_path: Path, kind: str, known: bool) -> None:
    found = looked_at(tmp_path, segmentation("body", body(original()), kind), known=known)
    assert not found.is_safe
    assert {sight.where for sight in found.sights} == {"SEG series 12"}
    assert "segment surface" in {sight.through for sight in found.sights}


@pytest.mark.parametrize("known", [True, False])
def test_a_body_segment_of_the_changed_face_is_safe(tmp_path: Path, known: bool) -> None:
    found = looked_at(tmp_path, segmentation("body", body(defaced())), known=known)
    assert found.is_safe, [sight.message for sight in found.sights]


@pytest.mark.parametrize("name", ["air", "Segment_3"])
def test_the_air_before_a_face_is_its_mould(tmp_path: Path, name: str) -> None:
    found = looked_at(tmp_path, segmentation(name, ~body(original())), known=True)
    shown = {sight.through: sight.shows for sight in found.sights if sight.where == "SEG series 12"}
    assert "surface" in shown.get("segment surface", "")


def test_a_shell_of_skin_shows_the_face_whatever_it_is_called(tmp_path: Path) -> None:
    whole = body(original())
    shell = whole & ~ndimage.binary_erosion(whole, iterations=2)
    found = looked_at(tmp_path, segmentation("Segment_1", shell), known=True)
    assert {sight.where for sight in found.sights} == {"SEG series 12"}


def test_organs_below_the_skin_are_no_reason(tmp_path: Path) -> None:
    parts = {name: original().structures[name].array for name in ("Brain", "Bone_Mandible", "Eye_L", "Eye_R")}
    data = labelled.segmentation(parts, original().volume.grid)
    found = looked_at(tmp_path, {"seg": data}, known=True)
    assert found.is_safe, [sight.message for sight in found.sights]


def beside(folder: Path, head: SyntheticHead, *, linked: bool) -> dict[str, bytes]:
    """An MR of a head in a frame of reference of its own, with or without the registration that leads there."""
    family = family_of.Family.of(head, folder, structures=False, dose=False)
    ct = set(family.members)
    moved = family_of.rigid(9.0, (14.0, -22.0, 30.0), head.landmarks["nasion"].point)
    family_of.add_mr(family, head, frame=family_of.OTHER_FRAME, moved=moved, ghost=0.0)
    if linked:
        family_of.add_registration(family, np.linalg.inv(moved))
    return {name: data for name, data in family.members.items() if name not in ct}


def changed_head() -> SyntheticHead:
    """The head with the changed face, its outline as well."""
    head = defaced()
    outline = replace(head.structures["BODY"], array=body(head))
    return replace(head, structures={**head.structures, "BODY": outline})


@pytest.mark.parametrize("known", [True, False])
def test_an_untouched_image_in_another_frame_is_seen_through_its_registration(tmp_path: Path, known: bool) -> None:
    found = looked_at(tmp_path, beside(tmp_path, original(), linked=True), known=known)
    assert {(sight.where, sight.through) for sight in found.sights} == {("MR series 22", "MR surface")}


def test_a_changed_image_in_another_frame_is_safe(tmp_path: Path) -> None:
    found = looked_at(tmp_path, beside(tmp_path, changed_head(), linked=True), known=True)
    assert found.is_safe, [sight.message for sight in found.sights]


def test_without_registration_object_a_changed_image_is_registered_and_an_untouched_one_is_not_safe(tmp_path: Path) -> None:
    found = looked_at(tmp_path, beside(tmp_path, changed_head(), linked=False), known=True)
    assert found.is_safe, [sight.message for sight in found.sights]
    found = looked_at(tmp_path, beside(tmp_path, original(), linked=False), known=True)
    assert {sight.where for sight in found.sights} == {"MR series 22"}


def test_an_outline_in_another_frame_is_seen_through_its_registration_and_without_it_not_judged(tmp_path: Path) -> None:
    moved = family_of.rigid(9.0, (14.0, -22.0, 30.0), original().landmarks["nasion"].point)
    grid = original().volume.grid
    data = labelled.segmentation({"body": body(original())}, replace(grid, affine=moved @ grid.affine))
    family = family_of.Family.of(original(), tmp_path, structures=False, dose=False)
    family.members.clear()
    family_of.add_registration(family, np.linalg.inv(moved))
    alone = {"other": in_frame(data, family_of.OTHER_FRAME)}
    found = looked_at(tmp_path, {**alone, **family.members}, known=True)
    assert "segment surface" in {sight.through for sight in found.sights}
    (told,) = looked_at(tmp_path, alone, known=True).sights
    assert told.through == "unplaced"
    assert "another frame of reference" in told.message


@pytest.mark.parametrize(("drawn_on", "told"), [(original, True), (defaced, False)])
def test_a_rough_outline_is_named_when_it_runs_along_the_old_skin(
    tmp_path: Path, drawn_on: Callable[[], SyntheticHead], told: bool
) -> None:
    """Every slice is drawn some millimetres off: too rough for a face, and still it tells where the skin was."""
    rng = np.random.default_rng(4)
    rough = np.stack([np.roll(part, rng.integers(-2, 3), axis=0) for part in body(drawn_on())])
    found = looked_at(tmp_path, segmentation("body", rough), known=True)
    assert ("old skin" in {sight.through for sight in found.sights}) is told


def test_a_little_of_what_stands_where_tissue_was_taken_away_tells_against_the_original() -> None:
    before, after = original(), defaced()
    frame = fit_frame(before.landmarks)
    assert frame is not None
    patient = next(head_windows(before.volume)).body
    exposed = expose(after.volume, [patient], frame)
    seat = Seat(exposed.rays, before.landmarks, battery.remember(expose(before.volume, [patient], frame), before.landmarks))
    volume = Volume(before.volume.grid, (body(before) & ~body(after)).astype(np.float32))
    gone = seat.field(volume, 0.0) > 0.5
    many = list(placing._in_the_air("RTDOSE series 4", "dose", gone, placing.Place(seat, exposed)))
    assert [shown.through for shown in many] == ["region in the air"]
    away = ndimage.distance_transform_edt(exposed.cleaned <= -300) * gone
    few = away > np.sort(away.ravel())[-int(0.8 / exposed.rays.grid.voxel_ml)]
    known = list(placing._in_the_air("RTDOSE series 4", "dose", few, placing.Place(seat, exposed)))
    blind = list(placing._in_the_air("RTDOSE series 4", "dose", few, placing.Place(replace(seat, original=None), exposed)))
    assert (len(known), len(blind)) == (1, 0)


@pytest.mark.parametrize(("of", "safe"), [(original, False), (defaced, True)])
def test_a_further_scan_of_half_a_face_is_held_against_the_face_of_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: Callable[[], SyntheticHead], safe: bool
) -> None:
    """From the chin to the eyes; where no face is placed on it by itself, the other scan's place counts."""
    place = auditing.place
    monkeypatch.setattr(auditing, "place", lambda case: None if case.label == "CT series 31" else place(case))
    head = of()
    grid = head.volume.grid
    low, high = (round(float(grid.to_index(head.landmarks[name].point)[0])) for name in ("chin", "globe_left"))
    part = head.volume.crop((slice(low, high), slice(None), slice(None)))
    extra = {}
    first = dcmread(io.BytesIO(next(iter(family_of.Family.of(head, tmp_path, structures=False, dose=False).members.values()))))
    for k, plane in enumerate(part.array):
        ds = build.ct_slice(k, np.rint(plane).astype(np.int16), part.grid.affine)
        ds.StudyInstanceUID, ds.FrameOfReferenceUID = first.StudyInstanceUID, first.FrameOfReferenceUID
        ds.SeriesNumber = 31
        extra[f"part/{k}"] = family_of.encoded(ds)
    found = looked_at(tmp_path, extra)
    assert {one["face_placed_by"] for one in found.heads if one["series"] == "CT series 31"} == {"no face found"}
    assert {sight.where for sight in found.sights} == (set() if safe else {"CT series 31"})
    assert safe or {sight.through for sight in found.sights} == {"CT surface"}
