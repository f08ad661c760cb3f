"""Every block of README and guides says what it is; commands that no test types in are marked in words and counted."""

from __future__ import annotations

import re
from collections import Counter

from tests.guides import PAGES, REPOSITORY, blocks, console

#: Blocks of commands that cannot be run here, by what they say they need. Everything else is run:
#: tests/e2e/test_console_guides.py (nothing, a checkout) and tests/containers/test_guides.py (docker).
NOT_RUN = {
    "apptainer": 1,
    "the weights": 2,
    "the cohort": 4,
    "the cohort and the models": 1,
    "a checkout and a quarter of an hour": 1,
    "a checkout and an hour": 2,
    "a checkout and minutes to hours each": 1,
}
RUN = ("", "a checkout", "docker")


def test_every_block_says_what_it_is() -> None:
    kinds = {block.kind.split()[0] if block.kind else "nothing" for block in blocks()}
    assert kinds == {"console", "python", "text", "rule"}
    fences = sum(page.read_text(encoding="utf-8").count("\n```") for page in PAGES)
    assert fences == 2 * len(blocks())


def test_commands_that_are_not_run_say_why_and_are_no_more_than_known() -> None:
    found = Counter(block.needs for block in blocks() if block.kind == "console" and block.needs not in RUN)
    assert found == NOT_RUN


def test_commands_that_are_run_are_there() -> None:
    assert {"README.md", "docs/gear.md"} == set(console("a checkout"))
    assert {"docs/local.md", "docs/admin.md"} == set(console("docker"))
    assert {"docs/local.md", "docs/batch.md", "docs/methods.md"} <= set(console(""))


def test_python_on_every_page_is_run_by_a_test_or_needs_a_cluster() -> None:
    found = Counter(block.page for block in blocks() if block.kind == "python")
    run = {"docs/python.md": 2, "docs/report.md": 1, "docs/new-method.md": 1}
    assert found == {**run, "docs/batch.md": 1}
    (cluster,) = [block for block in blocks() if block.kind == "python" and block.page == "docs/batch.md"]
    assert "SLURMCluster" in "".join(cluster.lines)


def test_every_line_of_a_block_of_commands_is_typed_or_printed() -> None:
    for block in blocks():
        if block.kind == "console":
            first = block.lines[1] if block.needs else block.lines[0]
            assert first.startswith("$ "), f"{block.page}: {first}"


def test_no_command_hides_in_an_indented_block() -> None:
    for page in PAGES:
        outside = re.sub(r"^```.*\n(?:.*\n)*?```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert not re.search(r"^(?: {4}|\t)(?:\$ |make |hndeface |python |docker |\.venv|scripts/)", outside, re.MULTILINE), (
            page.name
        )


def test_every_guide_is_reached_from_the_first_page() -> None:
    first = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for page in (REPOSITORY / "docs").glob("*.md"):
        assert f"(docs/{page.name}" in first, page.name
