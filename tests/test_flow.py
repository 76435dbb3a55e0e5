from itertools import pairwise

import pytest
import torch

from sparsegen import flow


def test_noising_is_the_papers_rule_on_signed_pictures():
    generator = torch.Generator().manual_seed(0)
    x0 = torch.rand(2, 3, 3, 4, 4, generator=generator)
    noise = torch.randn(x0.shape, generator=generator)
    t = torch.rand(2, 3, generator=generator)
    signed = (1 - t)[..., None, None, None] * (2 * x0 - 1) + t[..., None, None, None] * noise
    torch.testing.assert_close(2 * flow.noise_images(x0, t, noise) - 1, signed)


@pytest.mark.parametrize(
    ("steps", "thousandths"), [(1, [1000, 0]), (2, [1000, 1, 0]), (5, [1000, 750.25, 500.5, 250.75, 1, 0])]
)
def test_time_grid_is_the_references(steps, thousandths):
    torch.testing.assert_close(1000 * flow.time_grid(steps), torch.tensor([float(t) for t in thousandths]))


def test_euler_with_the_true_picture_stays_on_the_straight_path():
    generator = torch.Generator().manual_seed(1)
    x0 = torch.rand(1, 2, 3, 4, 4, generator=generator)
    noise = torch.randn(x0.shape, generator=generator)
    grid = flow.time_grid(7).tolist()
    x = flow.noise_images(x0, torch.ones(1, 2), noise)
    for time, following in pairwise(grid):
        x = flow.euler_step(x, x0, time, following)
        expected = flow.noise_images(x0, torch.full((1, 2), following), noise)
        torch.testing.assert_close(x, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(x, x0, rtol=0, atol=1e-5)


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="at least one step"):
        flow.time_grid(0)
