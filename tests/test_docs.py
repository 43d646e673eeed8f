"""What the pages say is tested, is: every test that they name is there, and in the file that they say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`(?:(test_\w+\.py)(?:::)?)?(test_\w+)?`")


@pytest.fixture(scope="module")
def tests() -> dict[str, set[str]]:
    """Names of tests by file."""
    return {path.name: set(_defined(ast.parse(path.read_text()))) for path in ROOT.glob("tests/**/test_*.py")}


def _defined(tree: ast.Module | ast.ClassDef) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from _defined(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name


@pytest.mark.parametrize("page", ["wire.md", "security.md"])
def test_the_pages_name_tests_that_are_there(page: str, tests: dict[str, set[str]]) -> None:
    everywhere = set().union(*tests.values())
    named = [match for match in NAMED.findall((ROOT / "docs" / page).read_text()) if match[1]]
    assert len(named) > 40
    assert [(file, name) for file, name in named if name not in (tests.get(file, ()) if file else everywhere)] == []


def test_a_clients_tests_are_in_its_file(tests: dict[str, set[str]]) -> None:
    """In the table of features a test named alone is in the file of its column."""
    page = (ROOT / "docs" / "wire.md").read_text()
    rows = [_cells(line) for line in page.partition("## Features and clients")[2].splitlines() if line.startswith("|")]
    files = [NAMED.findall(cell) for cell in rows[0]]
    assert len(rows) > 30
    for row in rows[2:]:
        assert len(row) == len(rows[0]), row[0]
        for cell, column in zip(row[1:], files[1:], strict=True):
            assert cell.startswith(("`test_", "– ", "not tested")), (row[0], cell)
            for file, name in NAMED.findall(cell):
                assert name in tests[file or column[0][0]], (row[0], cell)


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]
