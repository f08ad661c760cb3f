"""The cohort in one table: what became of every study, for people and programs."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fw_gear_hndeface import __version__
from fw_gear_hndeface.batch.ledger import Entry
from fw_gear_hndeface.files import write_whole
from fw_gear_hndeface.model import Verdict
from fw_gear_hndeface.report.cohort import cohort_page, cohort_row
from fw_gear_hndeface.vocabulary import FAILED, UNREADABLE

#: Raised by one before the point when a column of the table changes its meaning or goes.
SCHEMA_VERSION = "1.0"
COLUMNS = (
    "study", "verdict", "code", "reason", "method", "removed_ml", "added_ml", "retextured_ml", "stranger_share",
    "findings", "seconds", "peak_mb", "version", "fingerprint",
)  # fmt: skip


#: More rows than this make a page that no browser likes; the tables hold all.
PAGE_ROWS = 2_000


def counts_of(entries: Iterable[Entry]) -> dict[str, int]:
    """How many studies ended how, the usual ends first."""
    found = Counter(entry.verdict for entry in entries)
    order = (*(verdict.value for verdict in Verdict), UNREADABLE, FAILED)
    return {verdict: found[verdict] for verdict in order if found[verdict]}


def exit_code(entries: Iterable[Entry]) -> int:
    """0 when every study has a verdict but 'refused'; else 1 if one failed, 3 if one cannot be read, else the refusal's."""
    codes = set()
    for entry in entries:
        if entry.verdict == FAILED:
            codes.add(1)
        elif entry.verdict in (UNREADABLE, Verdict.REFUSED) or entry.code:
            codes.add(entry.code or 1)
    return min(codes, default=0)


def record_of(entry: Entry, folder: Path) -> dict[str, Any]:
    """One study's row: its end, and the measures of its `.qa.json` where it has one."""
    qa = _qa_of(entry, folder)
    return {
        "study": entry.stem,
        "verdict": entry.verdict,
        "code": entry.code,
        "reason": entry.reason,
        **{name: qa.get(name) for name in ("method", "removed_ml", "added_ml", "retextured_ml", "peak_mb")},
        "stranger_share": (qa.get("privacy") or {}).get("stranger_share"),
        "findings": sorted({str(finding["code"]) for finding in qa.get("findings", ()) if "code" in finding}),
        "seconds": entry.seconds,
        "version": (qa.get("software") or {}).get("version"),
        "fingerprint": entry.fingerprint,
        "outputs": [f"{entry.stem}/{output.name}" for output in entry.outputs],
    }


def write_summary(entries: Sequence[Entry], dest: Path) -> tuple[Path, ...]:
    """`cohort.csv`, `cohort.json` and `cohort.html` of every study in the ledger."""
    records = [record_of(entry, dest / entry.stem) for entry in sorted(entries, key=lambda entry: entry.stem)]
    head = {"schema_version": SCHEMA_VERSION, "software": {"name": "hndeface", "version": __version__}}
    told = {**head, "counts": counts_of(entries), "studies": records}
    files = {
        "cohort.csv": _csv(records),
        "cohort.json": json.dumps(told, indent=2, allow_nan=False, ensure_ascii=False) + "\n",
        "cohort.html": _page(entries, dest),
    }
    for name, text in files.items():
        write_whole(dest / name, text.encode())
    return tuple(dest / name for name in files)


def _page(entries: Sequence[Entry], dest: Path) -> str:
    """The page of the cohort: studies with a report, those that a person should look at first."""
    urgent = (Verdict.REFUSED, Verdict.PARTIAL, Verdict.DEFACED)
    ranked = sorted(entries, key=lambda one: (urgent.index(one.verdict) if one.verdict in urgent else len(urgent), one.stem))
    rows: list[dict[str, Any]] = []
    for entry in ranked:
        if len(rows) == PAGE_ROWS:
            break
        qa = _qa_of(entry, dest / entry.stem)
        page = next((output.name for output in entry.outputs if output.name.endswith(".qa.html")), "")
        if qa:
            picture = _picture_of(entry, dest / entry.stem)
            rows.append(cohort_row(qa, f"{entry.stem}/{page}", label=entry.stem, picture=picture))
    shown = f"{len(rows)} of {len(entries)} studies" if len(rows) < len(entries) else f"{len(rows)} studies"
    return cohort_page(rows, f"Batch: {shown}")


def _csv(records: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({**record, "findings": " ".join(record["findings"])})
    return text.getvalue()


def _qa_of(entry: Entry, folder: Path) -> dict[str, Any]:
    name = next((output.name for output in entry.outputs if output.name.endswith(".qa.json")), None)
    if name is None:
        return {}
    try:
        told = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _picture_of(entry: Entry, folder: Path) -> bytes | None:
    """The thumbnail of a study, where it has one that can be read."""
    name = next((output.name for output in entry.outputs if output.name.endswith(".qa.png")), None)
    try:
        return None if name is None else (folder / name).read_bytes()
    except OSError:
        return None
