"""The fenced blocks of README and guides, and how their commands are typed in."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


@dataclass(frozen=True)
class Block:
    """One fenced block: its page below the repository, what its fence says, and the lines in it."""

    page: str
    kind: str
    lines: tuple[str, ...]

    @property
    def needs(self) -> str:
        """What its first line says is needed; empty where nothing is."""
        found = re.fullmatch(r"# needs (.+)", self.lines[0])
        return found[1] if found else ""

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """Each command with the lines printed below it."""
        steps: list[tuple[str, list[str]]] = []
        for line in self.lines[1:] if self.needs else self.lines:
            if line.startswith("$ "):
                steps.append((line[2:], []))
            elif line:
                steps[-1][1].append(line)
        return steps


def blocks() -> list[Block]:
    """All fenced blocks of all pages."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for kind, body in re.findall(r"^```(.*)\n((?:.*\n)*?)```$", text, re.MULTILINE):
            found.append(Block(str(page.relative_to(REPOSITORY)), kind, tuple(body.splitlines())))
    return found


def console(needs: str) -> dict[str, list[Block]]:
    """Page -> its blocks of commands that need just that."""
    pages: dict[str, list[Block]] = {}
    for block in blocks():
        if block.kind == "console" and block.needs == needs:
            pages.setdefault(block.page, []).append(block)
    return pages


def follow(blocks_of_page: list[Block], folder: Path, environment: Mapping[str, str], limit_s: float = 900.0) -> None:
    """Type the commands in, one after the other; `echo $?` tells the code of the one before, which may be any then."""
    steps = [step for block in blocks_of_page for step in block.commands]
    for number, (command, printed) in enumerate(steps):
        if command == "echo $?":
            continue
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env={**os.environ, **environment},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit_s, check=False,
        )  # fmt: skip
        asked = number + 1 < len(steps) and steps[number + 1][0] == "echo $?"
        wanted = int(steps[number + 1][1][0]) if asked else 0
        assert done.returncode == wanted, f"{command}\nended with {done.returncode}\n{done.stdout}"
        if len(printed) == 1:
            assert printed[0] in done.stdout.splitlines(), f"{command}\nprinted\n{done.stdout}"
