"""Every command of ours that a page shows is one, with options that it has."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

from cli.main import app
from tests.support.pages import commands, fences, spans

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parents[2]
SHOWN = re.compile(r"(?:`|^ {4})(?:[A-Z_]+=\S+ )*longlive-cluster ([^`\n]*)", re.MULTILINE)


def shown() -> Iterator[tuple[str, list[str]]]:
    """The page, and the words of the command."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for words in SHOWN.findall(page.read_text()):
            yield page.name, shlex.split(words, comments=True)


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the words call, and what is left of them. Raises KeyError."""
    command = typer.main.get_command(app)
    left = list(words)
    while isinstance(command, click.Group):
        command = command.commands[left.pop(0)]
    return command, left


def test_there_are_such_commands_and_options() -> None:
    found = list(shown())
    assert len(found) > 20
    assert {words[0] for _, words in found} >= {"serve", "doctor", "workers", "drain", "keys", "integrity"}
    for page, words in found:
        try:
            command, left = command_of(words)
            command.make_parser(click.Context(command)).parse_args(args=left)
        except (KeyError, click.UsageError) as error:
            pytest.fail(f"{page}: longlive-cluster {shlex.join(words)}: {error!r}")


def test_what_is_typed_on_the_page_for_operators_can_be_found() -> None:
    """So that it is run: a block of another language would be passed over, and a command without its beginning."""
    page = "docs/operate.md"
    assert fences(page) == {"sh", "text"}
    ours = typer.main.get_command(app).commands
    typed = {command.text for command in commands(page)}
    assert not [span for span in spans(page) if " " in span and span.split()[0] in ours and span not in typed]
