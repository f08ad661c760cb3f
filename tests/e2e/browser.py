"""Debian's Chromium as a test drives it: a page from disk, what it asks for and what it complains of written down."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: How long a page may take: software WebGL on a busy machine draws a view in many seconds.
PATIENCE_S = 150.0
#: WebGL without a graphics card.
SOFTWARE_GL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
NO_GL = ("--disable-3d-apis",)


@dataclass
class Opened:
    """A page in a browser, the addresses it asked for and what it complained of."""

    page: Any
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def wait(self, selector: str, name: str, *values: str, seconds: float = PATIENCE_S) -> str:
        """The value of an attribute once it is one of `values`; asked from outside: the page lets no foreign script run."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.page.get_attribute(selector, name)
            if found in values:
                return str(found)
            time.sleep(0.2)
        raise AssertionError(f"{selector} {name} is still {self.page.get_attribute(selector, name)}")


@contextmanager
def opened(path: Path, *flags: str, width: int = 1280, height: int = 900, **context: Any) -> Iterator[Opened]:
    """A page opened from disk, offline; skips where there is no browser."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: make install")
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *(flags or SOFTWARE_GL)])
        try:
            page = browser.new_context(viewport={"width": width, "height": height}, offline=True, **context).new_page()
            page.set_default_timeout(PATIENCE_S * 1000)
            seen = Opened(page)
            page.on("request", lambda request: seen.asked.append(request.url))
            page.on("pageerror", lambda error: seen.complaints.append(str(error)))
            page.on("console", lambda said: seen.complaints.append(said.text) if said.type == "error" else None)
            page.goto(path.as_uri())
            yield seen
        finally:
            browser.close()
