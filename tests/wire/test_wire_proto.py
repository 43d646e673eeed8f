"""The generated protobuf module is that of the committed `.proto`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool
from grpc_tools import protoc

import wire
from wire import reactor_wire_pb2

pytestmark = pytest.mark.fast

ROOT = Path(wire.__file__).parent.parent
GOOGLE = Path(protoc.__file__).parent / "_proto"


def serialized_descriptor(module: Path) -> bytes:
    calls = [node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call)]
    (argument,) = [
        call.args[0] for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "AddSerializedFile"
    ]
    return ast.literal_eval(argument)


def test_generated_from_the_committed_proto(tmp_path: Path) -> None:
    arguments = [f"-I{ROOT}", f"-I{GOOGLE}", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    assert protoc.main(["protoc", *arguments, "wire/reactor_wire.proto"]) == 0
    made = serialized_descriptor(tmp_path / "wire" / "reactor_wire_pb2.py")
    assert reactor_wire_pb2.DESCRIPTOR.serialized_pb == made
    assert (ROOT / "wire" / "reactor_wire_pb2.pyi").exists()


def test_its_names_are_taken_by_nothing_else() -> None:
    found = descriptor_pool.Default().FindFileContainingSymbol("reactor_wire.v1.DataClientMessage")
    assert found.name == "wire/reactor_wire.proto"
