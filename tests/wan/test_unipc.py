import pytest
import torch

from tests.support.golden import BOUND, Golden, difference
from wan.unipc import combine, recipe, sample

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden("sampler")


@pytest.mark.parametrize("steps", [2, 3, 4, 8, 50])
def test_every_step_matches(golden: Golden, steps: int) -> None:
    made = recipe(steps)
    noise, clean = golden[f"in/{steps}/x"], []
    x = noise
    for i in range(steps):
        clean.append(x - made.sigmas[i] * golden[f"in/{steps}/flow{i}"])
        x = combine(made.rows[i], noise, clean)
        assert difference(x, golden[f"out/{steps}/x{i}"]) < BOUND


@pytest.mark.parametrize("steps", [2, 3, 4, 8, 50])
def test_levels_match(golden: Golden, steps: int) -> None:
    made = recipe(steps)
    assert list(made.timesteps) == golden.config[str(steps)]["timesteps"]
    assert made.sigmas == pytest.approx(golden.config[str(steps)]["sigmas"], abs=1e-6)


def test_four_steps_are_these_constants() -> None:
    rows = recipe(4).rows
    assert rows[0] == pytest.approx((0.937453, 0.062547), abs=1e-6)
    assert rows[1] == pytest.approx((0.833222, 0.017307, 0.149471), abs=1e-6)
    assert rows[2] == pytest.approx((0.624812, 0.020436, -0.067583, 0.422335), abs=1e-6)
    assert rows[3] == (0, 0, 0, 0, 1)


def test_the_right_flow_gives_back_the_clean_sample() -> None:
    clean, noise = torch.randn(2, 3, 4).unbind()
    assert difference(sample(lambda x, t: noise - clean, noise, recipe(1)), clean) < 1e-3
    for steps in (2, 4):
        found = sample(lambda x, t: noise - clean, noise, recipe(steps))
        assert difference(found, clean) < 2e-3  # the first level is 0.9998, not 1
