import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from longlive.stamp import MODULUS, read, stamp

pytestmark = pytest.mark.fast


def pictures(n: int = 1, height: int = 192, width: int = 320) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


@given(st.integers(0, 3 * MODULUS))
def test_round_trip(number: int) -> None:
    rgb = pictures(3)
    stamp(rgb, number)
    assert [read(picture) for picture in rgb] == [(number + i) % MODULUS for i in range(3)]


@pytest.mark.parametrize(("height", "width"), [(192, 320), (480, 832), (704, 1280)])
def test_any_size_and_only_the_corner(height: int, width: int) -> None:
    rgb = pictures(height=height, width=width)
    before = rgb.copy()
    stamp(rgb, 4711)
    assert read(rgb[0]) == 4711
    assert np.array_equal(rgb[0, height // 8 :], before[0, height // 8 :])


def test_survives_noise_and_blur() -> None:
    rgb = pictures()
    stamp(rgb, 54321)
    soft = rgb[0].astype(float)
    for axis in (0, 1):
        soft = (np.roll(soft, 1, axis) + 2 * soft + np.roll(soft, -1, axis)) / 4
    noisy = soft * 0.7 + 30 + np.random.default_rng(1).normal(0, 25, soft.shape)
    assert read(noisy.clip(0, 255).astype(np.uint8)) == 54321


def test_nothing_is_read_where_nothing_was_written() -> None:
    assert read(pictures()[0]) is None
    assert read(np.zeros((192, 320, 3), np.uint8)) is None
    assert read(np.zeros((4, 4, 3), np.uint8)) is None


@given(st.integers(0, MODULUS - 1), st.integers(0, 23))
def test_a_wrong_block_is_noticed(number: int, block: int) -> None:
    rgb = pictures()
    stamp(rgb, number)
    row, column = divmod(block, 12)
    cell = rgb[0, row * 8 : row * 8 + 8, column * 16 : column * 16 + 16]
    cell[:] = 255 - cell
    assert read(rgb[0]) is None


def test_the_reader_needs_no_torch() -> None:
    code = "import longlive.stamp, longlive, sys; longlive.model('tiny').spec; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
