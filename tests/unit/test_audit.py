"""An audit calls an untouched study, a localizer and an old outline unsafe, and a study whose face was changed safe."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from fw_gear_hndeface import cli
from fw_gear_hndeface.dicom.synthesize import StudyOptions, write_study
from fw_gear_hndeface.evaluate import audit as auditing
from fw_gear_hndeface.evaluate import siblings
from fw_gear_hndeface.evaluate.audit import Audit, audit
from fw_gear_hndeface.methods import REGISTRY, Scene
from fw_gear_hndeface.model import Mask, Roi, RoiKind, Volume
from fw_gear_hndeface.ops.frame import fit_frame
from fw_gear_hndeface.ops.head import head_windows
from fw_gear_hndeface.privacy import battery
from fw_gear_hndeface.privacy.attacks import ATTACKS, expose
from fw_gear_hndeface.synthetic.head import SyntheticHead
from tests import phantom as make

BARE = StudyOptions(structures=False, dose=False, compressed=False)


@pytest.fixture(autouse=True)
def _few_attacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two attacks are enough to see that what they show is told; the others have tests of their own."""
    monkeypatch.setattr(battery, "ATTACKS", {name: ATTACKS[name] for name in ("skin", "bone")})


@cache
def defaced() -> SyntheticHead:
    """The phantom with the default method's face."""
    head = make.phantom(plain=True)
    frame = fit_frame(head.landmarks)
    assert frame is not None
    body = next(head_windows(head.volume)).body
    keep = Mask.empty(head.volume.grid, "nothing")
    plan = REGISTRY["membrane"].propose(Scene(head.volume, body, keep, head.landmarks, frame, 5)).without(keep)
    return replace(head, volume=plan.apply(head.volume))


def outline_only(head: SyntheticHead) -> SyntheticHead:
    return replace(head, structures={"BODY": head.structures["BODY"]}, dose=None)


def study(folder: Path, head: SyntheticHead, options: StudyOptions = BARE) -> Path:
    (path,) = write_study(head, folder / "study.zip", seed=3, options=options)
    return path


def looked_at(path: Path, *originals: Path) -> Audit:
    return audit([path], list(originals), path.parent)


def test_an_untouched_study_is_unsafe(tmp_path: Path) -> None:
    found = looked_at(study(tmp_path, make.phantom(plain=True)))
    assert not found.is_safe
    assert {(sight.through, sight.shows) for sight in found.sights} == {("skin", "face")}
    assert found.heads[0]["face_placed_by"] == "scan"


def test_a_changed_face_is_safe_with_and_without_the_original(tmp_path: Path) -> None:
    released = study(tmp_path / "released", defaced())
    before = study(tmp_path / "before", make.phantom(plain=True))
    assert looked_at(released).is_safe
    found = looked_at(released, before)
    assert found.is_safe
    assert found.heads[0]["face_placed_by"] == "original"
    cost = found.heads[0]["cost"]
    grid, old, new = make.phantom(plain=True).volume.grid, make.phantom(plain=True).volume.array, defaced().volume.array
    assert cost["removed_ml"] == pytest.approx(np.count_nonzero((old > -300) & (new <= -300)) * grid.voxel_ml, abs=0.01)
    assert cost["added_ml"] == pytest.approx(np.count_nonzero((old <= -300) & (new > -300)) * grid.voxel_ml, abs=0.01)


def test_an_untouched_study_is_matched_with_its_original(tmp_path: Path) -> None:
    path = study(tmp_path, make.phantom(plain=True))
    found = looked_at(path, path)
    assert found.sights[0].shows == "surface, eyes, nose, mouth, identity, shape"


def test_an_old_outline_beside_a_changed_face_is_unsafe(tmp_path: Path) -> None:
    old_outline = outline_only(replace(defaced(), structures=make.phantom(plain=True).structures))
    path = study(tmp_path, old_outline, StudyOptions(dose=False, compressed=False))
    told = {(sight.where, sight.through) for sight in looked_at(path).sights}
    assert ("RTSTRUCT series 3", "region in the air") in told or ("RTSTRUCT series 3", "structure outline") in told
    assert not any(where.startswith("CT") for where, _ in told)


def test_an_outline_alone_shows_its_face(tmp_path: Path) -> None:
    write_study(
        outline_only(make.phantom(plain=True)), tmp_path / "all", seed=3, options=StudyOptions(dose=False, compressed=False)
    )
    found = looked_at(tmp_path / "all" / "RT")
    assert {sight.through for sight in found.sights} == {"structure outline"}


def test_a_localizer_is_unsafe(tmp_path: Path) -> None:
    path = study(tmp_path, defaced(), replace(BARE, localizer=True))
    assert {sight.through for sight in looked_at(path).sights} == {"localizer"}


def test_a_series_that_cannot_be_read_is_unsafe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_series: object) -> tuple[()]:
        raise auditing.HndefaceError("unreadable for a reason")

    monkeypatch.setattr(auditing, "read_stacks", refuse)
    found = looked_at(study(tmp_path, defaced()))
    assert [sight.through for sight in found.sights] == ["unreadable"]


def test_the_command_line_writes_and_returns_the_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = study(tmp_path / "in", make.phantom(plain=True))
    assert cli.main(["audit", str(path), "-o", str(tmp_path / "out")]) == 7
    told = capsys.readouterr().out
    assert "unsafe: do not share this study." in told
    assert "CT series 2: a natural face shows, by skin" in told
    record = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert record["safe"] is False
    assert record["series"] == [{"label": "CT series 2", "kind": "CT", "objects": 104, "claim": None}]
    assert (tmp_path / "out" / "audit.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_command_line_says_safe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = study(tmp_path, defaced())
    assert cli.main(["audit", str(path)]) == 0
    assert capsys.readouterr().out.startswith("safe")
    assert {one.name for one in tmp_path.iterdir()} == {"study.zip"}, "without -o nothing is written"


def square(z: float, half: float, front: float) -> np.ndarray:
    return np.array([[-half, front, z], [half, front, z], [half, 60.0, z], [-half, 60.0, z]])


def test_a_region_is_drawn_on_a_turned_grid_where_it_is() -> None:
    head = make.phantom(plain=True)
    frame = fit_frame(head.landmarks)
    assert frame is not None
    grid = frame.grid(np.array([-60.0, -60.0, -60.0]), np.array([60.0, 60.0, 60.0]), 2.0)
    centre = frame.to_patient(np.zeros(3))
    contours = tuple(centre + square(z, 20.0, -20.0) * [1, 1, 1] for z in np.arange(-30.0, 31.0, 3.0))
    mask = siblings.region(Roi("BODY", 1, RoiKind.EXTERNAL, contours), grid)
    points = grid.to_patient(np.argwhere(mask.array)) - centre
    assert mask.volume_ml == pytest.approx(40 * 80 * 63 / 1000, rel=0.06)
    assert np.abs(points[:, 0]).max() < 22
    assert points[:, 2].max() == pytest.approx(31.5, abs=2.5)


def test_what_stands_in_the_air_before_the_face_is_measured() -> None:
    head = make.phantom(plain=True)
    frame = fit_frame(head.landmarks)
    assert frame is not None
    body = next(head_windows(head.volume)).body
    old = expose(head.volume, [body], frame)
    gone = Volume(head.volume.grid, np.full_like(head.volume.array, -1000))
    assert siblings.protruding_ml(old.cleaned > -300, old, head.landmarks) == 0.0
    emptied = expose(gone, [body], frame)
    emptied.hu[:, -1:, :] = 40.0  # a wall far behind: everything before it stands in the air
    emptied.near[:, -1:, :] = True
    assert siblings.protruding_ml(old.cleaned > -300, emptied, head.landmarks) > 50.0
    skin = battery.remember(old, head.landmarks).relief
    assert siblings.protruding_ml(old.cleaned > -300, emptied, head.landmarks, skin) > 50.0
    never_tissue = np.cumsum(old.cleaned > -300, axis=1) == 0
    assert siblings.protruding_ml(never_tissue, emptied, head.landmarks) > 50.0
    assert siblings.protruding_ml(never_tissue, emptied, head.landmarks, skin) < 10.0
    depth = old.rays.depth(np.arange(old.hu.shape[1], dtype=float))[None, :, None]
    airways = (old.cleaned > -300) & (depth > 40.0 * frame.scale)
    assert siblings.protruding_ml(airways, emptied, head.landmarks) == 0.0, "the inside of a head that is cut open"


def test_a_dose_that_stops_at_the_skin_shows_the_skin() -> None:
    head = make.phantom(plain=True)
    frame = fit_frame(head.landmarks)
    assert frame is not None
    exposed = expose(head.volume, [next(head_windows(head.volume)).body], frame)
    dose = Volume(head.volume.grid, np.where(head.structures["BODY"].array, 30.0, 0.0).astype(np.float32))
    seat = siblings.Seat(exposed.rays, head.landmarks, battery.remember(exposed, head.landmarks))
    found = seat.judge("dose edge", siblings.dose_guesses(dose, seat))
    assert "surface" in found[0].shows
    blurred = Volume(dose.grid, np.full(dose.grid.shape, 30.0, np.float32))
    assert not any(one.shows for one in seat.judge("dose edge", siblings.dose_guesses(blurred, seat)))
