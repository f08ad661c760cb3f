"""Templates of the pages: filled in with everything escaped, styles and scripts put in whole, nothing fetched."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import jinja2
import markupsafe

from fw_gear_hndeface.report.words import amount, facts


def page_of(name: str, /, **values: Any) -> str:
    """The page `name` of this package with its values filled in, its style and its script in it.

    The page's security policy lets this one script run, by its digest, so nothing that slipped into a value can.

    Raises
    ------
    jinja2.UndefinedError
        The template asks for a value that was not given.
    """
    script = resources.files(__package__).joinpath("pages", f"{name}.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    page = _environment().get_template(f"{name}.html")
    return page.render(script=markupsafe.Markup(script), digest=digest, **values)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fw_gear_hndeface.report", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    helpers: Mapping[str, Any] = {"facts": facts, "amount": amount}
    environment.globals.update(helpers)
    return environment
