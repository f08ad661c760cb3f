"""Records of a comparison as tables: privacy, cost, structures, features. CSV for programs, Markdown for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fw_gear_hndeface.evaluate.features import FEATURES, relative_change
from fw_gear_hndeface.evaluate.ranks import Ranking, rank_record, rank_shape, ranking, references, shape_references

Record = Mapping[str, Any]
Row = list[str]
#: dlib's own threshold of a detection.
DETECTED_SCORE = 0.0
#: Attacks on the skin, and the surfaces inside the head that are left by design.
SKIN_ATTACKS = ("skin", "smoothing", "low_pass", "regrowing", "shrinking", "fill_texture", "mask_shell")
INNER = ("muscle", "bone")


@dataclass(frozen=True)
class Table:
    """A title, what its numbers mean, a head and rows of text."""

    name: str
    title: str
    note: str
    head: Row
    rows: tuple[Row, ...]

    def csv(self) -> str:
        """The rows for programs."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.head, *self.rows])
        return text.getvalue()

    def markdown(self) -> str:
        """Title, note and rows for people."""
        lines = [f"## {self.title}", "", self.note, "", _line(self.head), _line(["---"] * len(self.head))]
        return "\n".join([*lines, *(_line(row) for row in self.rows)]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def tables_of(records: Sequence[Record], methods: Sequence[str]) -> tuple[Table, ...]:
    """Every table of a comparison."""
    return (
        privacy_table(records, methods),
        shape_table(records, methods),
        attack_table(records, methods),
        cost_table(records, methods),
        structure_table(records, methods),
        feature_table(records, methods),
    )


def done(records: Iterable[Record], method: str) -> list[Record]:
    """The records of one method that have numbers."""
    return [record for record in records if record["method"] == method and record["status"] == "done"]


def rankings(records: Sequence[Record], method: str) -> tuple[Ranking | None, Ranking | None]:
    """Ranks on the plain skin, and with every attack."""
    gallery = references(records)

    def ranks(attacked: bool) -> list[tuple[int, int]]:
        found = (
            rank_record(record, gallery[record["cohort"]], attacked=attacked)
            for record in done(records, method)
            if record["cohort"] in gallery
        )
        return [rank for rank in found if rank is not None]

    return ranking(ranks(False)), ranking(ranks(True))


def privacy_table(records: Sequence[Record], methods: Sequence[str]) -> Table:
    """Faces detected and matched, by method."""
    rows = []
    for method in methods:
        found = done(records, method)
        skin, attacked = rankings(records, method)
        detected = sum(_skin_score(record) >= DETECTED_SCORE for record in found)
        shown = sum(_shown(record) != "" for record in found)
        refused = sum(record["method"] == method and record["status"] == "refused" for record in records)
        rows.append(
            [method, f"{len(found)}", f"{refused}", f"{detected}", *_rank_cells(skin), *_rank_cells(attacked), f"{shown}"]
        )
    note = (
        "Heads measured and refused; heads on whose plain skin the detector still sees a face (score 0 or more); ranks of the "
        "own original among the untouched heads of the same folder, on the plain skin and with every attack that is not an "
        "inner surface (the nearest attack counts for everybody in the gallery alike). In brackets what pure chance gives in "
        "95 of 100 cohorts. Last: heads on which some attack shows the old surface, a part of it or the identity."
    )
    ranks = ["rank 1", "mean reciprocal rank", "mean rank"]
    head = [
        "method",
        "heads",
        "refused",
        "detected",
        *(f"skin: {r}" for r in ranks),
        *(f"attacked: {r}" for r in ranks),
        "shown",
    ]
    return Table("privacy", "Faces detected and matched", note, head, tuple(rows))


def shape_ranking(records: Sequence[Record], method: str, attacks: Sequence[str]) -> Ranking | None:
    """Ranks of one method by shape, through some attacks; through none of them on the plain skin."""
    gallery = shape_references(records)
    found = (
        rank_shape(record, gallery[record["cohort"]], attacks)
        for record in done(records, method)
        if record["cohort"] in gallery
    )
    return ranking([rank for rank in found if rank is not None])


def shape_table(records: Sequence[Record], methods: Sequence[str]) -> Table:
    """Heads matched by their shape, by method: no recogniser of pictures is asked."""
    sets: dict[str, tuple[str, ...]] = {"skin": (), "attacked": SKIN_ATTACKS, **{name: (name,) for name in INNER}}
    rows = [
        [method, *(cell for attacks in sets.values() for cell in _rank_cells(shape_ranking(records, method, attacks)))]
        for method in methods
    ]
    note = (
        "Ranks of the own original by the slopes of the surface (docs/audit.md), which are there on coarse scans too and do "
        "not change when a face is carved one step deeper; columns and brackets as above. Muscle and bone are left by design: "
        "what someone can match who has another scan of the same head."
    )
    head = ["method", *(f"{name}: {r}" for name in sets for r in ("rank 1", "mean reciprocal rank", "mean rank"))]
    return Table("shapes", "Heads matched by shape", note, head, tuple(rows))


def _rank_cells(found: Ranking | None) -> Row:
    if found is None:
        return ["–", "–", "–"]
    return [
        f"{found.first} [{found.first_chance[0]:.0f}–{found.first_chance[1]:.0f}]",
        f"{found.reciprocal:.2f} [{found.reciprocal_chance[0]:.2f}–{found.reciprocal_chance[1]:.2f}]",
        f"{found.mean:.1f} of {found.mean_gallery:.0f} [{found.mean_chance[0]:.1f}–{found.mean_chance[1]:.1f}]",
    ]


def _skin(record: Record) -> Mapping[str, Any]:
    return next((one for one in record["exposures"] if one["attack"] == "skin"), {})


def _skin_score(record: Record) -> float:
    score = _skin(record).get("detector_score")
    return -np.inf if score is None else float(score)


def _shown(record: Record) -> str:
    """The first attack that shows something of the original, and what; empty where none does."""
    for one in record["exposures"]:
        told = [what for what in one["shows"] if what != "face"]
        if told:
            return f"{one['attack']} ({', '.join(told)})"
    return ""


def attack_table(records: Sequence[Record], methods: Sequence[str]) -> Table:
    """What each attack shows of each method's results, and its surface error."""
    names = list(dict.fromkeys(one["attack"] for record in records for one in record.get("exposures", [])))
    rows = []
    for method in methods:
        found = done(records, method)
        if found:
            rows.append([method, *(_attack_cell(found, name) for name in names)])
    note = (
        "Heads on which the attack shows the old surface, a part of it or the identity / heads; then the best surface error of "
        "its guesses, median over heads: median and 90th percentile in mm on rays through eyes, nose and mouth, and the share "
        "of the face's own relief recovered. `muscle` and `bone` are left by design."
    )
    return Table("attacks", "What each attack shows", note, ["method", *names], tuple(rows))


def _attack_cell(records: Sequence[Record], attack: str) -> str:
    shown, best = 0, []
    for record in records:
        ones = [one for one in record["exposures"] if one["attack"] == attack]
        shown += any(set(one["shows"]) - {"face"} for one in ones)
        errors = [one["error"] for one in ones if one["error"] is not None]
        if errors:
            best.append(max(errors, key=lambda error: error["recovered"]))
    if not best:
        return f"{shown}/{len(records)}"
    middle = {key: float(np.median([error[key] for error in best])) for key in ("median_mm", "p90_mm", "recovered")}
    share = max(middle["recovered"], -1.0)
    return f"{shown}/{len(records)}; {middle['median_mm']:.1f}, {middle['p90_mm']:.1f} mm; {share:.2f}"


def cost_table(records: Sequence[Record], methods: Sequence[str]) -> Table:
    """Tissue, outline and time, by method: median and worst."""
    keys: tuple[tuple[str, str, int], ...] = (
        ("removed_ml", "removed mL", 0),
        ("added_ml", "added mL", 0),
        ("retextured_ml", "new values mL", 0),
        ("body_hd95_mm", "outline HD95 mm", 1),
        ("body_dice", "body Dice", 4),
        ("seconds", "seconds", 1),
    )
    rows = []
    for method in methods:
        found = done(records, method)
        if found:
            cells = [_median_worst([r[key] for r in found], digits, low=key == "body_dice") for key, _, digits in keys]
            outside = max(record["outline_moved_outside_zone_voxels"] for record in found)
            rows.append([method, *cells, f"{outside}"])
    note = "Median over heads, and the worst head in brackets. Outside the zone the outline must not move (last column)."
    head = ["method", *(title for _, title, _ in keys), "outline voxels moved outside the zone"]
    return Table("cost", "What it costs", note, head, tuple(rows))


def _median_worst(values: Sequence[float], digits: int, *, low: bool = False) -> str:
    worst = min(values) if low else max(values)
    return f"{float(np.median(values)):.{digits}f} ({worst:.{digits}f})"


def structure_table(records: Sequence[Record], methods: Sequence[str]) -> Table:
    """Unchanged share of each structure, by method: mean and worst; and what it would be without protection."""

    def cell(ones: Sequence[Mapping[str, Any]]) -> str:
        shares = [one["unchanged_percent"] for one in ones if one["unchanged_percent"] is not None]
        bare = [one["unprotected_percent"] for one in ones if one["unprotected_percent"] is not None]
        return f"{np.mean(shares):.2f} ({min(shares):.1f}); {np.mean(bare):.1f} ({min(bare):.1f})" if shares else "–"

    note = (
        "Share of a structure's voxels that are as they were, %: mean over heads, and the worst head in brackets. Behind the "
        "semicolon the same if nothing were kept: what the method does by itself, to structures that somebody drew here."
    )
    return _by_structure(records, methods, cell, name="structures", title="Structures unchanged, %", note=note)


def _by_structure(
    records: Sequence[Record],
    methods: Sequence[str],
    cell: Callable[[Sequence[Mapping[str, Any]]], str],
    *,
    name: str,
    title: str,
    note: str,
) -> Table:
    names = sorted({one["structure"] for record in records for one in record.get("structures", [])})
    rows = []
    for method in methods:
        found = [one for record in done(records, method) for one in record["structures"]]
        if found:
            rows.append([method, *(cell([one for one in found if one["structure"] == s]) for s in names)])
    return Table(name, title, note, ["method", *names], tuple(rows))


def feature_table(records: Sequence[Record], methods: Sequence[str]) -> Table:
    """Mean change of every first-order feature by structure and method."""
    rows = []
    for method in methods:
        found = [one for record in done(records, method) for one in record["structures"]]
        for name in sorted({one["structure"] for one in found}):
            ones = [one["features"] for one in found if one["structure"] == name]
            cells = [_change_cell([one[feature] for one in ones]) for feature in FEATURES]
            if any(cell not in ("0", "–") for cell in cells):
                rows.append([method, name, *cells])
    note = (
        "Mean over heads of (after - before) / |before|, %; structures in which nothing changed are not listed. Positive is an "
        "increase (published tables of defacers use the other sign). A dash: the feature was nearly 0 before."
    )
    return Table("features", "First-order features", note, ["method", "structure", *FEATURES], tuple(rows))


def _change_cell(pairs: Sequence[Sequence[float | None]]) -> str:
    changes = [relative_change(old, new) for old, new in pairs if old is not None and new is not None]
    known = [change for change in changes if change is not None]
    if not known:
        return "–"
    mean = 100.0 * float(np.mean(known))
    return "0" if abs(mean) < 0.005 else f"{mean:+.2f}"
