"""The comparison's arithmetic, its pictures, and what it says of who cannot take part."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks.peers import contestants
from benchmarks.peers.__main__ import Absent, turns
from benchmarks.peers.apis import Address
from benchmarks.peers.contestants import Contestant
from benchmarks.peers.figures import Figures, for_each_more, median_of_rounds, ratios, reached
from benchmarks.peers.model import NAME
from benchmarks.peers.pictures import HEIGHT, WIDTH, Mark, mark, picture
from benchmarks.peers.processes import Unavailable
from benchmarks.peers.report import BEGIN, END, Report
from tests.support.server import free_port

pytestmark = pytest.mark.fast

PAGE = Path(__file__).parents[2] / "docs" / "peers.md"
ONE = Figures(0.2, 0.3, 24.0, 24.0, 1.0, 50.0, 60.0, 0.0, 100.0, 150.0)
FOUND = {
    ("cluster", 1): ONE,
    ("cluster", 8): replace(ONE, cpu=0.34, cpu_all=0.5),
    ("aiortc", 1): replace(ONE, cpu=0.15, cpu_all=0.15),
    ("aiortc", 8): replace(ONE, cpu=1.02, cpu_all=1.02),
}
VERSIONS = {"cluster": "1", "aiortc": "2"}


def test_a_picture_says_its_number_and_its_age():
    found = mark(picture(70_000)[..., 0])
    assert found is not None
    assert found.number == 70_000 % 65_536
    assert Mark(0, 65_530).age_ms(65.546) == 16  # the millisecond has begun anew


def test_a_black_picture_is_no_picture():
    assert mark(np.zeros((HEIGHT, WIDTH), np.uint8)) is None


def test_rounds_become_medians():
    rounds = [(("aiortc", 1), replace(ONE, cpu=cpu)) for cpu in (0.9, 0.2, 0.3)]
    assert median_of_rounds(rounds) == {("aiortc", 1): replace(ONE, cpu=0.3)}


def test_what_each_more_viewer_costs():
    assert for_each_more(FOUND, ("cluster", 1)) is None
    assert for_each_more(FOUND, ("cluster", 8)) == pytest.approx(0.02)


def test_a_peer_is_compared_by_media_and_by_all():
    assert ratios(FOUND, "aiortc") == {1: pytest.approx((0.75, 0.5)), 8: pytest.approx((3.0, 2.04))}
    assert reached(FOUND)


def test_twice_is_asked_of_the_most_viewers():
    assert not reached(FOUND | {("aiortc", 8): replace(ONE, cpu=0.6)})
    assert not reached({key: one for key, one in FOUND.items() if key[0] == "cluster"})


def test_sending_less_is_no_win():
    less = FOUND | {("cluster", 8): replace(FOUND["cluster", 8], mbit_s=0.6)}
    assert list(ratios(less, "aiortc")) == [1]
    assert for_each_more(less, ("cluster", 8)) is None
    assert not reached(less)


def test_the_tables_take_their_place_in_the_page(tmp_path: Path):
    page = tmp_path / "peers.md"
    page.write_text(PAGE.read_text())
    Report("A setting.", VERSIONS, {"reactor-runtime": "not installed"}, FOUND).write(page)
    before, _, rest = page.read_text().partition(BEGIN)
    tables, _, after = rest.partition(END)
    assert PAGE.read_text().startswith(before + BEGIN)
    assert PAGE.read_text().endswith(END + after)
    assert "| aiortc 2 | 8 | 1.020 | 1.020 | 0.124 | 1.00 |" in tables
    assert "| aiortc | 8 | 3.0× | 2.0× | 6.2× |" in tables
    assert "reactor-runtime (not installed)" in tables


def test_a_page_without_a_place_stays_as_it_is(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("Nothing here.")
    with pytest.raises(ValueError, match="has no"):
        Report("A setting.", VERSIONS, {}, FOUND).write(page)
    assert page.read_text() == "Nothing here."


def test_a_peer_that_is_not_there_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(contestants, "ENVIRONMENT", tmp_path)
    with pytest.raises(Unavailable, match="make peers"), contestants.reactor("VP8"):
        pass


def test_who_fails_on_the_way_is_out_and_the_others_go_on():
    gone = Contestant(Address("aiortc", f"http://127.0.0.1:{free_port()}"), "1", list, list)
    absent = Absent(Console(quiet=True))
    assert list(turns([gone, gone], "VP8", [(1, 1.0), (2, 1.0)], absent)) == []
    assert list(absent) == ["aiortc"]
    assert "\n" not in absent["aiortc"]


def test_a_peer_without_a_licence_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "lib" / "python3.12" / "site-packages" / "reactor_runtime-2.10.1.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.4\nName: reactor-runtime\nVersion: 2.10.1\n")
    monkeypatch.setattr(contestants, "ENVIRONMENT", tmp_path)
    with pytest.raises(Unavailable, match=r"2\.10\.1 is not under Apache-2\.0"), contestants.reactor("VP8"):
        pass


def test_the_cluster_finds_the_pictures_as_a_model():
    (plugin,) = distributions(path=[str(contestants.HERE / "plugin")])
    (point,) = plugin.entry_points
    model = point.load()("tiny")
    assert (point.group, point.name) == ("longlive_cluster.models", NAME)
    assert model.spec.name == NAME
    stream, director = model.load("cpu").open(), model.director()
    stream.prepare(director.begin_chunk())
    (media,) = stream.decode(stream.generate({}))
    assert media.rgb.shape == (1, HEIGHT, WIDTH, 3)
