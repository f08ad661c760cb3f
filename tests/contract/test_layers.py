"""The layers of the code: a module imports only from below, and each heavy library has its own rooms."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = "fw_gear_hndeface"

#: Rooms from the top down; a room may import from the rooms in later rows, and from its own inside.
ROWS: tuple[tuple[str, ...], ...] = (
    ("run",),
    ("gear", "cli", "demo"),
    ("batch",),
    ("doors",),
    ("pipeline",),
    ("evaluate",),
    ("together",),
    ("casework",),
    ("report",),
    ("privacy",),
    ("verify",),
    ("intake",),
    ("carry", "nifti"),
    ("dicom",),
    ("methods",),
    ("landmarks", "synthetic"),
    ("protect", "networks"),
    ("ops",),
    ("model",),
    ("settings",),
    ("vocabulary", "label_tables", "keys", "files", "ahead"),
    ("errors",),
)
LEVEL = {room: level for level, row in enumerate(ROWS) for room in row}

#: Rows in which one room may import another of the same row.
SAME_ROW = {("cli", "demo"), ("demo", "gear")}

#: Library -> the rooms that may import it.
KEEPERS: dict[str, set[str]] = {
    "pydicom": {"dicom"},
    "gdcm": {"dicom"},
    "isal": {"dicom", "report"},
    "nibabel": {"nifti", "report"},
    "dlib": {"privacy", "landmarks"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
    "PIL": {"report", "demo"},
    "dask": {"batch"},
    "distributed": {"batch"},
    "flywheel_gear_toolkit": {"gear"},
    "flywheel": set(),
    "fw_gear": set(),
    "torch": {"networks"},
    "tqdm": {"cli", "batch"},
    "argparse": {"cli"},
}

#: Files of these rooms do not import each other; what they share is named here.
STRANGERS: dict[str, set[str]] = {
    "methods": {"contract", "face_label"},
    "landmarks": {"contract", "detector", "from_labels"},
    "protect": {"contract"},
}

FILES = [*sorted((REPOSITORY / PACKAGE).rglob("*.py")), REPOSITORY / "run.py"]


def parts_of(path: Path) -> tuple[str, ...]:
    """Module path below the package: ('dicom', 'archive'); ('run',) for run.py."""
    inside = path.relative_to(REPOSITORY).with_suffix("").parts
    return tuple(part for part in inside if part not in (PACKAGE, "__init__"))


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything a file imports, whether at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: write imports in full"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def own_imports(path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(line, parts below the package) of what a file imports from this package."""
    for line, name in imports_of(path):
        first, *rest = name.split(".")
        if first == PACKAGE and rest and rest != ["__version__"]:
            yield line, tuple(rest)


def problems(path: Path) -> list[str]:
    """Imports of a file that go up or sideways."""
    parts = parts_of(path)
    if not parts:
        return [f"{path.name}:{line}: the package's own __init__ imports nothing" for line, _ in own_imports(path)]
    room, found = parts[0], []
    for line, target in own_imports(path):
        below = LEVEL[target[0]] > LEVEL[room]
        if target[0] != room and not below and (room, target[0]) not in SAME_ROW:
            found.append(f"{'/'.join(parts)}:{line}: {room} imports {target[0]}, which is not below it")
    return found


def test_every_room_has_its_row() -> None:
    rooms = {parts_of(path)[0] for path in FILES if parts_of(path)}
    assert rooms <= set(LEVEL), f"give these a row: {sorted(rooms - set(LEVEL))}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(parts_of(path)) or "__init__")
def test_imports_go_down(path: Path) -> None:
    assert problems(path) == []


@pytest.mark.parametrize("library", KEEPERS)
def test_each_library_stays_in_its_rooms(library: str) -> None:
    found = [
        f"{path.relative_to(REPOSITORY)}:{line}"
        for path in FILES
        for line, name in imports_of(path)
        if name.split(".")[0] == library and (parts_of(path) or ("",))[0] not in KEEPERS[library]
    ]
    assert found == []


@pytest.mark.parametrize("room", STRANGERS)
def test_plug_ins_do_not_know_each_other(room: str) -> None:
    found = []
    for path in (REPOSITORY / PACKAGE / room).glob("*.py"):
        for line, target in own_imports(path):
            if path.stem != "__init__" and target[0] == room and target[1] not in STRANGERS[room] and target[1] != path.stem:
                found.append(f"{path.relative_to(REPOSITORY)}:{line} imports its sibling {target[1]}")
    assert found == []


def test_no_import_goes_in_a_circle() -> None:
    modules = {parts_of(path): path for path in FILES}
    graph = {}
    for parts, path in modules.items():
        targets = {target[:length] for _, target in own_imports(path) for length in (1, 2, 3)}
        graph[parts] = {target for target in targets if target in modules and target != parts and target != parts[:-1]}
    done: set[tuple[str, ...]] = set()

    def walk(module: tuple[str, ...], trail: tuple[tuple[str, ...], ...]) -> None:
        assert module not in trail, " -> ".join("/".join(step) for step in (*trail, module))
        if module in done:
            return
        for target in graph[module]:
            walk(target, (*trail, module))
        done.add(module)

    for module in graph:
        walk(module, ())


def test_the_methods_and_checks_see_no_paths_and_no_settings() -> None:
    found = []
    for path in FILES:
        if (parts_of(path) or ("",))[0] in ("methods", "landmarks", "protect", "verify"):
            found += [
                f"{path.relative_to(REPOSITORY)}:{line} imports {name}"
                for line, name in imports_of(path)
                if name.startswith((f"{PACKAGE}.settings", f"{PACKAGE}.dicom", "zipfile", "tarfile", "shutil"))
            ]
    assert found == []


def test_the_look_itself_finds_an_import_that_goes_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = tmp_path / PACKAGE / "ops" / "bad.py"
    bad.parent.mkdir(parents=True)
    bad.write_text(f"def late():\n    from {PACKAGE}.dicom import archive\n    import {PACKAGE}.model\n")
    monkeypatch.setattr(f"{__name__}.REPOSITORY", tmp_path)
    assert problems(bad) == ["ops/bad:2: ops imports dicom, which is not below it"]
