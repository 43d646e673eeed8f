"""What `values.yaml` says of each value: the `# -- ` lines above it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

_COMMENT = re.compile(r"\s*# -- (?P<text>.*)")
_KEY = re.compile(r"(?P<indent>\s*)(?P<key>[A-Za-z][A-Za-z0-9_]*):")


@dataclass(frozen=True, slots=True)
class Documented:
    """One value: its path, such as `("redis", "mode")`, its default, and what is said of it."""

    path: tuple[str, ...]
    default: Any
    text: str


def documented(values: str) -> Iterator[Documented]:
    """Every value with a comment, in the order of the file."""
    defaults = yaml.safe_load(values)
    parents: list[tuple[int, str]] = []
    said: list[str] = []
    for line in values.splitlines():
        if comment := _COMMENT.fullmatch(line):
            said.append(comment["text"])
        elif key := _KEY.match(line):
            indent = len(key["indent"])
            parents = [parent for parent in parents if parent[0] < indent] + [(indent, key["key"])]
            path = tuple(name for _, name in parents)
            if said:
                yield Documented(path, _at(defaults, path), " ".join(said))
            said = []


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree[name]
    return tree
