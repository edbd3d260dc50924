"""The documents name what is there: scripts, files, commands, links, and who imports whom."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit import page

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "meshes" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
FOLDERS = ("problems", "meshes", "docs", "tests", "toolkit", ".ci")
TARGETS = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
ROOMS = {path.stem: path for path in (ROOT / "toolkit").glob("*.py")}


def section(title: str) -> str:
    """The README's text under a heading, up to the next one of its level."""
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    """Fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def lines(code: str) -> list[str]:
    return [line.rstrip() for line in code.splitlines() if line.strip()]


def commands() -> list[str]:
    """The shell's lines in the README, without comments' marks."""
    every = [line.removeprefix("# ") for block in blocks(README, "sh") for line in lines(block)]
    return every + re.findall(r"`((?:PYTHON=\S+ )?make \w+|python -m toolkit\b[^`]*)`", README)


def prose(path: Path) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(path: Path) -> set[str]:
    """Anchors of a document's headings."""
    titles = re.findall(r"^#+ (.+)$", prose(path), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_explained_script_is_the_script():
    explained = [
        line
        for block in blocks(section("A problem script, line by line"), "python")
        for line in lines(block)
    ]
    script = (ROOT / "problems" / "spinal_cage.py").read_text(encoding="utf-8")
    assert explained == lines(script)


def test_make_targets_exist():
    named = {word for text in commands() for word in re.findall(r"\bmake (\w+)", text)}
    assert {"demo", "test", "setup", "check", "verify"} <= named <= TARGETS


def test_commands_of_the_toolkit_exist():
    named = {word for text in commands() for word in re.findall(r"-m toolkit (\w+)", text)}
    assert {"convert", "gradients"} <= named
    for word in sorted(named):
        call = [sys.executable, "-m", "toolkit", word, "--help"]
        run = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stderr


def test_options_of_scripts_exist():
    """Words with two dashes behind a script are that script's."""
    calls = [re.search(r"(problems/\w+\.py)(.*)", text) for text in commands()]
    found = [
        (call[1], option) for call in calls if call for option in re.findall(r" (--\w+)", call[2])
    ]
    assert found
    for script, option in found:
        assert f'"{option}"' in (ROOT / script).read_text(encoding="utf-8"), f"{script} {option}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_named_exist(document):
    text = document.read_text(encoding="utf-8")
    named = re.findall(rf"(?<![\w/.-])(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./-]*\w", text)
    missing = [name for name in dict.fromkeys(named) if not (ROOT / name).exists()]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(document):
    faults = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        path = document.parent / name if name else document
        if not path.exists() or (anchor and anchor not in anchors(path)):
            faults.append(target)
    assert not faults


def test_results_are_explained():
    """Every file that a report lists is named where the README says where results go."""
    assert not [name for name in page.FILES if f"`{name}`" not in section("Where results go")]


def test_every_problem_is_named():
    scripts = {f"problems/{path.name}" for path in (ROOT / "problems").glob("*.py")}
    assert scripts <= set(re.findall(r"problems/\w+\.py", README))


class Imports(ast.NodeVisitor):
    """The rooms that a file imports at run time."""

    def __init__(self) -> None:
        self.rooms: set[str] = set()

    def visit_If(self, node: ast.If) -> None:
        if not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module == "toolkit":
            self.rooms |= {alias.name for alias in node.names}
        elif node.module and node.module.startswith("toolkit."):
            self.rooms.add(node.module.split(".")[1])


class BoneImports(ast.NodeVisitor):
    """The files of toolkit/bone, and the rooms below, that a file of it imports."""

    def __init__(self) -> None:
        self.rooms: set[str] = set()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        parts = (node.module or "").split(".")
        if parts == ["toolkit"]:
            self.rooms |= {alias.name for alias in node.names}
        elif parts[0] == "toolkit":
            self.rooms.add(parts[2] if parts[1] == "bone" else parts[1])


def table_of_imports(head: str = "Room") -> dict[str, set[str]]:
    """A table in docs/architecture.md: room → rooms that it imports."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = text.split(f"| {head} | imports |\n")[1].split("\n\n")[0].splitlines()[1:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {room.strip("`"): set(re.findall(r"\w+", used)) for room, used in cells}


def test_the_table_of_imports_is_that_of_the_code():
    table = table_of_imports()
    assert set(table) == set(ROOMS)
    wrong = {}
    for room, path in ROOMS.items():
        visitor = Imports()
        visitor.visit(ast.parse(path.read_text(encoding="utf-8")))
        if table[room] != visitor.rooms & set(ROOMS):
            wrong[room] = sorted(visitor.rooms & set(ROOMS))
    assert not wrong, f"docs/architecture.md differs; the code imports: {wrong}"


def test_the_table_of_imports_of_bone_is_that_of_the_code():
    table = table_of_imports("Room of bone")
    rooms = {path.stem: path for path in (ROOT / "toolkit" / "bone").glob("*.py")}
    assert set(table) == set(rooms) - {"__init__"}
    wrong = {}
    for room in table:
        visitor = BoneImports()
        visitor.visit(ast.parse(rooms[room].read_text(encoding="utf-8")))
        if table[room] != visitor.rooms:
            wrong[room] = sorted(visitor.rooms)
    assert not wrong, f"docs/architecture.md differs; the code imports: {wrong}"
