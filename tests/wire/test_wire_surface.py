"""The package's public surface is what it says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import wire

pytestmark = pytest.mark.fast


def test_all_is_what_is_imported() -> None:
    tree = ast.parse(Path(wire.__file__).read_text())
    imported = {
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported == set(wire.__all__)
    assert len(wire.__all__) == len(imported)


def test_the_map_names_every_module() -> None:
    modules = {path.stem for path in Path(wire.__file__).parent.glob("*.py")} - {"__init__", "reactor_wire_pb2"}
    assert wire.__doc__ is not None
    assert all(module in wire.__doc__ for module in modules)


def test_the_package_is_typed() -> None:
    assert (Path(wire.__file__).parent / "py.typed").exists()
