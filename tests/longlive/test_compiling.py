import numpy as np
import pytest

from longlive.compiling import Compiler
from longlive.engine import Engine, Kind, warm_up
from tests.longlive.networks import CITY, FOX, chunk, network

pytestmark = pytest.mark.slow

STORY: list[tuple[str, Kind]] = [
    (FOX, "open"),
    (FOX, "continue"),
    (CITY, "shot"),
    *[(CITY, "continue")] * 4,
    (FOX, "cut"),
]


def test_nothing_is_compiled_after_the_warm_up() -> None:
    """Whatever the window holds, at cuts and shots, under other prompts, and for other streams."""
    plain, compiler = network(), Compiler("eager")
    compiled = network(compiler, compile=True)
    reference, engine = Engine(plain), Engine(compiled)
    warm_up(compiled)
    warm = compiler.count
    assert warm > 0
    for number, (prompt, kind) in enumerate(STORY):
        assert np.array_equal(chunk(engine, prompt, kind, number), chunk(reference, prompt, kind, number))
    other = Engine(compiled)
    for number in range(2):
        chunk(other, CITY, "continue", number)
    assert compiler.count == warm
