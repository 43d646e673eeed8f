"""Words, patterns and pictures that are denied, in whatever disguise; and what only looks like them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pydantic import ValidationError

from cluster.moderation.denylist import DenyList
from cluster.moderation.verdict import Action, Context, Picture
from cluster.settings import ModerationSettings

pytestmark = pytest.mark.fast

CONTEXT = Context("s", "key_a", "echo", "set_shot")
LIST = DenyList(
    """
    # comments and empty lines are none

    grenade
    kill them all
    hell
    Straße
    ass
    БОМБА
    炸弹
    !napalm
    /\\bbuy (now|here)\\b/
    """
)


@pytest.mark.parametrize(
    "text",
    [
        "a grenade on a table",
        "GRENADE",
        "a Grenade!",
        "grenade",
        "(grenade)",
        "the end.grenade, the beginning",
        "gr\u00adenade",
        "gre\u200bna\u200dde\ufeff",
        "g\u0301r\u0300enade",
        "grénàdë",
        "ｇｒｅｎａｄｅ",
        "𝓰𝓻𝓮𝓷𝓪𝓭𝓮",
        "ⓖⓡⓔⓝⓐⓓⓔ",
        "grenаde with a Cyrillic a",
        "GRΕΝΑDΕ with Greek capitals",
        "gr3n4d3",
        "gr.e-n_a*de",
        "g r e n a d e",
        "g-r-e-n-a-d-e",
        "see: g r e n a d e !",
        "grena\x00de",
        "a$$",
        "please k1ll them all",
        "KILL\n\nTHEM\tALL",
        "killthemall",
        "kiII them all",
        "strasse",
        "STRASSE",
        "eine Бомба",
        "他有炸弹吗",
        "炸 弹",
        "you can Buy\u200b now",
    ],
)
def test_disguises_do_not_help(text: str) -> None:
    assert LIST.look(text) is Action.WARN


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "a lone astronaut walks across a red dune at golden hour",
        "grenadine",
        "he'll see, she'll too",
        "as soon as possible",
        "was set aside",
        "455 people",
        "kill the lights, them all",
        "a class of glass",
        "shell",
        "Бомбардье",
        "炸鸡和弹簧",
        "buying now",
        "🎬 ✨",
    ],
)
def test_what_only_looks_like_it_passes(text: str) -> None:
    assert LIST.look(text) is Action.ALLOW


def test_the_severest_entry_counts() -> None:
    assert LIST.look("hell and n4p4lm") is Action.TERMINATE


async def test_pictures_are_known_by_their_digest() -> None:
    listed, other = Picture("image/png", b"listed"), Picture("image/png", b"other")
    entries = DenyList(f"!SHA256:{hashlib.sha256(listed.data).hexdigest().upper()}")
    assert (await entries.check(listed, CONTEXT)).action is Action.TERMINATE
    assert (await entries.check(other, CONTEXT)).action is Action.ALLOW
    assert (await entries.check("listed", CONTEXT)).action is Action.ALLOW


async def test_a_verdict_does_not_say_which_word_it_was() -> None:
    verdict = await LIST.check("napalm", CONTEXT)
    assert (verdict.reason, verdict.categories) == ("", ("deny_list",))


@pytest.mark.parametrize(
    "text", ["a " * 32_000, "gr" * 32_000, "kill " * 13_000, "\u0301" * 65_000, "-" * 65_000, "1!|l" * 16_000]
)
def test_a_word_is_found_at_the_end_of_the_longest_and_oddest_texts(text: str) -> None:
    assert LIST.look(text) is Action.ALLOW
    assert LIST.look(f"{text} grenade") is Action.WARN


@pytest.mark.parametrize(
    ("line", "says"),
    [("/(/", "line 2"), ("sha256:abc", "line 2: not a SHA-256"), ("!", "line 2: nothing"), ("…", "line 2: nothing")],
)
def test_a_bad_line_stops_start_up(line: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "deny.txt"
    path.write_text(f"fine\n{line}\n")
    with pytest.raises(ValidationError, match=says):
        ModerationSettings(deny_list=path)


def test_a_missing_file_stops_start_up(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="cannot be read"):
        ModerationSettings(deny_list=tmp_path / "none.txt")
