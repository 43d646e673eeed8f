"""A checkpoint without its tensors: names, shapes and types at once, values on demand.

Safetensors are read by their header. Pickles go through `torch.load(weights_only=True, mmap=True)` only: nothing in
them is executed, and their tensors stay on disk until asked for.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Protocol
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from wan.weights.errors import UnreadableFile, UnsafeFile
from wan.weights.shards import SAFE, file_set

WRAPPERS = ("generator", "generator_ema", "generator_lora", "state_dict", "gen_model", "model")
"""Keys under which training code puts the tensors of a pickle, in the order of preference."""
ADAPTER = "generator_lora"

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True, slots=True)
class Stored:
    """What a file says of a tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    file: Path

    @property
    def count(self) -> int:
        """Numbers in the tensor."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return self.count * self.dtype.itemsize


class _Reader(Protocol):
    """One open file."""

    tensors: dict[str, Stored]
    notes: dict[str, str]
    section: str | None

    def read(self, name: str) -> Tensor: ...


class _Safetensors:
    section: str | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            handle: Any = safe_open(path, framework="pt", device="cpu")
        except (SafetensorError, OSError) as error:
            raise UnreadableFile(path, f"not a whole safetensors file: {error}") from error
        self._handle = handle
        self.notes: dict[str, str] = self._handle.metadata() or {}
        self.tensors = {name: self._stored(name) for name in self._handle.keys()}  # noqa: SIM118

    def _stored(self, name: str) -> Stored:
        header = self._handle.get_slice(name)
        if header.get_dtype() not in _DTYPES:
            raise UnreadableFile(self._path, f"{name} is of the unknown type {header.get_dtype()}")
        return Stored(tuple(header.get_shape()), _DTYPES[header.get_dtype()], self._path)

    def read(self, name: str) -> Tensor:
        tensor: Tensor = self._handle.get_tensor(name)
        return tensor


class _Pickle:
    def __init__(self, path: Path, section: str | None) -> None:
        content = _unpickle(path)
        self.notes = {key: str(value) for key, value in content.items() if isinstance(value, str | int | float | bool)}
        self.section, state = _unwrap(path, content, section)
        self._values = {name: value.detach() for name, value in state.items() if isinstance(value, Tensor)}
        for name, value in self._values.items():
            if value.layout != torch.strided:
                raise UnreadableFile(path, f"{name} is a {value.layout} tensor, expected a dense one")
        self.tensors = {name: Stored(tuple(t.shape), t.dtype, path) for name, t in self._values.items()}

    def read(self, name: str) -> Tensor:
        return self._values[name]


def _unpickle(path: Path) -> dict[str, Any]:
    if not is_zipfile(path):
        raise UnreadableFile(path, "not a whole torch checkpoint: no zip archive (truncated, or older than torch 1.6)")
    try:
        content = torch.load(path, weights_only=True, mmap=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        if asked := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise UnsafeFile(path, f"it asks for {asked[1]}, which is no tensor; nothing was run") from error
        raise UnreadableFile(path, "not a whole torch checkpoint: its pickle is damaged") from error
    except (RuntimeError, OSError, EOFError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise UnreadableFile(path, f"not a whole torch checkpoint: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise UnreadableFile(path, f"it holds a {type(content).__name__}, expected tensors by name")
    return content


def _unwrap(path: Path, content: dict[str, Any], section: str | None) -> tuple[str | None, dict[str, Any]]:
    """The innermost dictionary that the wrappers lead to, and the wrappers passed, joined by dots."""
    if section is not None:
        if not isinstance(content.get(section), dict):
            raise UnreadableFile(path, f"it has no section {section!r}")
        return section, content[section]
    passed: list[str] = []
    while wrapped := [key for key in WRAPPERS if isinstance(content.get(key), dict)]:
        if ADAPTER in wrapped and len(wrapped) > 1:
            raise UnreadableFile(path, f"it holds {' and '.join(wrapped)}: say which section to read")
        passed.append(wrapped[0])
        content = content[wrapped[0]]
    return ".".join(passed) or None, content


class Checkpoint:
    """An open checkpoint of one or several files.

    `tensors` maps each name to what the files say of it; `notes` are the files' own remarks; `section` is the wrapper
    that was taken off a pickle.
    """

    def __init__(self, path: Path, readers: dict[Path, _Reader]) -> None:
        self.path = path
        self.files = tuple(readers)
        self.section = next((reader.section for reader in readers.values()), None)
        self.notes = {key: note for reader in readers.values() for key, note in reader.notes.items()}
        self._readers = readers
        self.tensors: dict[str, Stored] = {}
        for file, reader in readers.items():
            for name, stored in reader.tensors.items():
                if name in self.tensors:
                    raise UnreadableFile(file, f"{name} is also in {self.tensors[name].file.name}")
                self.tensors[name] = stored
        if not self.tensors:
            raise UnreadableFile(path, "it holds no tensors")

    def tensor(self, name: str) -> Tensor:
        """The values, mapped from disk: read them, do not write."""
        return self._readers[self.tensors[name].file].read(name)

    @property
    def count(self) -> int:
        """Numbers in all tensors."""
        return sum(stored.count for stored in self.tensors.values())

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors as stored."""
        return sum(stored.nbytes for stored in self.tensors.values())

    @property
    def dtypes(self) -> tuple[torch.dtype, ...]:
        """The types in it, each once."""
        return tuple(dict.fromkeys(stored.dtype for stored in self.tensors.values()))


def open_checkpoint(path: Path | str, section: str | None = None) -> Checkpoint:
    """Open the checkpoint at `path`, as in `shards.file_set`, without reading tensors.

    `section` names the wrapper of a pickle to take instead of the first of `WRAPPERS`, such as `generator_ema`.

    Raises:
        UnreadableFile: it is missing, truncated, incomplete, or no checkpoint.
    """
    files = file_set(Path(path))
    opened = Checkpoint(files.path, {file: _reader(file, section) for file in files.files})
    _follow(files.index or {}, opened)
    return opened


def _reader(file: Path, section: str | None) -> _Reader:
    if file.suffix == SAFE:
        return _Safetensors(file)
    return _Pickle(file, section)


def _follow(index: Mapping[str, str], opened: Checkpoint) -> None:
    for name, file in index.items():
        if name not in opened.tensors or opened.tensors[name].file.name != file:
            raise UnreadableFile(opened.path, f"it puts {name} into {file}, which does not hold it")
