import pytest
import torch

from tests.support.golden import read_golden
from wan.unipc import recipe, sample

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("steps", [2, 3, 4, 8, 50])
def test_levels_match(steps: int) -> None:
    made, listed = recipe(steps), read_golden("sampler").setting(str(steps), dict)
    assert list(made.timesteps) == listed["timesteps"]
    assert made.sigmas == pytest.approx(listed["sigmas"], abs=1e-6)


def test_four_steps_are_these_constants() -> None:
    rows = recipe(4).rows
    assert rows[0] == pytest.approx((0.937453, 0.062547), abs=1e-6)
    assert rows[1] == pytest.approx((0.833222, 0.017307, 0.149471), abs=1e-6)
    assert rows[2] == pytest.approx((0.624812, 0.020436, -0.067583, 0.422335), abs=1e-6)
    assert rows[3] == (0, 0, 0, 0, 1)


def test_the_right_flow_gives_back_the_clean_sample() -> None:
    clean, noise = torch.randn(2, 3, 4).unbind()
    for steps in (1, 2, 4):
        found = sample(lambda x, t: noise - clean, noise, recipe(steps))
        torch.testing.assert_close(found, clean, atol=2e-3, rtol=0)  # the first level is 0.9998, not 1
