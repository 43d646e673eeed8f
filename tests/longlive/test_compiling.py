import numpy as np
import pytest

from longlive.compiling import Compiler
from longlive.engine import Engine, Kind
from tests.longlive.networks import CITY, FOX, chunk, network

pytestmark = pytest.mark.fast

STORY: list[tuple[str, Kind]] = [
    (FOX, "open"),
    (FOX, "continue"),
    (CITY, "shot"),
    *[(CITY, "continue")] * 4,
    (FOX, "cut"),
]


def test_nothing_is_compiled_again_once_two_chunks_are_made() -> None:
    """Whatever the window holds, at cuts and shots, under other prompts, and for other streams."""
    plain, compiler = network(), Compiler("eager")
    compiled = network(compiler, compile=True)
    reference, engine = Engine(plain), Engine(compiled)
    counts = []
    for number, (prompt, kind) in enumerate(STORY):
        assert np.array_equal(chunk(engine, prompt, kind, number), chunk(reference, prompt, kind, number))
        counts.append(compiler.count)
    other = Engine(compiled)
    for number in range(2):
        chunk(other, CITY, "continue", number)
    assert counts[1] > 0
    assert [*counts[1:], compiler.count] == [counts[1]] * len(STORY)
