"""Which files make up a checkpoint: one file, the shards that an index lists, or shards numbered `-00001-of-00003`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from wan.weights.errors import UnreadableFile

SAFE = ".safetensors"
PICKLES = (".pt", ".pth", ".bin")
_INDEX = ".index.json"
_NUMBERED = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<count>\d{5})(?P<suffix>\.\w+)")


@dataclass(frozen=True, slots=True)
class FileSet:
    """The files of one checkpoint; `path` stands for all of them. `index` is its weight map: name to file name."""

    path: Path
    files: tuple[Path, ...]
    index: dict[str, str] | None = None


def file_set(path: Path) -> FileSet:
    """The checkpoint at `path`: a file, an index, a shard, or a folder that directly holds one checkpoint.

    Raises:
        UnreadableFile: there is none, there are several, or a shard is missing.
    """
    if path.is_dir():
        return file_set(_only(path))
    if not path.exists():
        raise UnreadableFile(path, "no such file")
    if path.name.endswith(_INDEX):
        return _indexed(path)
    if path.suffix not in (SAFE, *PICKLES):
        raise UnreadableFile(path, f"not a checkpoint: expected {SAFE}, {', '.join(PICKLES)} or *{_INDEX}")
    if match := _NUMBERED.fullmatch(path.name):
        return _numbered(path, match)
    return FileSet(path, (path,))


def checkpoints(folder: Path) -> list[Path]:
    """One path for every checkpoint in the folder itself, sorted: an index, a first shard or a file.

    Raises:
        UnreadableFile: an index cannot be read.
    """
    indexes = sorted(folder.glob(f"*{_INDEX}"))
    listed = {folder / name for index in indexes for name in _weight_map(index).values()}
    files = sorted(path for path in folder.iterdir() if path.suffix in (SAFE, *PICKLES) and path not in listed)
    first: dict[str, Path] = {}
    for file in files:
        match = _NUMBERED.fullmatch(file.name)
        first.setdefault(f"{match['stem']}-of-{match['count']}{match['suffix']}" if match else file.name, file)
    return indexes + list(first.values())


def _only(folder: Path) -> Path:
    found = checkpoints(folder)
    if not found:
        raise UnreadableFile(folder, "the folder holds no checkpoint")
    if len(found) > 1:
        raise UnreadableFile(folder, f"the folder holds several checkpoints: {', '.join(path.name for path in found)}")
    return found[0]


def _indexed(path: Path) -> FileSet:
    index = _weight_map(path)
    files = tuple(path.parent / name for name in sorted(set(index.values())))
    for file in files:
        if not file.exists():
            raise UnreadableFile(path, f"it names the shard {file.name}, which is missing")
    return FileSet(path, files, index)


def _weight_map(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise UnreadableFile(path, f"not a JSON file: {error}") from error
    index = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(index, dict) or not index or not all(isinstance(file, str) for file in index.values()):
        raise UnreadableFile(path, "an index must have a weight_map from tensor to file")
    return index


def _numbered(path: Path, match: re.Match[str]) -> FileSet:
    stem, count, suffix = match["stem"], match["count"], match["suffix"]
    files = tuple(path.with_name(f"{stem}-{number:05}-of-{count}{suffix}") for number in range(1, int(count) + 1))
    for file in files:
        if not file.exists():
            raise UnreadableFile(path, f"its sister shard {file.name} is missing")
    return FileSet(path, files)
