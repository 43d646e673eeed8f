import pytest
from hypothesis import given
from hypothesis import strategies as st

from longlive.slots import SLOTS, SlotTable

pytestmark = pytest.mark.fast


def visible(history: list[bool], chunk: int) -> set[int]:
    """The policy said plainly: chunks in order of arrival, from which the oldest unprotected one is dropped."""
    held: list[int] = []
    pinned: int | None = None
    for k in range(chunk + 1):
        held.append(k)
        if len(held) > SLOTS:
            held.remove(next(c for c in held if c not in (0, pinned)))
        if history[k] and k and k < chunk:
            pinned = k
    return set(held)


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_the_table_follows_the_policy(shots: list[bool]) -> None:
    table = SlotTable()
    where: dict[int, int] = {}
    for chunk, starts_shot in enumerate(shots):
        slot = table.enter(chunk)
        where[chunk] = slot
        assert table.chunks[slot] == chunk
        assert set(table.chunks) == visible(shots, chunk)
        assert all(where[c] == i for i, c in enumerate(table.chunks)), "a chunk never changes its slot"
        if starts_shot and chunk:
            table.pin(chunk)


def test_the_first_shot_keeps_its_beginning_and_the_last_two() -> None:
    table = SlotTable()
    for chunk in range(10):
        table.enter(chunk)
    assert set(table.chunks) == {0, 7, 8, 9}


def test_the_old_pin_goes_with_the_second_chunk_of_a_shot() -> None:
    table = SlotTable()
    for chunk in range(12):
        table.enter(chunk)
        if chunk in (3, 9):
            table.pin(chunk)
        if chunk == 9:
            assert set(table.chunks) == {0, 3, 8, 9}
    assert set(table.chunks) == {0, 9, 10, 11}


def test_chunks_come_in_order() -> None:
    table = SlotTable()
    table.enter(0)
    with pytest.raises(AssertionError):
        table.enter(2)
    with pytest.raises(AssertionError):
        table.pin(1)
