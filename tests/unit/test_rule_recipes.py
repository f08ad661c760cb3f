"""No recipe of docs/gear.md ends in a loop: a small model of the platform's rules around the real door of the gear."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fw_gear_hndeface.model import Verdict
from tests.unit.test_gear import files_of, job, run, staged_run

PAGE = Path(__file__).parents[2] / "docs" / "gear.md"
RECIPES = dict(re.findall(r"```rule ([a-z-]+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
#: More runs than this for one file that came in are a loop.
MOST_RUNS = 5


@dataclass
class File:
    name: str
    type: str
    modality: str
    tags: set[str]
    held: set[str] = field(default_factory=set)

    def has(self, term: str) -> bool:
        """Whether one term of a condition holds."""
        subject, word, value = re.fullmatch(r"file\.(\w+) (=|has) (\S+)", term.strip()).groups()  # type: ignore[union-attr]
        return value in self.tags if word == "has" else getattr(self, subject) == value


def condition(recipe: str, file: File) -> bool:
    """Whether a file meets a recipe now."""
    wanted = re.search(r"ALL of:(.*)", recipe)
    barred = re.search(r"EXCEPT ANY:(.*)", recipe)
    if wanted is None:
        raise ValueError("a recipe without a condition")
    without = [] if barred is None else barred[1].split(",")
    return all(file.has(term) for term in wanted[1].split(",")) and not any(file.has(term) for term in without)


class Platform:
    """Files of one acquisition. A rule fires when its condition holds for a file and did not hold before."""

    def __init__(self, folder: Path, rules: dict[str, str]) -> None:
        self.folder, self.rules, self.files, self.runs = folder, rules, {}, 0  # type: ignore[var-annotated]

    def bring(self, file: File) -> None:
        """A new or changed file; the classifier tags what is DICOM."""
        if file.type == "dicom":
            file.tags |= {"file-importer", "file-classifier"}
        self.files[file.name] = file
        for name, recipe in self.rules.items():
            holds, held = condition(recipe, file), name in file.held
            (file.held.add if holds else file.held.discard)(name)
            if holds and not held:
                self.deface(file)

    def deface(self, file: File) -> None:
        """A job of the real gear on one file; its metadata is carried out, outputs come in as new files."""
        self.runs += 1
        assert self.runs <= MOST_RUNS, "the rule runs for ever"
        place = self.folder / str(self.runs)
        place.mkdir()
        run(job(place, file.name, object={"type": file.type, "modality": file.modality, "tags": sorted(file.tags)}))
        for name, entry in files_of(place).items():
            if name == file.name:
                file.tags = set(entry["tags"])
                self.bring(file)
            else:
                self.bring(File(name, entry["type"], entry.get("modality", ""), set(entry.get("tags", []))))


def platform(folder: Path, *recipes: str) -> Platform:
    return Platform(folder, {name: RECIPES[name] for name in recipes})


def scan(*tags: str) -> File:
    return File("CT 1.dicom.zip", "dicom", "CT", set(tags))


def test_the_page_has_the_recipes() -> None:
    assert set(RECIPES) == {"on-ingest", "refused-again", "on-request"}


@pytest.mark.parametrize("verdict", [Verdict.DEFACED, Verdict.PARTIAL, Verdict.NO_FACE])
def test_a_new_scan_is_defaced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: Verdict) -> None:
    staged_run(monkeypatch, verdict)
    here = platform(tmp_path, "on-ingest", "on-request", "refused-again")
    here.bring(scan())
    assert here.runs == 1
    here.bring(here.files["CT 1.dicom.zip"])
    assert here.runs == 1, "a changed file whose condition held before does not fire"


def test_a_refused_scan_is_tried_again_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged_run(monkeypatch, Verdict.REFUSED, code=4)
    first = platform(tmp_path, "on-ingest")
    first.bring(scan())
    assert "hndeface-FAIL" in first.files["CT 1.dicom.zip"].tags
    again = platform(tmp_path, "refused-again")
    again.runs = 1
    again.bring(scan(*first.files["CT 1.dicom.zip"].tags))
    assert again.runs == 2


def test_a_request_is_served_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged_run(monkeypatch, Verdict.DEFACED)
    here = platform(tmp_path, "on-request")
    here.bring(scan())
    assert here.runs == 0
    here.bring(scan("deface-please"))
    assert here.runs == 1


def test_without_its_exception_the_recipe_is_caught_by_the_gear_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged_run(monkeypatch, Verdict.DEFACED)
    bare = RECIPES["on-ingest"].split("EXCEPT")[0]
    here = Platform(tmp_path, {"bare": bare})
    here.bring(scan())
    assert here.runs == 2, "once for the scan, once for its output, which is told already_defaced and leaves nothing"


def test_this_model_sees_a_loop() -> None:
    """A gear that does not know its own output loops under the bare rule: the model would say so."""
    here = Platform(Path(), {"bare": RECIPES["on-ingest"].split("EXCEPT")[0]})

    def blind(file: File) -> None:
        here.runs += 1
        assert here.runs <= MOST_RUNS, "the rule runs for ever"
        here.bring(File(f"{here.runs}.zip", "dicom", "CT", set()))

    here.deface = blind  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="for ever"):
        here.bring(scan())
