from pathlib import Path

import pytest

from longlive.budget import fit_table
from longlive.options import Options

pytestmark = pytest.mark.fast

PAGE = (Path(__file__).parents[2] / "docs" / "engine.md").read_text()


def test_the_page_has_the_table_of_today() -> None:
    assert fit_table() in PAGE


@pytest.mark.parametrize("option", Options.model_fields)
def test_the_page_has_every_option(option: str) -> None:
    assert f"| `{option}` |" in PAGE
