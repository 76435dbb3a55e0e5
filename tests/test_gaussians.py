import pytest
import torch

from sparsegen import gaussians as module
from sparsegen.gaussians import Gaussians


def some_gaussians(*batch, n=12, expansion=3):
    generator = torch.Generator().manual_seed(len(batch))

    def draw(*size):
        return torch.rand(*batch, n, *size, generator=generator)

    return Gaussians(draw(3), draw(4), draw(3), draw(), draw(3), expansion)


def test_every_gaussian_knows_its_query():
    assert some_gaussians().query_ids.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_select_picks_gaussians():
    whole = some_gaussians()
    keep = whole.opacities > 0.5
    torch.testing.assert_close(whole.select(keep).colors, whole.colors[keep])
    with pytest.raises(ValueError, match="one object"):
        some_gaussians(2).select(keep)


def test_cat_puts_one_batch_after_the_other():
    parts = [some_gaussians(2), some_gaussians(1)]
    every = module.cat(parts)
    assert every.batch_shape == (3,)
    torch.testing.assert_close(every[:2].quats, parts[0].quats)
    torch.testing.assert_close(every[2].quats, parts[1].quats[0])
    assert every.expansion == 3


def test_misshapen_gaussians_are_refused():
    good = some_gaussians()
    with pytest.raises(ValueError, match="quats must have shape"):
        Gaussians(good.means, good.means, good.scales, good.opacities, good.colors)
    with pytest.raises(ValueError, match="5 for each query"):
        Gaussians(good.means, good.quats, good.scales, good.opacities, good.colors, expansion=5)
