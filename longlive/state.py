"""What a stream is restored from, and its bytes: a safetensors file whose tensor `record` is JSON.

With all the chunks of a scene, restoring commits them again, one after the other, and the stream goes on exactly. With
those in the window only, they are committed in the sight of each other alone: quick, small, and close.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from longlive.slots import SLOTS
from models.snapshots import OtherVersion, not_taken_up

Count = Annotated[int, Field(ge=0)]


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)  # it holds prompts


class Kept(_Record):
    """A committed chunk, but for its latents. `chunk` and `shot` count in the scene; `prompt` is as it was encoded."""

    chunk: Count
    shot: Count
    starts_shot: bool
    prompt: str


class Record(_Record):
    """The counters of a stream. `frames` counts the pictures of the session, `chunks` and `shot` are the scene's.

    `seed` and `session_chunk` are those of the last chunk, from which its noise can be derived again.
    """

    version: Literal[2] = 2
    frames: Count
    seed: int
    session_chunk: Count
    chunks: Count
    shot: Count
    slots: list[Count]
    pinned: Count | None
    kept: list[Kept]

    @model_validator(mode="after")
    def _is_a_window(self) -> Self:
        numbers = [item.chunk for item in self.kept]
        if numbers != sorted(set(numbers)) or not set(self.slots) <= set(numbers):
            raise ValueError("the kept chunks must ascend and hold the window")
        if len(set(self.slots)) != len(self.slots) or len(self.slots) != min(self.chunks, SLOTS):
            raise ValueError("the slots must hold as many chunks as the scene has, up to the window's")
        if any(number >= self.chunks for number in numbers) or (self.slots and max(self.slots) != self.chunks - 1):
            raise ValueError("the window must end with the last chunk of the scene")
        if self.pinned is not None and self.pinned not in self.slots:
            raise ValueError("the pinned chunk must be in the window")
        return self


@dataclass(frozen=True, slots=True)
class State:
    """A record, and the latents [8, channels, height, width] of each chunk that it keeps, on the CPU."""

    record: Record
    latents: tuple[Tensor, ...]

    @property
    def exact(self) -> bool:
        """Whether the whole scene is here."""
        return len(self.latents) == self.record.chunks


def encode(state: State) -> bytes:
    """To bytes."""
    record = torch.frombuffer(bytearray(state.record.model_dump_json().encode()), dtype=torch.uint8)
    latents = {f"latents/{item.chunk}": x for item, x in zip(state.record.kept, state.latents, strict=True)}
    return save({"record": record, **latents})


def record_of(data: bytes) -> Record:
    """The record of a snapshot alone; raises ValueError as `decode`."""
    return _parsed(data)[0]


def decode(data: bytes, shape: tuple[int, ...], dtype: torch.dtype) -> State:
    """From bytes, whose latents must have this shape and type.

    Raises:
        OtherVersion: of another version or preset.
        ValueError: damaged. Neither text quotes a prompt.
    """
    record, tensors = _parsed(data)
    names = [f"latents/{item.chunk}" for item in record.kept]
    if sorted(names) != sorted(tensors):
        raise ValueError("a LongLive snapshot must hold the latents of the chunks it keeps, and nothing else")
    for name, x in tensors.items():
        if x.shape != shape or x.dtype != dtype:
            raise OtherVersion(f"{name} of the snapshot is {tuple(x.shape)} {x.dtype}; this preset has {shape} {dtype}")
    return State(record, tuple(tensors[name] for name in names))


def _parsed(data: bytes) -> tuple[Record, dict[str, Tensor]]:
    """The record, and the other tensors by name."""
    try:
        tensors = load(data)
        return Record.model_validate_json(tensors.pop("record").numpy().tobytes()), tensors
    except ValidationError as error:
        raise not_taken_up(error, "a LongLive snapshot") from None
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"not a LongLive snapshot: {type(error).__name__}") from None
