"""The report and the cohort page in a real browser: offline, by keyboard, on paper, in three sizes, light and dark."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pypdf
import pytest
from numpy.typing import NDArray
from PIL import Image

from fw_gear_hndeface.model import Finding, Level, Result, Verdict
from fw_gear_hndeface.report import cohort_page, cohort_row, report_data, write_report
from fw_gear_hndeface.settings import Settings
from tests.chain import SEED, defaced
from tests.e2e.browser import NO_GL, PATIENCE_S, opened

pytestmark = pytest.mark.slow

SIZES = {"desk": (1280, 900), "tablet": (820, 1100), "phone": (390, 844)}
WARNING = Finding(Level.WARNING, "left_out", "PT series 4 may show the face and was left out.", "PT series 4")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    _, done, _ = defaced(SEED, "PTV70", "Parotid_L", "Brain")
    objects = [{"label": "CT series 1", "modality": "CT", "kind": "ct", "fate": "defaced"}]
    cost = {name: getattr(done.cost, name) for name in ("removed_ml", "added_ml", "retextured_ml")}
    measures = {**done.measures(), **cost, "method": "membrane", "objects": objects, "seconds": {"total": 4.0}}
    result = Result(Verdict.DEFACED, done.plan, (WARNING, *done.findings), measures)
    folder = tmp_path_factory.mktemp("report")
    return write_report(result, folder=folder, stem="case", settings=Settings(), exhibit=done.exhibit)[1]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def row(verdict: Verdict, removed: float | None, *findings: Finding) -> dict[str, Any]:
        measures = {"method": "membrane", "removed_ml": removed, "seconds": {"total": 9.0}}
        return cohort_row(report_data(Result(verdict, None, findings, measures), Settings()), "one.html")

    rows = [
        row(Verdict.DEFACED, 100.0),
        row(Verdict.DEFACED, 20.0, WARNING),
        row(Verdict.NO_FACE, None),
        row(Verdict.DEFACED, 3.0),
    ]
    path = tmp_path_factory.mktemp("cohort") / "cohort.html"
    path.write_text(cohort_page(rows, "Four heads"), encoding="utf-8")
    return path


def picture_of(page: Any, selector: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(page.locator(selector).screenshot())).convert("RGB"))


def picture_once(page: Any, fits: Callable[[NDArray[np.uint8]], bool]) -> NDArray[np.uint8]:
    """The interactive view's picture once it fits; the last one where it never does."""
    end = time.monotonic() + PATIENCE_S
    picture = picture_of(page, "#view")
    while not fits(picture) and time.monotonic() < end:
        page.wait_for_timeout(500)
        picture = picture_of(page, "#view")
    return picture


def differs(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    return bool(np.mean(np.any(one != other, axis=2)) > 0.02)


def test_the_report_opens_from_disk_and_asks_for_nothing(report: Path) -> None:
    with opened(report) as seen:
        assert seen.page.inner_text("h1") == "Defaced"
        assert seen.asked == [report.as_uri()]
        assert seen.complaints == []
        broken = seen.page.eval_on_selector_all("img", "all => all.filter(one => !one.naturalWidth).length")
        assert broken == 0
        assert seen.page.locator("img").count() >= 7 + 6 + 6 + 7


def test_the_interactive_view_draws_when_it_is_opened_and_not_before(report: Path) -> None:
    with opened(report) as seen:
        assert seen.page.locator("#view canvas").count() == 0
        seen.page.focus("#interactive > summary")
        seen.page.keyboard.press("Enter")
        assert seen.wait("#interactive", "data-state", "drawn", "failed", "without") == "drawn"
        solid = picture_once(seen.page, lambda picture: picture.std() > 20)
        assert solid.std() > 20, "a head on black"
        assert 0.05 < np.mean(solid.max(axis=2) > 60) < 0.6
        pictures = [solid]
        for view in ("3", "0", "1", "2"):
            seen.page.click(f"[data-view='{view}']")
            assert seen.page.get_attribute(f"[data-view='{view}']", "aria-pressed") == "true"
            last = pictures[-1]
            pictures.append(picture_once(seen.page, lambda picture, last=last: differs(picture, last)))
        for n, one in enumerate(pictures):
            for other in pictures[:n]:
                assert differs(one, other), "every view is another picture"
        assert colourful(pictures[-1]).mean() < 0.01
        seen.page.check("#overlay")
        laid_over = picture_once(seen.page, lambda picture: colourful(picture).mean() > 0.02)
        assert colourful(laid_over).mean() > 0.02, "structures are laid over"
        assert [address for address in seen.asked if not address.startswith("blob:")] == [report.as_uri()]
        assert seen.complaints == []


def colourful(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels that are no grey, the crosshair's orange left aside."""
    values = image.astype(int)
    orange = np.abs(values - (200, 134, 22)).max(axis=2) < 60
    return np.asarray((values.max(axis=2) - values.min(axis=2) > 40) & ~orange)


def test_without_webgl_a_plain_message_and_the_still_pictures_remain(report: Path) -> None:
    with opened(report, *NO_GL) as seen:
        seen.page.click("#interactive > summary")
        assert seen.wait("#interactive", "data-state", "drawn", "failed", "without") == "without"
        assert "no WebGL" in seen.page.inner_text("#told")
        assert not seen.page.is_visible("#view")
        assert seen.page.is_visible("img[data-name='turntable+0']")
        assert seen.complaints == []


def test_without_scripts_everything_but_the_view_is_there(report: Path) -> None:
    with opened(report, java_script_enabled=False) as seen:
        text = seen.page.inner_text("body")
        for words in ("Defaced", "PT series 4 may show the face", "Parotid_L", "Privacy", "nose tip"):
            assert words in text


@pytest.mark.parametrize("size", list(SIZES))
def test_verdict_and_turntable_are_on_the_first_screen_and_nothing_sticks_out(report: Path, size: str) -> None:
    width, height = SIZES[size]
    with opened(report, width=width, height=height) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        for selector in ("h1", "dl.numbers", "img[data-name='turntable+0']"):
            box = seen.page.locator(selector).bounding_box()
            assert box["y"] + box["height"] <= height, f"{selector} is below the fold"
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width


def test_the_verdict_is_on_paper(report: Path, tmp_path: Path) -> None:
    with opened(report) as seen:
        seen.page.pdf(path=tmp_path / "report.pdf", format="A4")
    pages = pypdf.PdfReader(tmp_path / "report.pdf").pages
    first = pages[0].extract_text()
    for words in ("Defaced", "Nothing to do", "tissue removed"):
        assert words in first
    text = "\n".join(page.extract_text() for page in pages)
    assert "Parotid_L" in text
    assert "Open the interactive view" not in text
    assert len(pages) < 12


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", ["report", "cohort"])
def test_no_serious_fault_of_accessibility(page: str, scheme: str, request: pytest.FixtureRequest) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe: make install")
    # the rules are a foreign script, which our pages would not let in
    with opened(request.getfixturevalue(page), color_scheme=scheme, bypass_csp=True) as seen:
        seen.page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true; })")
        found = axe.Axe().run(seen.page).response["violations"]
    serious = [(one["id"], one["nodes"][0]["html"][:120]) for one in found if one["impact"] in ("serious", "critical")]
    assert serious == []


def cases(page: Any) -> list[str]:
    """Names of the visible cases, top down."""
    return [cell.inner_text() for cell in page.locator("tbody th").all() if cell.is_visible()]


def test_the_cohort_is_sorted_by_a_click_and_unmeasured_cases_go_last(cohort: Path) -> None:
    with opened(cohort) as seen:
        removed = seen.page.get_by_role("button", name="Removed, mL")
        removed.click()
        assert cases(seen.page) == ["Case 4", "Case 2", "Case 1", "Case 3"]
        assert seen.page.get_attribute("th:has-text('Removed')", "aria-sort") == "ascending"
        removed.focus()
        seen.page.keyboard.press("Enter")
        assert cases(seen.page) == ["Case 1", "Case 2", "Case 4", "Case 3"]
        seen.page.get_by_role("button", name="Case").click()
        assert cases(seen.page) == ["Case 1", "Case 2", "Case 3", "Case 4"]
        assert seen.asked == [cohort.as_uri()]
        assert seen.complaints == []


def test_the_cohort_is_filtered_by_verdict_and_finding(cohort: Path) -> None:
    with opened(cohort) as seen:
        seen.page.select_option("#verdict", "No face in view")
        assert cases(seen.page) == ["Case 3"]
        assert seen.page.inner_text("#shown") == "1 of 4 cases"
        seen.page.select_option("#verdict", "")
        seen.page.select_option("#finding", "left_out")
        assert cases(seen.page) == ["Case 2"]
        seen.page.select_option("#finding", "")
        assert len(cases(seen.page)) == 4


def test_the_cohort_reads_without_scripts(cohort: Path) -> None:
    with opened(cohort, java_script_enabled=False) as seen:
        assert len(cases(seen.page)) == 4
        assert not seen.page.is_visible("#verdict")
        assert seen.page.locator("svg").count() >= 1
