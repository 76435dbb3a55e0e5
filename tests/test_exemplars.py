"""Exemplars: pictures survive the disk, the right one is chosen and repainted, and samples differ."""

import json

import numpy as np
import pytest
import torch

from networks import build, small
from sparsegen import exemplars
from sparsegen.cameras import orbit
from sparsegen.cli.main import main
from sparsegen.data.packed import Viewsets, save_packed
from sparsegen.errors import InputError
from sparsegen.exemplars import Exemplars, guide, match, save_exemplars
from sparsegen.gaussians import Gaussians
from sparsegen.generation import Pipeline
from sparsegen.models.pretrained import save_pretrained
from sparsegen.splatting import render
from sparsegen.views import Views

SIZE = 32


def bar(length, color, rear):
    """A row of balls along x; the last, behind, has a color of its own."""
    x = torch.linspace(-0.4, 0.4, 9)[:, None] * length
    colors = torch.tensor([color]).repeat(9, 1)
    colors[0] = torch.tensor(rear)
    return Gaussians(
        means=torch.cat([x, torch.zeros(9, 2)], dim=1),
        quats=torch.tensor([1.0, 0, 0, 0]).expand(9, 4),
        scales=torch.full((9, 3), 0.07),
        opacities=torch.full((9,), 0.95),
        colors=colors,
        expansion=1,
    )


def viewsets(bars, views=6):
    cameras = orbit(views, elevation=0.3, size=SIZE)
    drawn = [render(b, cameras, background=None) for b in bars]
    alpha = torch.stack([d.alpha for d in drawn])[:, :, None]
    straight = torch.stack([d.rgb for d in drawn]) / alpha.clamp_min(1e-3)
    rgba = (255 * torch.cat([straight.clamp(0, 1), alpha], dim=2)).round().byte().movedim(2, -1)
    many = cameras[None].expand(len(bars), views)
    return Viewsets(rgba.numpy(), many, [str(i) for i in range(len(bars))])


BARS = [bar(length, [0.2, 0.3, 0.8], [0.9, 0.1, 0.1]) for length in (0.4, 0.6, 0.8, 1.0, 1.2)]


def seen_from_the_front(shape):
    camera = orbit(1, elevation=0.3, size=SIZE)
    return Views(render(shape, camera, depth=False).rgb[None], camera[None])


@pytest.mark.parametrize("objects", [1, 5, 7])
def test_pictures_and_cameras_survive_the_disk(tmp_path, objects):
    data = viewsets((BARS * 2)[:objects])
    save_exemplars(data, tmp_path)
    found = Exemplars(tmp_path / "exemplars").viewsets
    assert len(found) == objects
    np.testing.assert_array_equal(found.images[..., 3], data.images[..., 3])
    everything = np.tile(np.arange(6), (objects, 1))
    a, b = (x.views(np.arange(objects), everything).images for x in (found, data))
    assert -10 * (a - b).square().mean().log10() > 33
    torch.testing.assert_close(found.cameras.viewmats, data.cameras.viewmats, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.cameras.Ks, data.cameras.Ks)


def test_the_exemplar_of_the_same_shape_comes_first_whatever_its_paint(monkeypatch):
    monkeypatch.setattr(exemplars, "POOL", 1)
    ours = bar(0.8, [0.7, 0.6, 0.1], [0.1, 0.1, 0.1])
    found = guide(match(viewsets(BARS), seen_from_the_front(ours), ours), seed=0, index=0)
    expected = guide(match(viewsets(BARS[2:3]), seen_from_the_front(ours), ours), seed=0, index=0)
    torch.testing.assert_close(found.noised.images, expected.noised.images)


def test_a_guide_shows_the_far_side_in_our_paint_on_the_flows_way(monkeypatch):
    monkeypatch.setattr(exemplars, "TIMES", (1e-4,))
    ours = bar(0.8, [0.7, 0.6, 0.1], [0.7, 0.6, 0.1])
    views = seen_from_the_front(ours)
    theirs = bar(0.8, [0.2, 0.3, 0.8], [0.2, 0.3, 0.8])
    noised, times = guide(match(viewsets([theirs]), views, ours), seed=0, index=0)
    assert times == (1e-4,)
    direction = torch.nn.functional.normalize(noised.cameras.centers[0, 0], dim=0)
    assert direction @ torch.nn.functional.normalize(views.cameras.centers[0, 0], dim=0) < -0.6
    truth = render(ours, noised.cameras[0], depth=False).rgb[0]
    foreign = render(theirs, noised.cameras[0], depth=False).rgb[0]
    error = (noised.images[0, 0] - truth).square().mean()
    assert error < 0.1 * (foreign - truth).square().mean()


def test_noise_is_mixed_in_by_the_flows_rule(monkeypatch):
    ours, data = BARS[2], viewsets(BARS[2:3])
    views = seen_from_the_front(ours)
    clean, noised = [], guide(match(data, views, ours), seed=3, index=4)
    for time in (1e-6, 1 - 1e-6):
        monkeypatch.setattr(exemplars, "TIMES", (time,))
        clean.append(guide(match(data, views, ours), seed=3, index=4).noised.images)
    t = noised.times[0]
    torch.testing.assert_close(noised.noised.images, (1 - t) * clean[0] + t * clean[1], atol=1e-4, rtol=0)
    noise = (clean[1] - 0.5) / 0.5
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 1) < 0.05


def test_guides_of_one_seed_come_from_different_exemplars_and_depend_on_the_seed():
    data, ours = viewsets(BARS), BARS[1]
    views = seen_from_the_front(ours)
    order = {
        seed: exemplars._order(torch.tensor([0.3, 0.1, 0.2, 0.5, 0.4]), seed).tolist() for seed in range(5)
    }
    assert all(sorted(o) == [0, 1, 2, 3, 4] for o in order.values())
    assert len({tuple(o) for o in order.values()}) > 1
    pictures = [guide(match(data, views, ours), seed=0, index=i).noised.images for i in range(6)]
    assert all((a - b).abs().max() > 0.05 for i, a in enumerate(pictures) for b in pictures[:i])


@pytest.fixture
def pipeline(tmp_path):
    save_pretrained(build(small()), tmp_path / "model", torch.float32)
    save_exemplars(viewsets(BARS), tmp_path / "model")
    return Pipeline.from_pretrained(tmp_path / "model", "cpu")


def test_samples_after_exemplars_differ_and_the_first_is_the_networks_own(pipeline):
    views = seen_from_the_front(BARS[1])
    first, second, third = pipeline(views, samples=3)
    torch.testing.assert_close(first.means, pipeline(views)[0].means)
    for a, b in ((first, second), (first, third), (second, third)):
        assert (a.colors - b.colors).abs().max() > 1e-4
    again = pipeline.sample(2, views)
    torch.testing.assert_close(third.means, again.means, rtol=0, atol=0)
    fewer = pipeline.sample(2, views, queries=3)
    assert fewer.count == third.count // 2


def test_what_samples_share_is_computed_once_for_an_object_and_anew_for_another(pipeline, monkeypatch):
    views, others = seen_from_the_front(BARS[1]), seen_from_the_front(BARS[4])
    calls = []
    monkeypatch.setattr(exemplars, "match", lambda *inputs: calls.append(inputs) or match(*inputs))
    alone = Pipeline(pipeline.model, exemplars=Exemplars(pipeline.exemplars.folder)).sample(2, others)
    calls.clear()
    pipeline(views, samples=4)
    assert len(calls) == 1
    same = Views(views.images.clone(), views.cameras)
    pipeline.sample(1, same)
    assert len(calls) == 1
    torch.testing.assert_close(pipeline.sample(2, others).means, alone.means, rtol=0, atol=0)
    assert len(calls) == 2


def test_no_sample_depends_on_one_of_another_seed_before_it(pipeline):
    """Not even where the network needs noise to look at the object."""
    views = seen_from_the_front(BARS[1])
    needy, folder = build(small(needs_placeholders=True)), pipeline.exemplars.folder
    alone = Pipeline(needy, exemplars=Exemplars(folder)).sample(1, views, seed=3)
    after = Pipeline(needy, exemplars=Exemplars(folder))
    after.sample(1, views, seed=8)
    torch.testing.assert_close(after.sample(1, views, seed=3).means, alone.means, rtol=0, atol=0)


@pytest.mark.usefixtures("pipeline")
def test_damaged_exemplars_are_named_when_they_are_asked_for(tmp_path):
    views = seen_from_the_front(BARS[1])
    folder = tmp_path / "model" / "exemplars"
    known = json.loads((folder / "cameras.json").read_text())
    known["size"] = [16, 16]
    (folder / "cameras.json").write_text(json.dumps(known))
    with pytest.raises(InputError, match="sparsegen data exemplars"):
        Pipeline.from_pretrained(tmp_path / "model", "cpu").sample(1, views)
    (folder / "cameras.json").write_text("{}")
    with pytest.raises(InputError, match=r"exemplars.*sparsegen data exemplars"):
        Pipeline.from_pretrained(tmp_path / "model", "cpu").sample(1, views)


@pytest.mark.usefixtures("pipeline")
def test_the_command_puts_a_datasets_first_objects_beside_the_model(tmp_path, capsys):
    save_packed(viewsets(BARS), tmp_path / "bars.pack")
    argv = ["data", "exemplars", str(tmp_path / "bars.pack"), str(tmp_path / "model")]
    assert main([*argv, "-n", "3", "--views", "4"]) == 0
    assert "3 objects with 4 views each" in capsys.readouterr().out
    assert Exemplars(tmp_path / "model" / "exemplars").viewsets.images.shape == (3, 4, SIZE, SIZE, 4)
    assert main([*argv[:3], str(tmp_path / "nothing")]) == 2
    assert main([*argv, "-n", "0"]) == 2
    assert "--objects" in capsys.readouterr().err
