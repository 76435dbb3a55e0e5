"""A grown network is larger, and at first the same function."""

from dataclasses import replace

import pytest
import torch

from networks import build, small, some_views
from sparsegen.errors import InputError
from sparsegen.models import growth, presets
from sparsegen.models.growth import grow, grows
from sparsegen.models.pretrained import save_pretrained
from sparsegen.training.run import _started_from


def trained(**changes):
    """A network in which every weight matters, as training leaves it."""
    model = build(small(**changes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def larger(config, factor=2):
    return replace(
        config,
        width=factor * config.width,
        heads=factor * config.heads,
        feed_forward=factor * config.feed_forward,
        sharp_width=factor * config.sharp_width,
        detail_blocks=config.detail_blocks + 1,
        corrections=config.corrections + 1,
        image_encoder=replace(config.image_encoder, depth=config.image_encoder.depth + 2),
    )


def gaussians(model, views):
    g = model(views, torch.zeros(views.images.shape[:2]))[-1]
    return torch.cat([g.means, g.quats, g.scales, g.opacities[..., None], g.colors], dim=-1)


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("changes", [{}, {"symmetric": False}, {"feedback": False, "slopes": False}])
def test_a_grown_network_computes_the_same(factor, changes):
    model = trained(**changes)
    grown = grow(model, larger(model.config, factor))
    assert sum(p.numel() for p in grown.parameters()) > sum(p.numel() for p in model.parameters())
    with torch.no_grad():
        torch.testing.assert_close(
            gaussians(grown, some_views()), gaussians(model, some_views()), rtol=0, atol=1e-3
        )


def test_every_picture_and_query_still_counts_as_before():
    """Agreement is no accident of one input: fewer queries of another picture agree as well."""
    model = trained()
    grown = grow(model, larger(model.config))
    views, times = some_views(seed=7), torch.full((2, 3), 0.3)
    with torch.no_grad():
        one, other = (net(views, times, queries=3)[-1].means for net in (model, grown))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("uneven", "alike"), [(growth._UNEVEN, False), (0.0, True)])
def test_copies_part_only_when_their_shares_are_uneven(monkeypatch, uneven, alike):
    monkeypatch.setattr(growth, "_UNEVEN", uneven)
    model = trained()
    grown = grow(model, larger(model.config))
    gaussians(grown, some_views()).square().sum().backward()
    gradient = grown.get_parameter("decoder.0.feed_forward.rise.weight").grad
    assert gradient is not None
    first, second = gradient.chunk(2)
    assert torch.allclose(first, second, rtol=1e-3, atol=1e-6) == alike


def test_tiny_grows_to_wide():
    assert grows(presets.tiny(), presets.wide())
    assert not grows(presets.tiny(), presets.tiny())
    growth._check(presets.tiny(), presets.wide())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_queries": 12}, "what can grow is"),
        ({"heads": 4}, "expected the same multiple"),
        ({"sharp_width": 40}, "expected a multiple of 32"),
        ({"detail_blocks": 1}, "no fewer than before"),
        ({"corrections": 1}, "no fewer than before"),
    ],
)
def test_what_cannot_grow_is_named(changes, says):
    model = build(small())
    wanted = replace(larger(model.config), **changes)
    with pytest.raises(InputError, match=says):
        grow(model, wanted)


def test_a_new_correction_reads_as_the_one_before_and_learns_at_once():
    model = trained()
    grown = grow(model, replace(model.config, corrections=model.config.corrections + 1))
    *_, before, new = grown.correctors
    for name, weight in new.named_parameters():
        assert (
            (weight == 0).all() if name == "net.3.weight" else torch.equal(weight, before.get_parameter(name))
        )
    gaussians(grown, some_views()).square().sum().backward()
    gradient = new.get_parameter("net.3.weight").grad
    assert gradient is not None
    assert gradient.abs().max() > 0
    with pytest.raises(InputError, match="corrections: expected some before"):
        grow(build(small(corrections=0)), small(corrections=1))


def test_training_says_which_weights_it_cannot_start_from(tmp_path):
    save_pretrained(build(small()), tmp_path)
    with pytest.raises(InputError, match=rf"init={tmp_path}: width=16, .* expected the same multiple of 32"):
        _started_from(tmp_path, small(width=16))
    grown = _started_from(tmp_path, larger(small()))
    assert grown.config == larger(small())
