"""A comparison: records that are made once, ranks and chance by hand, tables that say what the records hold."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fw_gear_hndeface import cli
from fw_gear_hndeface.dicom.synthesize import StudyOptions, write_study
from fw_gear_hndeface.errors import SettingsError, VerificationError
from fw_gear_hndeface.evaluate import commands, compare, ranks, trial
from fw_gear_hndeface.evaluate.compare import Task, checked_methods, read_record, run_study, tasks_of
from fw_gear_hndeface.evaluate.structures import structure_of
from fw_gear_hndeface.evaluate.studies import first_head
from fw_gear_hndeface.evaluate.tables import Table, shape_table, tables_of
from fw_gear_hndeface.files import PRIVATE, write_whole
from fw_gear_hndeface.model import Roi, RoiKind
from fw_gear_hndeface.privacy import battery
from fw_gear_hndeface.privacy.attacks import ATTACKS
from fw_gear_hndeface.privacy.slopes import common, packed
from fw_gear_hndeface.report.charts import Point, Tile, picture_sheet, privacy_chart
from tests import phantom as make

OPTIONS = StudyOptions(dose=False, compressed=False)


@pytest.fixture
def _few_attacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(battery, "ATTACKS", {"skin": ATTACKS["skin"]})


@cache
def small_head():  # type: ignore[no-untyped-def]
    head = make.phantom(plain=True)
    return replace(head, structures={name: head.structures[name] for name in ("BODY", "Bone_Mandible")})


def study(folder: Path) -> Path:
    (path,) = write_study(small_head(), folder / "study.zip", seed=3, options=OPTIONS)
    return path


@pytest.mark.usefixtures("_few_attacks")
@pytest.mark.slow
def test_records_of_a_study_are_made_once_and_say_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, methods = Task(study(tmp_path), 1, 0), ("original", "membrane")
    records = run_study(task, methods, tmp_path)
    untouched, changed = records
    assert [record["status"] for record in records] == ["done", "done"]
    assert untouched["removed_ml"] == untouched["added_ml"] == 0.0
    assert "surface" in untouched["exposures"][0]["shows"]
    assert changed["added_ml"] > 5.0
    assert "surface" not in changed["exposures"][0]["shows"]
    assert changed["body_dice"] < 1.0
    assert changed["outline_moved_outside_zone_voxels"] == 0
    (mandible,) = changed["structures"]
    assert mandible["structure"] == "mandible"
    inside = small_head().volume.array[small_head().structures["Bone_Mandible"].array].astype(float)
    assert mandible["features"]["Energy"][0] == pytest.approx(np.sum(inside**2), rel=0.1), "contours redraw a mask nearly"
    assert mandible["unchanged_percent"] == 100.0
    assert mandible["unprotected_percent"] <= 100.0
    assert len(untouched["embeddings"][0]["views"]) == 6
    text = json.dumps(records)
    assert "study.zip" not in text
    assert "SYNTHETIC" not in text

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a record that is there was made again")

    monkeypatch.setattr(compare, "try_method", never)
    assert run_study(task, methods, tmp_path) == records


@pytest.mark.usefixtures("_few_attacks")
def test_a_refusal_is_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = first_head([study(tmp_path)], tmp_path)
    assert head is not None

    def refuse(*_: Any) -> None:
        raise VerificationError("The plane removes too much.")

    monkeypatch.setattr(trial, "deface_located", refuse)
    record = trial.try_method(trial.prepare(head), "quickshear", 1)
    assert (record["status"], record["error"]) == ("refused", "VerificationError")


def test_a_study_that_cannot_be_read_or_shows_no_face_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.zip").write_bytes(b"no zip")
    (record,) = run_study(Task(tmp_path / "x.zip", 4, 0), ("original",), tmp_path)
    assert (record["status"], record["study"], record["reason"]) == ("unreadable", 4, "InputError")
    monkeypatch.setattr(compare, "first_head", lambda *_: None)
    assert run_study(Task(tmp_path / "x.zip", 4, 0), ("original",), tmp_path)[0]["status"] == "no face"


def test_a_head_is_named_by_its_voxels(tmp_path: Path) -> None:
    one = first_head([study(tmp_path / "a")], tmp_path)
    two = first_head([study(tmp_path / "b")], tmp_path)
    assert one is not None
    assert two is not None
    assert one.name == two.name
    assert len(one.name) == 10


def test_records_of_another_version_or_torn_ones_are_not_used(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    assert read_record(path) is None
    path.write_text('{"version": "0.0.0"}')
    assert read_record(path) is None
    path.write_text('{"version": ')
    assert read_record(path) is None
    write_whole(path, json.dumps({"version": compare.__version__, "n": 1}).encode(), mode=PRIVATE)
    assert read_record(path) is None, "made before records held shapes"
    made = {"version": compare.__version__, "format": compare.FORMAT, "n": 1}
    write_whole(path, json.dumps(made).encode(), mode=PRIVATE)
    assert read_record(path) == made
    assert [one.name for one in tmp_path.iterdir()] == ["r.json"], "no half file is left"
    assert path.stat().st_mode & 0o777 == 0o600, "a record is as identifiable as the head"


def test_methods_are_checked_before_work_begins() -> None:
    assert checked_methods(["membrane", "original", "membrane"]) == ("original", "membrane")
    with pytest.raises(SettingsError, match="'tar' is no method; the methods are membrane"):
        checked_methods(["membrane", "tar"])


def test_studies_of_one_folder_make_a_cohort(tmp_path: Path) -> None:
    tasks = tasks_of([tmp_path / "a" / "1.zip", tmp_path / "a" / "2.zip", tmp_path / "b" / "1.zip"])
    assert [(task.number, task.cohort) for task in tasks] == [(1, 0), (2, 0), (3, 1)]


# --- ranks, by hand -------------------------------------------------------------------------------------------------


def rows(value: float, views: int = 2) -> list[list[float] | None]:
    return [[value] * 128] * views + [None] * (6 - views)


def record(head: str, method: str, skin: float, attacked: float | None = None, **more: Any) -> dict[str, Any]:
    embeddings = [{"attack": "skin", "surface": "-300 HU", "inner": False, "views": rows(skin)}]
    if attacked is not None:
        embeddings.append({"attack": "smoothing", "surface": "Gaussian", "inner": False, "views": rows(attacked)})
    embeddings.append({"attack": "bone", "surface": "200 HU", "inner": True, "views": rows(float(head))})
    shapes = [{"attack": "skin", "surface": "-300 HU", "inner": False, "slopes": packed(bumps(skin))}]
    if attacked is not None:
        shapes.append({"attack": "smoothing", "surface": "Gaussian", "inner": False, "slopes": packed(bumps(attacked))})
    shapes.append({"attack": "bone", "surface": "200 HU", "inner": True, "slopes": packed(bumps(float(head)))})
    base = {"head": head, "method": method, "status": "done", "cohort": 0, "study": int(head), "embeddings": embeddings}
    return {**base, "shapes": shapes, **more}


def bumps(which: float) -> np.ndarray:
    """Slopes that are somebody's: what faces share, and ripples of a length that only this head has."""
    shared = np.nan_to_num(common())
    along = np.arange(shared.shape[1]) / (7.0 + 2.0 * which)
    return shared + 0.2 * np.stack([np.sin(along), np.cos(along)])


ORIGINALS = [record(str(n), "original", float(n)) for n in range(6)]


def test_ranks_by_hand() -> None:
    gallery = ranks.references(ORIGINALS)[0]
    assert set(gallery) == {"0", "1", "2", "3", "4", "5"}
    assert ranks.rank_record(ORIGINALS[2], gallery, attacked=False) == (1, 6)
    # 2 looks like 4.4 now: nearer are 4, 5 and 3
    assert ranks.rank_record(record("2", "x", 4.4), gallery, attacked=False) == (4, 6)
    # a tie with 3 counts against us
    assert ranks.rank_record(record("2", "x", 2.5), gallery, attacked=False) == (1, 6)


def test_an_attack_counts_for_everybody_and_inner_surfaces_for_nobody() -> None:
    gallery = ranks.references(ORIGINALS)[0]
    hidden = record("2", "x", 4.4, attacked=2.1)
    assert ranks.rank_record(hidden, gallery, attacked=False) == (4, 6)
    assert ranks.rank_record(hidden, gallery, attacked=True) == (1, 6)
    # the attack's surface looks like 0: that helps 0, not the own original 2, and the bone (exactly 2) does not count
    assert ranks.rank_record(record("2", "x", 4.4, attacked=0.0), gallery, attacked=True) == (6, 6)


def test_a_small_cohort_is_looked_for_among_all() -> None:
    lonely = {**record("9", "original", 9.0), "cohort": 1}
    gallery = ranks.references([*ORIGINALS, lonely])
    assert len(gallery[0]) == 6
    assert len(gallery[1]) == 7


def test_chance_of_ranks() -> None:
    found = ranks.ranking([(n % 20 + 1, 20) for n in range(20)])
    assert found is not None
    assert (found.heads, found.first) == (20, 1)
    assert found.mean == pytest.approx(10.5)
    assert found.mean_chance == pytest.approx((10.5 - 1.96 * 5.77 / 20**0.5, 10.5 + 1.96 * 5.77 / 20**0.5), abs=0.15)
    assert found.first_chance == (0.0, 3.0)
    assert found.reciprocal == pytest.approx(sum(1 / n for n in range(1, 21)) / 20)
    assert found.at_chance
    known = ranks.ranking([(1, 20)] * 20)
    assert known is not None
    assert not known.at_chance
    assert ranks.ranking([]) is None


# --- tables ---------------------------------------------------------------------------------------------------------


def exposure(shows: list[str], score: float | None, recovered: float) -> dict[str, Any]:
    error = {"median_mm": 1.5, "p90_mm": 4.0, "recovered": recovered}
    return {"attack": "skin", "surface": "-300 HU", "inner": False, "shows": shows, "detector_score": score, "error": error}


def cost(removed: float, percent: float, energy: tuple[float, float]) -> dict[str, Any]:
    features = {name: [1.0, 1.0] for name in ("90Percentile", "Entropy", "Kurtosis", "Maximum", "Median", "Range")}
    features |= {"Skewness": [0.0, 0.5], "Uniformity": [1.0, 1.0], "Variance": [1.0, 1.0], "Energy": list(energy)}
    structure = {"structure": "eye", "unchanged_percent": percent, "unprotected_percent": 10.0, "features": features}
    numbers = {"removed_ml": removed, "added_ml": 0.0, "retextured_ml": 0.0, "body_hd95_mm": 0.0, "body_dice": 1.0}
    return {**numbers, "seconds": 1.0, "outline_moved_outside_zone_voxels": 0, "structures": [structure]}


def records() -> list[dict[str, Any]]:
    out = []
    for n in range(6):
        plain = {**cost(0.0, 100.0, (4.0, 4.0)), "exposures": [exposure(["surface", "face"], 1.0, 1.0)]}
        out.append({**record(str(n), "original", float(n)), **plain})
        hidden = {**cost(10.0 * n, 90.0 + n, (4.0, 5.0)), "exposures": [exposure(["face"], -0.2, 0.1)]}
        out.append({**record(str(n), "blur", float(5 - n)), **hidden})
    return [*out, {"head": "9", "method": "blur", "status": "refused", "cohort": 0, "study": 9}]


def cell(table: Table, method: str, column: str) -> str:
    (row,) = [row for row in table.rows if row[0] == method]
    return row[table.head.index(column)]


def test_tables_by_hand() -> None:
    tables = {table.name: table for table in tables_of(records(), ["original", "blur"])}
    privacy = tables["privacy"]
    assert cell(privacy, "original", "heads") == "6"
    assert cell(privacy, "original", "detected") == "6"
    assert cell(privacy, "original", "skin: rank 1").startswith("6 [")
    assert cell(privacy, "original", "shown") == "6"
    assert cell(privacy, "blur", "refused") == "1"
    assert cell(privacy, "blur", "detected") == "0"
    assert cell(privacy, "blur", "shown") == "0", "a face alone, whosever it is, is not the patient's"
    assert cell(tables["cost"], "blur", "removed mL") == "25 (50)"
    assert cell(tables["structures"], "blur", "eye") == "92.50 (90.0); 10.0 (10.0)"
    assert cell(tables["attacks"], "original", "skin") == "6/6; 1.5, 4.0 mm; 1.00"
    (row,) = tables["features"].rows
    assert row[:2] == ["blur", "eye"]
    assert row[tables["features"].head.index("Energy")] == "+25.00"
    assert row[tables["features"].head.index("Skewness")] == "–"
    assert row[tables["features"].head.index("Maximum")] == "0"


def test_tables_as_csv_and_markdown() -> None:
    table = Table("t", "Title", "Note.", ["a", "b"], (["1", "x,y"], ["2", "p|q"]))
    assert table.csv() == 'a,b\n1,"x,y"\n2,p|q\n'
    assert table.markdown() == "## Title\n\nNote.\n\n| a | b |\n| --- | --- |\n| 1 | x,y |\n| 2 | p/q |\n"


@pytest.mark.parametrize(
    ("name", "kind", "structure"),
    [
        ("RightParotid", RoiKind.ORGAN, "parotid"),
        ("PTV70", RoiKind.TARGET, "target"),
        ("SpinalCord", RoiKind.ORGAN, "spinal cord"),
        ("Brainstem", RoiKind.ORGAN, "brainstem"),
        ("Bone_Mandible", RoiKind.ORGAN, "mandible"),
        ("OpticNrv_L", RoiKind.ORGAN, "optic nerve"),
        ("Eye_R", RoiKind.LANDMARK, "eye"),
        ("ZZDOE QQJANE", RoiKind.ORGAN, "other organ"),
    ],
)
def test_structures_have_names_that_name_nobody(name: str, kind: RoiKind, structure: str) -> None:
    assert structure_of(Roi(name, 1, kind, ())) == structure


def test_charts_are_pictures() -> None:
    png = b"\x89PNG\r\n\x1a\n"
    chart = privacy_chart([Point("membrane", 1.0, 120.0), Point("original", 0.1, 0.0)], (0.7, 1.3))
    assert chart[:8] == png
    sheet = picture_sheet([("CT series 2", [Tile("skin", np.zeros((40, 30), np.uint8), alarm=True)])])
    assert sheet[:8] == png
    assert sheet != picture_sheet([("CT series 2", [Tile("skin", np.zeros((40, 30), np.uint8))])])


@pytest.mark.usefixtures("_few_attacks")
@pytest.mark.slow
def test_the_command_line_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = study(tmp_path / "in"), tmp_path / "out"
    assert cli.main(["compare", str(path), "-m", "membrane", "-o", str(output), "-j", "1"]) == 0
    told = capsys.readouterr().out
    assert "study 1 of 1: 2 of 2 records" in told
    names = {one.name for one in output.iterdir()}
    assert names == {
        "records", "comparison.md", "comparison.html", "privacy.png",
        "privacy.csv", "shapes.csv", "attacks.csv", "cost.csv", "structures.csv", "features.csv",
    }  # fmt: skip
    assert "| membrane | 1 | 0 |" in (output / "comparison.md").read_text()


def test_a_cohort_without_a_face_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.zip").write_bytes(b"no zip")
    assert cli.main(["compare", str(tmp_path / "x.zip"), "-m", "membrane", "-o", str(tmp_path / "o"), "-j", "1"]) == 3
    assert "No study shows a face" in capsys.readouterr().err


# --- ranks by shape -------------------------------------------------------------------------------------------------


def test_a_head_is_found_by_its_shape_through_the_attacks_that_are_asked() -> None:
    gallery = ranks.shape_references(ORIGINALS)[0]
    assert len(gallery) == 6
    assert ranks.rank_shape(ORIGINALS[2], gallery, ()) == (1, 6)
    hidden = record("2", "x", 4.0, attacked=2.0)
    assert ranks.rank_shape(hidden, gallery, ()) != (1, 6)
    assert ranks.rank_shape(hidden, gallery, ("skin", "smoothing"))[1] == 6
    assert ranks.rank_shape(hidden, gallery, ("smoothing",)) == (1, 6)
    assert ranks.rank_shape(hidden, gallery, ("bone",)) == (1, 6)
    assert ranks.rank_shape(hidden, gallery, ("mask_shell",)) is None


def test_the_table_of_shapes_tells_skin_from_what_is_inside() -> None:
    changed = [record(str(n), "drown", float((n + 3) % 6)) for n in range(6)]
    table = shape_table([*ORIGINALS, *changed], ["original", "drown"])
    cells = {row[0]: dict(zip(table.head, row, strict=True)) for row in table.rows}
    assert cells["original"]["skin: rank 1"].startswith("6 ")
    assert cells["drown"]["skin: rank 1"].startswith("0 ")
    assert cells["drown"]["bone: rank 1"].startswith("6 ")


def test_the_chart_takes_what_tells_most(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[Point]] = []
    monkeypatch.setattr(commands, "privacy_chart", lambda points, chance: drawn.append(points) or b"")
    cost = {"removed_ml": 1.0, "added_ml": 2.0, "retextured_ml": 3.0}
    hidden = [record(str(n), "drown", float((n + 3) % 6), **cost) for n in range(6)]
    shaped = [{**one, "method": "carve", "shapes": original["shapes"]} for one, original in zip(hidden, ORIGINALS, strict=True)]
    commands.chart([*({**one, **cost} for one in ORIGINALS), *hidden, *shaped], ["original", "drown", "carve"])
    points = {point.name: point for point in drawn[0]}
    assert points["original"].rank_over_chance == pytest.approx(1 / 3.5)
    assert points["carve"].rank_over_chance == pytest.approx(1 / 3.5), "pictures say nothing, the shape is the original's"
    assert points["drown"].rank_over_chance > 0.7
    assert points["drown"].changed_ml == 6.0
