"""What Gaussians are used for: against taking each away for real, and against closed forms."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from sparsegen import cameras
from sparsegen.cameras import Cameras
from sparsegen.editing import query_centers
from sparsegen.evaluation import removal, utilization
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import render


def _scene(count: int, opacity: float, seed: int, expansion: int = 1) -> Gaussians:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    return Gaussians(
        means=0.5 * (draw(count, 3) - 0.5),
        quats=torch.nn.functional.normalize(draw(count, 4) - 0.5, dim=-1),
        scales=0.01 + 0.09 * draw(count, 3),
        opacities=opacity * draw(count),
        colors=draw(count, 3),
        expansion=expansion,
    )


def _taken_away(gaussians: Gaussians, views: Cameras) -> list[float]:
    """Largest change of any channel of any pixel when each Gaussian is left out, by the splatting itself."""

    def draw(some: Gaussians) -> torch.Tensor:
        return render(some, views, backend="reference", depth=False).rgb

    whole = draw(gaussians)
    everyone = torch.arange(gaussians.count)
    pictures = (draw(gaussians.select(everyone != i)) for i in everyone.tolist())
    return [(picture - whole).abs().max().item() for picture in pictures]


@pytest.mark.parametrize(("opacity", "seed"), [(0.3, 0), (1.0, 1), (1.0, 2)])
def test_removal_is_what_drawing_without_it_shows(opacity: float, seed: int) -> None:
    """Opaque scenes too, where a removal shows what the cut at low transmittance had hidden."""
    gaussians = _scene(60, opacity, seed)
    gaussians = replace(gaussians, opacities=torch.where(gaussians.opacities > 0.8, 1.0, gaussians.opacities))
    gaussians.opacities[::7] *= 0.02  # some that hardly show
    views = cameras.orbit(2, size=20).to(dtype=torch.float64)
    changes = _taken_away(gaussians, views)
    for threshold in (1 / 255, 0.05):
        # None so near the threshold that rounding decides.
        assert min(abs(change - threshold) for change in changes) > 1e-9
        expected = [change > threshold for change in changes]
        assert removal.used(gaussians, views, threshold).tolist() == expected
        assert 5 < sum(expected) < 60


def test_what_stands_behind_a_wall_is_not_used() -> None:
    camera = cameras.look_at(torch.tensor([[1.3, 0.0, 0.0]]), size=16)
    means = torch.tensor([[0.2, 0, 0], [0.1, 0, 0], [-0.3, 0, 0]])
    wall = torch.tensor([[0.01, 50.0, 50.0], [0.01, 50.0, 50.0], [0.02, 0.02, 0.02]])
    colors = torch.tensor([[0.0, 0, 0], [0.5, 0.5, 0.5], [1, 0, 0]])
    quats = torch.tensor([[1.0, 0, 0, 0]]).expand(3, 4)
    gaussians = Gaussians(means, quats, wall, torch.full((3,), 0.999), colors)
    assert removal.used(gaussians, camera).tolist() == [True, False, False]


def test_opacities_are_counted() -> None:
    gaussians = replace(_scene(4, 1, 0), opacities=torch.tensor([0.0, 0.04, 0.51, 1.0]))
    counts = utilization.opacity_counts(gaussians)
    assert counts[0] == 2
    assert counts[10] == 1
    assert counts[-1] == 1
    assert sum(counts) == 4


def test_query_spread_is_one_for_queries_that_mean_nothing() -> None:
    scattered = _scene(3000, 1, 5, expansion=6)
    assert utilization.query_spread(scattered) == pytest.approx(1, abs=0.02)
    anchors = scattered.means[:500].repeat_interleave(6, dim=0)
    together = replace(scattered, means=anchors + 0.01 * (scattered.means - scattered.means.mean(dim=0)))
    # By lot a Gaussian lies sqrt(5 / 6) of the whole spread from the centre of its six; here at 1 % of that.
    assert utilization.query_spread(together) == pytest.approx(0.01, rel=0.05)
    assert math.isnan(utilization.query_spread(replace(scattered, expansion=1)))


def test_a_querys_gaussians_share_a_color_of_their_own() -> None:
    """One fat Gaussian for each of two queries: each picture half has one flat hue, and they differ."""
    means = torch.tensor([[0.0, -0.2, 0], [0, -0.2, 0], [0, 0.2, 0], [0, 0.2, 0]])
    quats = torch.tensor([[1.0, 0, 0, 0]]).expand(4, 4)
    gaussians = Gaussians(means, quats, torch.full((4, 3), 0.05), torch.ones(4), torch.zeros(4, 3), 2)
    camera = cameras.look_at(torch.tensor([[1.3, 0.0, 0.0]]), size=32)
    (picture,) = utilization.picture_by_query(gaussians, camera)
    pixels, _ = camera[0].project(query_centers(gaussians))
    left, right = (picture[:, int(y), int(x)] for x, y in pixels)
    assert (left - right).abs().max() > 0.3
    marked = utilization.mark_centers(picture, gaussians, camera[0])
    for x, y in (3 * pixels).round().int().tolist():
        torch.testing.assert_close(marked[:, y, x], torch.tensor([0.72, 0.15, 0.2]))
