"""The order of the work: what leaves, what does not, and what is said about it. The face work itself is stood in for."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fw_gear_hndeface import pipeline, together
from fw_gear_hndeface.carry import images
from fw_gear_hndeface.casework import Case, Defaced
from fw_gear_hndeface.errors import (
    InputError,
    LandmarkError,
    PrivacyError,
    ProtectionError,
    SettingsError,
    VerificationError,
)
from fw_gear_hndeface.landmarks import Face
from fw_gear_hndeface.model import Finding, Grid, Landmark, Landmarks, Level, Mask, Proposal, Verdict, View, Volume
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.pipeline import Staged, deface, publish
from fw_gear_hndeface.privacy.attempts import Attempt
from fw_gear_hndeface.privacy.check import Assessment
from fw_gear_hndeface.privacy.match import Match
from fw_gear_hndeface.report.exhibit import Exhibit, Picture
from fw_gear_hndeface.settings import Settings
from fw_gear_hndeface.verify import roi_costs, verify
from fw_gear_hndeface.vocabulary import CANONICAL_FACE_MM
from tests.e2e import studies

SHAPE = (7, 19, 23)
#: Where the stand-in for a face lies.
FACE = (slice(2, 5), slice(4, 9), slice(6, 15))


def volume() -> Volume:
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag([9.0, 9.5, 10.0]))
    affine[:3, 3] = [-100.0, -90.0, -30.0]
    array = np.random.default_rng(8).integers(-1000, 900, SHAPE).astype(np.int16)
    array[FACE] = 30
    return Volume(Grid(SHAPE, affine, studies.FRAME_UID), array)


def face(whole: bool = True) -> Face:
    view = View.IN_VIEW if whole else View.CUT
    marks = {
        name: Landmark(np.array(point), 3.0, "test", view if name.startswith("brow") else View.IN_VIEW)
        for name, point in CANONICAL_FACE_MM.items()
    }
    return Face(Landmarks(marks), HeadFrame(np.zeros(3), np.eye(3), 1.0), ())


def good(passed: bool = True) -> Assessment:
    share = 0.8 if passed else 0.01
    return Assessment(6, 1, 0.7, 0.6, share, 1.0, -0.2)


def stand_in(*, whole: bool = True, passed: bool = True) -> Callable[..., Defaced]:
    """A face work that turns the box to -700 HU and keeps padding."""

    def work(case: Case, settings: Settings, seed: int, stage: object) -> Defaced:
        change = np.zeros(case.scan.grid.shape, dtype=np.bool_)
        change[FACE] = True
        kept = case.padding or Mask.empty(case.scan.grid, "nothing")
        fill = np.full(int(change.sum()), -700, dtype=np.float32)
        plan = Proposal(Mask(case.scan.grid, change, "zone"), fill, "test").without(kept)
        after = plan.apply(case.scan)
        cost = verify(case.scan, after, plan, face().frame)
        told = Finding(Level.INFO, "stood_in", "A stand-in.", case.label)
        rois = roi_costs(case.scan, after, case.rois)
        exhibit = Exhibit((Picture("one", "turntable", "One", np.zeros((20, 20), dtype=np.uint8)),))
        return Defaced(face(whole), plan, cost, rois, good(passed), 1.0, exhibit, (told,))

    return work


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return studies.write_zip(tmp_path / "in.zip", studies.ct_members(volume()))


@pytest.fixture(autouse=True)
def faces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "deface_case", stand_in())
    monkeypatch.setattr(pipeline, "leader_of", lambda *args: None)


def run(study: Path, work: Path, **options: object) -> Staged:
    return deface([study], work, "out", Settings(**options), key=b"0123456789abcdef", on_progress=lambda name, share: None)  # type: ignore[arg-type]


def raising(error: Exception) -> Callable[..., Defaced]:
    def work(*args: object) -> Defaced:
        raise error

    return work


def codes(staged: Staged) -> set[str]:
    return {finding.code for finding in staged.result.findings}


def names(staged: Staged) -> set[str]:
    return {path.name for path in staged.files}


def test_a_defaced_study_stages_image_and_reports(study: Path, work: Path) -> None:
    staged = run(study, work, seed=5)
    assert staged.exit_code == 0
    assert staged.result.verdict is Verdict.DEFACED
    assert names(staged) == {"out_hndeface.dicom.zip", "out_hndeface.qa.json", "out_hndeface.qa.html"}
    assert all(path.parent == work and path.is_file() for path in staged.files)
    before = studies.slices_of(study)
    after = studies.slices_of(work / "out_hndeface.dicom.zip")
    assert set(before) == set(after)
    (old, _), (new, _) = studies.hu_of(before), studies.hu_of(after)
    changed = np.zeros(SHAPE, dtype=np.bool_)
    changed[FACE] = True
    assert np.all(new[changed] == -700)
    assert np.array_equal(old[~changed], new[~changed])


def test_findings_measures_and_fates_are_told(study: Path, work: Path) -> None:
    result = run(study, work).result
    assert "stood_in" in {finding.code for finding in result.findings}
    (told,) = result.measures["objects"]
    assert told["modality"] == "CT"
    assert told["fate"] == "defaced"
    assert result.measures["method"] == "membrane"
    assert result.measures["privacy"]["passed"] is True
    assert result.measures["removed_ml"] == pytest.approx(3 * 5 * 9 * 0.855, abs=0.01)
    assert result.measures["landmarks"]["nose_tip"]["source"] == "test"
    assert set(result.measures["seconds"]) >= {"read", "write", "total"}
    assert result.measures["peak_mb"] > 10
    assert result.plan is not None


def test_progress_goes_forward_to_one(study: Path, work: Path) -> None:
    shares: list[float] = []
    deface([study], work, "out", Settings(), key=b"k", on_progress=lambda name, share: shares.append(share))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_cut_face_is_partial(study: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "deface_case", stand_in(whole=False))
    staged = run(study, work)
    assert staged.result.verdict is Verdict.PARTIAL
    assert staged.exit_code == 0
    assert "out_hndeface.dicom.zip" in names(staged)


def test_no_face_is_green_and_has_no_image(study: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "deface_case", lambda *args: None)
    staged = run(study, work)
    assert staged.result.verdict is Verdict.NO_FACE
    assert staged.exit_code == 0
    assert names(staged) == {"out_hndeface.qa.json", "out_hndeface.qa.html"}
    assert "no_face" in codes(staged)
    (told,) = staged.result.measures["objects"]
    assert told["fate"].startswith("left out")


ERRORS = [LandmarkError, ProtectionError, VerificationError, PrivacyError]


@pytest.mark.parametrize("error", ERRORS)
def test_a_refused_study_has_a_report_and_no_image(
    error: type[Exception], study: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "deface_case", raising(error("CT series 3: for a reason.")))
    staged = run(study, work)
    assert staged.result.verdict is Verdict.REFUSED
    assert staged.exit_code == error("").exit_code
    assert names(staged) == {"out_hndeface.qa.json", "out_hndeface.qa.html"}
    assert not list(work.glob("*.zip"))
    assert staged.result.plan is None
    (told,) = [finding for finding in staged.result.findings if finding.level is Level.ERROR]
    assert told.message == "CT series 3: for a reason."
    assert told.code == error.__name__.removesuffix("Error").lower()
    record = json.loads((work / "out_hndeface.qa.json").read_text())
    assert record["verdict"] == "refused"
    assert [entry["fate"] for entry in record["objects"]] == ["left out: the study was refused"]


def two_series(folder: Path) -> Path:
    """A study with the same CT twice, as series 3 and 4."""
    members = studies.ct_members(volume())

    def renamed(ds: object) -> None:
        ds.SeriesInstanceUID, ds.SeriesNumber = "1.2.826.0.1.9.77", 4  # type: ignore[attr-defined]
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID + ".7"  # type: ignore[attr-defined]

    second = {f"second/{name}": data for name, data in studies.edited(members, renamed).items()}
    return studies.write_zip(folder / "two.zip", {**members, **second})


def second_raises(error: Exception) -> Callable[..., Defaced]:
    """Stands in for casework: the first volume goes well, the second does not."""
    calls: list[str] = []

    def stand(case: Case, *args: object) -> Defaced:
        calls.append(case.label)
        if len(calls) == 2:
            raise error
        return stand_in()(case, *args)

    return stand


def test_what_was_found_before_a_refusal_is_in_its_report(study: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = LandmarkError("the face is uncertain")
    error.findings = (Finding(Level.WARNING, "network_on_cpu", "A network ran without a GPU.", "totalsegmentator"),)

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "deface_case", refuse)
    result = run(study, work).result
    assert result.verdict is Verdict.REFUSED
    assert [finding.code for finding in result.findings][:2] == ["network_on_cpu", "landmark"]


def test_one_series_that_is_refused_takes_the_whole_study_back(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "deface_case", second_raises(PrivacyError("the second one can be matched")))
    staged = run(two_series(tmp_path), work)
    assert staged.result.verdict is Verdict.REFUSED
    assert not any(path.suffix == ".zip" for path in staged.files)
    objects = staged.result.measures["objects"]
    assert len(objects) == 2, "every series has a fate"
    assert {entry["fate"] for entry in objects} == {"left out: the study was refused"}


def test_a_scan_whose_own_face_is_unsure_follows_the_one_that_is_sure(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "deface_case", second_raises(LandmarkError("the second one is unsure")))
    monkeypatch.setattr(images, "skin_apart", lambda *_: None)  # a volume of noise has no skin
    staged = run(two_series(tmp_path), work)
    assert staged.result.verdict is Verdict.DEFACED
    assert {entry["label"]: entry["fate"] for entry in staged.result.measures["objects"]} == {
        "CT series 3": "defaced",
        "CT series 4": "carried",
    }
    (archive,) = [path for path in staged.files if path.suffix == ".zip"]
    after = {name: ds for name, ds in studies.slices_of(archive).items() if name.startswith("second/")}
    hu, _ = studies.hu_of(after)
    before = volume().array
    assert np.all(hu[FACE] != before[FACE])
    around = np.zeros(SHAPE, dtype=np.bool_)
    around[tuple(slice(side.start - 1, side.stop + 1) for side in FACE)] = True
    assert np.array_equal(hu[~around], before[~around])
    assert all(ds.RecognizableVisualFeatures == "NO" for ds in after.values())


@pytest.mark.parametrize("error", [InputError, SettingsError])
def test_bad_input_and_bad_settings_leave_nothing(
    error: type[Exception], study: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "deface_case", raising(error("no")))
    with pytest.raises(error):
        run(study, work)
    assert not list(work.glob("out*"))


def test_no_ct_is_bad_input(tmp_path: Path, work: Path) -> None:
    points = [np.array([[0.0, 0, 0], [10, 0, 0], [10, 10, 0]])]
    plan = studies.write_zip(tmp_path / "rt.zip", {"plan.dcm": studies.rtstruct("PTV", points)})
    with pytest.raises(InputError, match="no CT series"):
        run(plan, work)


def test_our_own_output_is_already_defaced(study: Path, work: Path, tmp_path: Path) -> None:
    first = run(study, work)
    again = tmp_path / "again"
    again.mkdir()
    staged = run(next(path for path in first.files if path.suffix == ".zip"), again)
    assert staged.result.verdict is Verdict.ALREADY_DEFACED
    assert staged.exit_code == 0
    assert not any(path.suffix == ".zip" for path in staged.files)
    assert "already_defaced" in codes(staged)


def test_a_matched_result_let_through_is_written_without_any_claim(
    study: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "deface_case", stand_in(passed=False))
    staged = run(study, work, privacy="report")
    assert staged.exit_code == 7
    assert "privacy_failed" in codes(staged)
    for ds in studies.slices_of(work / "out_hndeface.dicom.zip").values():
        assert ds.get("RecognizableVisualFeatures") != "NO"
        assert "113102" not in [item.CodeValue for item in ds.get("DeidentificationMethodCodeSequence", [])]


def test_a_result_matched_through_an_attack_and_let_through_is_written_without_any_claim(
    study: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Attempt("smoothing", "x", False, np.zeros((3, 3), np.uint8), 1.0, Match(6, 6, 1.0, 0.1, 0.1, 0.0, 1, 61))
    monkeypatch.setattr(pipeline, "deface_case", lambda *given: replace(stand_in()(*given), attempts=(found,)))
    staged = run(study, work, privacy="report")
    assert staged.exit_code == 7
    assert "privacy_failed" in codes(staged)
    for ds in studies.slices_of(work / "out_hndeface.dicom.zip").values():
        assert ds.get("RecognizableVisualFeatures") != "NO"


def test_padding_is_kept_as_it_was(tmp_path: Path, work: Path) -> None:
    padded = volume().array.copy()
    padded[3, 5:7, 7:9] = -2000
    members = studies.ct_members(Volume(volume().grid, padded))

    def marked(ds: object) -> None:
        ds.add_new(0x00280120, "SS", -2000 + 1024)  # type: ignore[attr-defined]

    study = studies.write_zip(tmp_path / "padded.zip", studies.edited(members, marked))
    run(study, work)
    after, _ = studies.hu_of(studies.slices_of(work / "out_hndeface.dicom.zip"))
    assert np.all(after[3, 5:7, 7:9] == -2000)
    assert (after[FACE] == -700).sum() == 3 * 5 * 9 - 4


def test_regions_of_the_ct_s_frame_reach_the_case_and_others_are_named(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Case] = []

    def look(case: Case, *args: object) -> Defaced:
        seen.append(case)
        return stand_in()(case, *args)

    monkeypatch.setattr(pipeline, "deface_case", look)
    square = np.array([[-40.0, -40.0], [20.0, -40.0], [20.0, 30.0], [-40.0, 30.0]])
    points = [np.column_stack([square, np.full(4, z)]) for z in (-21.0, -12.0, -3.0)]
    mine = studies.rtstruct("PTV_70", points)

    def elsewhere(ds: object) -> None:
        ds.FrameOfReferenceUID = ds.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "1.2.3.4.5"  # type: ignore[attr-defined]
        ds.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "1.2.3.4.5"  # type: ignore[attr-defined]

    other = studies.edited({"other.dcm": studies.rtstruct("GTV", points)}, elsewhere)
    study = studies.write_zip(tmp_path / "rt.zip", {**studies.ct_members(volume()), "rs.dcm": mine, **other})
    staged = run(study, work)
    assert [roi.name for roi in seen[0].rois] == ["PTV_70"]
    assert "frame_mismatch" in codes(staged)
    (roi,) = staged.result.measures["rois"]
    assert roi["name"] == "PTV_70"
    told = {(entry["modality"], entry["fate"]) for entry in staged.result.measures["objects"]}
    assert ("CT", "defaced") in told
    assert len(staged.result.measures["objects"]) == 3


def test_the_secret_seed_is_drawn_anew_and_a_given_one_is_used(
    study: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []

    def look(case: Case, settings: Settings, seed: int, stage: object) -> Defaced:
        seeds.append(seed)
        return stand_in()(case, settings, seed, stage)

    monkeypatch.setattr(pipeline, "deface_case", look)
    for _ in range(2):
        run(study, work)
    staged = run(study, work, seed=77)
    assert seeds[0] != seeds[1]
    assert min(seeds) > 0
    assert seeds[2] == 77
    assert str(seeds[0]) not in json.dumps(dict(staged.result.measures), default=str)


def test_publishing_moves_everything_under_its_final_name(study: Path, work: Path, tmp_path: Path) -> None:
    staged = run(study, work)
    output = tmp_path / "new" / "output"
    moved = publish(staged, output)
    assert {path.name for path in output.iterdir()} == names(staged) == {path.name for path in moved}
    with zipfile.ZipFile(output / "out_hndeface.dicom.zip") as archive:
        assert archive.testzip() is None


@pytest.mark.parametrize("at", [0, 1, 2])
def test_publishing_that_fails_leaves_no_file_at_all(
    at: int, study: Path, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = run(study, work)
    output = tmp_path / "output"
    copied: list[str] = []
    real = shutil.copyfile

    def failing(source: Path, target: Path) -> None:
        if len(copied) == at:
            target.write_bytes(b"half of it")
            raise OSError(28, "No space left on device")
        copied.append(source.name)
        real(source, target)

    monkeypatch.setattr(shutil, "copyfile", failing)
    with pytest.raises(OSError, match="No space"):
        publish(staged, output)
    assert list(output.iterdir()) == []


def test_messages_and_reports_name_no_patient(study: Path, work: Path) -> None:
    staged = run(study, work)
    told = json.dumps(dict(staged.result.measures), default=str) + " ".join(f.message + f.where for f in staged.result.findings)
    for path in staged.files:
        if path.suffix in (".json", ".html"):
            told += path.read_text()
    for secret in (*studies.SECRETS, studies.SERIES_UID, studies.FRAME_UID, str(work)):
        assert secret not in told


def test_a_volume_without_a_face_beside_one_with_is_told(tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = iter([stand_in(), lambda *args: None])
    monkeypatch.setattr(pipeline, "deface_case", lambda *args: next(made)(*args))
    stacks = pipeline.read_stacks

    def twice(series: object) -> tuple[object, ...]:
        (stack,) = stacks(series)  # type: ignore[arg-type]
        return stack, replace(stack, findings=())

    monkeypatch.setattr(pipeline, "read_stacks", twice)
    study = studies.write_zip(tmp_path / "in2.zip", studies.ct_members(volume()))
    assert "stack_left_out" in codes(run(study, work))


def phases(tmp_path: Path, count: int) -> Path:
    """One series with several volumes at one place."""
    members: dict[str, bytes] = {}
    for phase in range(count):

        def told(ds: studies.Dataset, phase: int = phase) -> None:
            ds.TemporalPositionIdentifier = phase + 1
            ds.SOPInstanceUID = f"{ds.SOPInstanceUID}.{phase}"
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            ds.PixelData = bytes([phase]) * 2 + ds.PixelData[2:]

        members |= {f"{phase}/{name}": data for name, data in studies.edited(studies.ct_members(volume()), told).items()}
    return studies.write_zip(tmp_path / "phases.zip", members)


@pytest.mark.parametrize("follows", [True, False])
def test_phases_are_planned_once_unless_the_plan_does_not_do(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch, follows: bool
) -> None:
    planned: list[str] = []
    plan = stand_in()

    def deface_case(case: Case, settings: Settings, seed: int, stage: object) -> Defaced:
        planned.append(case.label)
        return plan(case, settings, seed, stage)

    def follow_leader(case: Case, leader: Defaced, settings: Settings, stage: object) -> Defaced | None:
        return leader if follows else None

    monkeypatch.setattr(pipeline, "deface_case", deface_case)
    monkeypatch.setattr(pipeline, "follow_leader", follow_leader)
    monkeypatch.setattr(pipeline, "leader_of", together.leader_of)
    staged = run(phases(tmp_path, 3), work)
    assert len(planned) == (1 if follows else 3)
    assert ("own_plan" in codes(staged)) is not follows
    assert staged.result.verdict is Verdict.DEFACED
    with zipfile.ZipFile(work / "out_hndeface.dicom.zip") as made:
        assert len(made.namelist()) == 3 * SHAPE[0]
