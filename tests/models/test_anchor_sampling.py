"""Maps read at points, with gradients: against PyTorch's bilinear sampling, in double precision."""

import pytest
import torch
from torch.nn import functional as F

from sparsegen.models.anchor_sampling import Sights


def sampled(maps, where, shares):
    """(b, n, r, c): each view sampled by itself, then their weighted sum."""
    b, v = maps.shape[:2]
    grid = where[..., :2].flatten(0, 1)
    read = F.grid_sample(maps.flatten(0, 1), grid, padding_mode="border", align_corners=False)
    return torch.einsum("bvcrn,bvrn->bnrc", read.unflatten(0, (b, v)), shares)


@pytest.mark.parametrize(("height", "width"), [(6, 9), (1, 5), (5, 1), (1, 1)])
def test_features_and_their_gradients_are_those_of_bilinear_sampling(height, width):
    """Inside, on and far outside the border."""
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 4, height, width)
    where = 3 * torch.rand(2, 3, 2, 50, 3) - 1.5
    where[0, 0, 0, :4, :2] = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0], [1e6, -1e6]])
    preferences = torch.randn(2, 3, 2, 50)
    wanted, found = [], []
    for inputs, results in (((maps, where, preferences), found), ((maps, where, preferences), wanted)):
        dtype = torch.float32 if results is found else torch.float64
        m, w, p = (x.to(dtype, copy=True).requires_grad_() for x in inputs)
        read = Sights(w, p).features(m) if results is found else sampled(m, w, p.softmax(1))
        weights = torch.arange(read.numel(), dtype=dtype).view_as(read).sin()
        (weights * read).sum().backward()
        results += [read.detach(), m.grad, p.grad, w.grad]
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=2e-5)


def test_features_are_the_same_without_gradients():
    torch.manual_seed(1)
    maps, where = torch.randn(2, 3, 4, 6, 9), 3 * torch.rand(2, 3, 2, 50, 3) - 1.5
    sights = Sights(where, torch.randn(2, 3, 2, 50))
    torch.testing.assert_close(sights.features(maps.clone().requires_grad_()), sights.features(maps))


def test_points_that_are_not_numbers_do_not_stop_a_run():
    """The loss will not be a number, the step is skipped."""
    where = torch.full((1, 1, 1, 2, 3), torch.nan)
    maps = torch.randn(1, 1, 4, 6, 9, requires_grad=True)
    assert Sights(where, torch.zeros(1, 1, 1, 2)).features(maps).shape == (1, 2, 1, 4)
