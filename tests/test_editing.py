"""Editing by query: what is selected, and that nothing else changes."""

from typing import Any

import pytest
import torch

from gaussian_samples import TENSORS, recorded
from networks import build, small, some_views
from sparsegen import editing
from sparsegen.cameras import orbit
from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians
from sparsegen.generation import Pipeline
from sparsegen.splatting import render


def row(count=5, expansion=2, spacing=0.1):
    """Queries along x, `spacing` apart; the Gaussians of each lie a little above and below its centre."""
    n = count * expansion
    means = torch.zeros(n, 3)
    means[:, 0] = spacing * (torch.arange(n) // expansion)
    means[:, 2] = 0.01 * (torch.arange(n) % expansion - (expansion - 1) / 2)
    quats = torch.tensor([[1.0, 0, 0, 0]]).expand(n, 4)
    colors = torch.linspace(0.2, 0.6, n)[:, None].expand(n, 3)
    return Gaussians(means, quats, torch.full((n, 3), 0.02), torch.full((n,), 0.9), colors, expansion)


def ids(selection):
    return selection.nonzero()[:, 0].tolist()


def test_centers_are_weighted_by_opacity():
    one = row(1)
    opacities = torch.tensor([0.9, 0.0])
    gaussians = Gaussians(one.means, one.quats, one.scales, opacities, one.colors, 2)
    torch.testing.assert_close(editing.query_centers(gaussians)[0], one.means[0], rtol=0, atol=1e-7)
    invisible = Gaussians(one.means, one.quats, one.scales, torch.zeros(2), one.colors, 2)
    assert editing.query_centers(invisible).isfinite().all()


def test_selections_by_place():
    gaussians = row()
    assert ids(editing.select_box(gaussians, (0.05, -1, -1), (0.25, 1, 1))) == [1, 2]
    assert ids(editing.select_sphere(gaussians, (0.4, 0, 0), 0.11)) == [3, 4]
    assert ids(editing.select_nearest(gaussians, (0.19, 0, 0))) == [2]
    assert ids(editing.select_nearest(gaussians, (0.19, 0, 0), 3)) == [1, 2, 3]
    assert ids(editing.select_ids(gaussians, [3, 0])) == [0, 3]
    with pytest.raises(InputError, match="query 5: expected a number from 0 to 4"):
        editing.select_ids(gaussians, [5])


def test_grow_and_shrink_by_distance():
    gaussians = row()
    middle = editing.select_ids(gaussians, [2])
    grown = editing.grow(gaussians, middle, 0.11)
    assert ids(grown) == [1, 2, 3]
    assert ids(editing.shrink(gaussians, grown, 0.11)) == [2]
    nothing = editing.select_ids(gaussians, [])
    assert ids(editing.grow(gaussians, nothing, 1)) == []
    assert ids(editing.shrink(gaussians, ~nothing, 1)) == [0, 1, 2, 3, 4]


def test_grow_agrees_with_every_pair(monkeypatch):
    gaussians = recorded()
    selection = torch.rand(128, generator=torch.Generator().manual_seed(0)) < 0.1
    centers = editing.query_centers(gaussians).double()
    slow = [
        bool(selection[i] or any((centers[i] - centers[j]).norm() <= 0.2 for j in ids(selection)))
        for i in range(128)
    ]
    assert editing.grow(gaussians, selection, 0.2).tolist() == slow
    monkeypatch.setattr(editing, "_CHUNK", 100)
    assert editing.grow(gaussians, selection, 0.2).tolist() == slow


def test_queries_that_attend_alike():
    """Against the overlap of softmax rows, written out for each layer, head and pair of queries."""
    pipeline, views = Pipeline(build(small(heads=2))), some_views(1, 1)
    seen = []
    layers: list[Any] = [layer.self_attention for layer in pipeline.model.decoder]  # type: ignore[union-attr]
    hooks = [layer.register_forward_pre_hook(lambda m, x: seen.append((m, x[0]))) for layer in layers]
    pipeline.reconstruct(views)
    for hook in hooks:
        hook.remove()
    slow = torch.zeros(6, 6)
    for layer, x in seen:
        q, k, _ = layer.qkv(x[0]).detach().double().split(32, dim=-1)
        for head in (slice(0, 16), slice(16, 32)):
            rows = (q[:, head] @ k[:, head].T / 4).softmax(1)[2:]  # without the two registers' own
            for i in range(6):
                for j in range(6):
                    slow[i, j] += (rows[i] * rows[j]).sqrt().sum() / (2 * len(seen))
    likeness = editing.attention_likeness(pipeline, views)
    torch.testing.assert_close(likeness, slow, atol=1e-5, rtol=0)
    assert not any(layer._forward_pre_hooks for layer in layers)
    assert editing.attention_likeness(pipeline, views, 4).shape == (4, 4)


def test_grow_and_shrink_by_likeness():
    gaussians = row()
    likeness = torch.eye(5)
    for i, j, value in ((0, 4, 0.9), (0, 2, 0.5), (4, 3, 0.8), (0, 1, 0.1)):
        likeness[i, j] = likeness[j, i] = value
    first = editing.select_ids(gaussians, [0])
    assert ids(editing.grow_alike(first, likeness, 1)) == [0, 4]
    # 3 is like 4 alone, 2 like 0 alone, and 3 is the more so
    assert ids(editing.grow_alike(editing.select_ids(gaussians, [0, 4]), likeness, 1)) == [0, 3, 4]
    assert ids(editing.grow_alike(first, likeness, 9)) == [0, 1, 2, 3, 4]
    assert ids(editing.shrink_alike(editing.select_ids(gaussians, [0, 1, 4]), likeness, 1)) == [0, 4]
    assert ids(editing.shrink_alike(first, likeness, 9)) == []
    nothing = editing.select_ids(gaussians, [])
    assert (
        ids(editing.grow_alike(nothing, likeness, 3)) == ids(editing.shrink_alike(nothing, likeness, 3)) == []
    )


def test_delete_removes_whole_queries_and_nothing_else():
    gaussians = row()
    edited = editing.delete(gaussians, editing.select_ids(gaussians, [1, 4]))
    assert edited.expansion == 2
    for name in TENSORS:
        kept = getattr(gaussians, name)[[0, 1, 4, 5, 6, 7]]
        assert torch.equal(getattr(edited, name), kept)


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (lambda g, s: editing.move(g, s, (0, 0, 1)), {"means"}),
        (lambda g, s: editing.scale(g, s, 2), {"means", "scales"}),
        (lambda g, s: editing.recolor(g, s, (1, 0, 0)), {"colors"}),
    ],
)
def test_changes_leave_other_queries_alone(change, changed):
    gaussians = row()
    selection = editing.select_ids(gaussians, [1, 2])
    edited = change(gaussians, selection)
    inside = editing.of_gaussians(gaussians, selection)
    for name in TENSORS:
        before, after = getattr(gaussians, name), getattr(edited, name)
        assert torch.equal(before[~inside], after[~inside])
        assert torch.equal(before, after) == (name not in changed)


def test_scaling_about_the_centre_is_zooming_the_picture():
    """An object twice as large, seen from twice as far, looks the same."""
    gaussians = recorded()
    everything = torch.ones(128, dtype=torch.bool)
    center = editing.query_centers(gaussians).mean(0)
    gaussians = editing.move(gaussians, everything, (-center).tolist())
    near = orbit(1, radius=1.3, size=64)
    far = orbit(1, radius=2.6, size=64)
    small = render(gaussians, near).rgb
    large = render(editing.scale(gaussians, everything, 2), far).rgb
    torch.testing.assert_close(large, small, rtol=0, atol=2e-3)


def test_recoloring_keeps_the_shading():
    gaussians = row()
    selection = editing.select_ids(gaussians, [0, 1])
    edited = editing.recolor(gaussians, selection, (0.5, 0.4, 0.3))
    torch.testing.assert_close(edited.colors[:4].mean(0), torch.tensor([0.5, 0.4, 0.3]))
    steps = edited.colors[:4].diff(dim=0)
    torch.testing.assert_close(steps, gaussians.colors[:4].diff(dim=0))


def test_swapping_takes_and_gives_back():
    first, second = row(), editing.move(row(), torch.ones(5, dtype=torch.bool), (0, 1, 0))
    selection = editing.select_ids(first, [1])
    mixed = editing.swap(first, selection, second)
    assert torch.equal(mixed.means[2:4], second.means[2:4])
    assert torch.equal(mixed.means[:2], first.means[:2])
    back = editing.swap(mixed, selection, first)
    assert torch.equal(back.means, first.means)
    with pytest.raises(InputError, match="has 4 queries of 2 Gaussians, expected 5 of 2"):
        editing.swap(first, selection, row(4))


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf")])
def test_senseless_scales_are_refused(factor):
    with pytest.raises(InputError, match="expected a factor above 0"):
        editing.scale(row(), editing.select_ids(row(), [0]), factor)


def test_nothing_selected_changes_nothing():
    gaussians = row()
    nothing = editing.select_ids(gaussians, [])
    for edited in (
        editing.scale(gaussians, nothing, 2),
        editing.recolor(gaussians, nothing, (1, 1, 1)),
        editing.delete(gaussians, nothing),
    ):
        assert all(torch.equal(getattr(edited, n), getattr(gaussians, n)) for n in TENSORS)
