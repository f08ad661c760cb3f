"""The cases of a comparison as a page to sort and filter: one row per study and method, without the untouched heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fw_gear_hndeface.evaluate.trial import UNTOUCHED
from fw_gear_hndeface.model import Verdict
from fw_gear_hndeface.report.cohort import cohort_page, cohort_row

#: How a trial ended -> the verdict that a run would have ended with.
VERDICTS = {"done": Verdict.DEFACED, "refused": Verdict.REFUSED, "no face": Verdict.NO_FACE, "unreadable": Verdict.REFUSED}
_MEASURES = ("removed_ml", "added_ml", "retextured_ml")


def cases_page(records: Sequence[Mapping[str, Any]]) -> str:
    """The page of every method on every study, as HTML text."""
    rows = [case_row(record) for record in records if record["method"] != UNTOUCHED]
    studies = len({record["study"] for record in records})
    return cohort_page(rows, f"Methods compared on {studies} studies")


def case_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """One trial as a row; a study is called by its number, which is no name of a file or a patient."""
    verdict = VERDICTS[record["status"]]
    structures = record.get("structures", [])
    reason = {"level": "error", "code": f"{record['status'].replace(' ', '_')}", "message": record.get("reason", "")}
    qa = {
        "verdict": verdict.value,
        "method": record["method"],
        "findings": [reason] if verdict is Verdict.REFUSED else [],
        "rois": [{"kind": one["kind"], "unchanged_percent": one["unchanged_percent"]} for one in structures],
        "landmarks": {},
        "privacy": {},
        "seconds": {"total": record.get("seconds")},
        **{name: record.get(name) for name in _MEASURES},
    }
    return cohort_row(qa, "", label=f"Study {record['study']}, {record['method']}")
