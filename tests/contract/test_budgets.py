"""Budgets of size: long files, long functions and long parameter lists are listed by name or do not exist."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "fw_gear_hndeface"
PRODUCT = [*sorted(PACKAGE.rglob("*.py")), REPOSITORY / "run.py"]
TEXTS = [
    *PRODUCT,
    *sorted((REPOSITORY / "tests").rglob("*.py")),
    *(path for path in sorted((REPOSITORY / "scripts").iterdir()) if path.is_file()),
    *(path for path in sorted(REPOSITORY.iterdir()) if path.is_file() and path.suffix in (".md", ".json", ".toml", "")),
]

FILE_LINES = 400
BODY_LINES = 40
MEDIAN_BODY = 10
POSITIONAL = 5

#: What may be over budget, by name, and why.
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}
MANY_PARAMETERS: dict[str, str] = {}

#: Where nothing may pass but an exit code or an entry of the ledger.
DOORS = tuple(f"{PACKAGE.name}/{name}" for name in ("gear.py", "cli.py", "batch/work.py"))

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> Iterator[tuple[str, Function]]:
    """(file:function, node) of every function of the product."""
    for path in PRODUCT:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, Function):
                yield f"{path.relative_to(REPOSITORY)}:{node.name}", node


def body_lines(node: Function) -> int:
    """Lines from the first statement after the docstring to the last."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return 0 if not body else (body[-1].end_lineno or 0) - body[0].lineno + 1


def test_files_are_short() -> None:
    long = {str(path.relative_to(REPOSITORY)): len(path.read_text(encoding="utf-8").splitlines()) for path in PRODUCT}
    assert {name: lines for name, lines in long.items() if lines > FILE_LINES and name not in LONG_FILES} == {}
    assert long["run.py"] <= 30


def test_functions_are_short() -> None:
    long = {name: body_lines(node) for name, node in functions()}
    assert {name: lines for name, lines in long.items() if lines > BODY_LINES and name not in LONG_FUNCTIONS} == {}
    assert statistics.median(long.values()) <= MEDIAN_BODY


def test_parameter_lists_are_short() -> None:
    many = {}
    for name, node in functions():
        positional = [
            argument.arg for argument in (*node.args.posonlyargs, *node.args.args) if argument.arg not in ("self", "cls")
        ]
        if len(positional) > POSITIONAL and name not in MANY_PARAMETERS:
            many[name] = positional
    assert many == {}


def test_every_public_function_and_class_of_the_product_says_what_it_is() -> None:
    silent = []
    for path in PRODUCT:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node):
                silent.append(f"{path.relative_to(REPOSITORY)}:{node.name}")
        if path.stem != "__init__" and not ast.get_docstring(tree):
            silent.append(str(path.relative_to(REPOSITORY)))
    assert silent == []


def test_waivers_are_still_needed() -> None:
    files = {str(path.relative_to(REPOSITORY)) for path in PRODUCT if len(path.read_text().splitlines()) > FILE_LINES}
    long = {name for name, node in functions() if body_lines(node) > BODY_LINES}
    assert set(LONG_FILES) <= files
    assert set(LONG_FUNCTIONS) <= long


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_the_product_neither_prints_nor_asserts_nor_swallows(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: an assert vanishes under -O"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"line {node.lineno}"
        if isinstance(node, ast.ExceptHandler) and str(path.relative_to(PACKAGE.parent)) not in DOORS:
            kinds = ast.unparse(node.type) if node.type is not None else "everything"
            assert kinds not in ("everything", "Exception", "BaseException"), f"line {node.lineno}: catch what you expect"


def test_nothing_is_left_for_later_and_no_machine_is_named() -> None:
    later = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "raise Not" + "Implemented")))
    machine = re.compile(r"(?<![\w.])/(?:home|root|work|mnt|Users)/")
    found = []
    for path in TEXTS:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if later.search(line) or machine.search(line):
                found.append(f"{path.relative_to(REPOSITORY)}:{number}")
    assert found == []


def test_the_look_itself_counts_bodies_without_docstrings() -> None:
    source = 'def f(a):\n    """One.\n\n    Two.\n    """\n    x = a\n    return (\n        x\n    )\n'
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef)
    assert body_lines(node) == 4
