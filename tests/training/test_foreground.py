"""Training of the foreground network: what its pictures are made of, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sparsegen.cameras import on_sphere
from sparsegen.cli.main import main
from sparsegen.data.packed import Viewsets, save_packed
from sparsegen.errors import InputError
from sparsegen.formats.images import save_image
from sparsegen.models.foreground import ForegroundConfig, ForegroundNet
from sparsegen.models.pretrained import SHIPPED_WEIGHTS, load_foreground_net, save_pretrained
from sparsegen.training.foreground import (
    ForegroundTraining,
    foreground_batch,
    load_photographs,
    load_things,
    overlaps,
    train_foreground,
)


def striped_discs(size=32):
    """Two discs with stripes, four pictures each."""
    images = np.zeros((2, 4, size, size, 4), np.uint8)
    row, column = np.mgrid[:size, :size]
    images[..., 3] = 255 * ((row - size / 2) ** 2 + (column - size / 2) ** 2 < (0.35 * size) ** 2)
    images[..., 0] = 255 * (row // 3 % 2)
    images[..., 1] = 255 * (column // 3 % 2)
    azimuth = torch.arange(4) * 1.5
    return Viewsets(images, on_sphere(azimuth, 0 * azimuth + 0.4, size=size).expand(2, 4), ["a", "b"])


def test_backgrounds_change_nothing_of_the_object():
    recipe, grays = ForegroundTraining(batch_size=16), (torch.full((3, 90, 70), x) for x in (0.1, 0.9))
    made = [foreground_batch(striped_discs(), recipe, 0, [gray], size=48) for gray in grays]
    (dark, alpha), (light, same) = made
    assert torch.equal(alpha, same)
    inside, outside = alpha > 0.999, alpha < 0.001
    differ = (dark - light).abs().amax(1)
    # Blurred pictures mix a pixel with its neighbours.
    assert (differ[inside] > 1e-3).float().mean() < 0.1
    changed = torch.stack([(d > 0.3)[o].float().mean() for d, o in zip(differ, outside, strict=True)])
    assert 6 <= (changed > 0.5).sum() <= 14  # two of three stand before a photograph
    shares = inside.float().mean((1, 2))
    assert (shares > 0.02).float().mean() > 0.8
    assert shares.max() < 0.8


def test_other_things_are_the_object_where_they_stand_instead():
    """Green things before and behind gray objects, and in a few pictures without those."""
    gray = replace(striped_discs(), images=np.where(np.arange(4) < 3, 128, striped_discs().images))
    thing = torch.zeros(4, 30, 30)
    thing[1], thing[3, 5:25, 5:25] = 1, 1
    pictures, alphas = foreground_batch(gray, ForegroundTraining(batch_size=64), 0, [], [thing], size=48)
    green = (pictures[:, 1] > 0.5) & (pictures[:, ::2].amax(1) < 0.2)
    assert (green.float().mean((1, 2)) > 0.02).float().mean() > 0.3
    # Of each picture's object, how much is green: all or nothing.
    inside = alphas > 0.8
    shares = (green & inside).sum((1, 2)) / inside.sum((1, 2))
    shares = shares[inside.sum((1, 2)) > 20]
    assert 2 <= (shares > 0.8).sum() <= 16
    assert (shares < 0.05).float().mean() > 0.7
    assert ((shares < 0.05) | (shares > 0.8)).float().mean() > 0.95


def test_things_are_cut_out_pictures_made_square(tmp_path):
    picture = torch.ones(4, 20, 300)
    picture[3, :, 150:] = 0
    save_image(tmp_path / "a.png", picture)
    (thing,) = load_things(tmp_path)
    assert thing.shape == (4, 192, 192)
    assert abs(float(thing[3].mean()) - 0.5 * 20 / 300) < 0.01
    assert thing[3, 96, 40] > 0.99
    save_image(tmp_path / "b.png", picture[:3])
    with pytest.raises(InputError, match=r"b\.png: has no alpha"):
        load_things(tmp_path)


def test_a_new_network_begins_with_the_shipped_trunk():
    """Its first stages stay as they are; the others, and what is behind them, learn."""
    shipped = load_foreground_net(SHIPPED_WEIGHTS)
    assert shipped is not None
    net = train_foreground(striped_discs(), ForegroundTraining(steps=2, batch_size=2))
    moved = [
        max((a - b).abs().max().item() for a, b in zip(mine.parameters(), theirs.parameters(), strict=True))
        for mine, theirs in zip(net.trunk, shipped.trunk, strict=True)
    ]
    assert moved[:2] == [0, 0]
    assert all(0 < each < 1e-3 for each in moved[2:])
    own, theirs = (each.get_parameter("last.1.weight") for each in (net, shipped))
    assert (own - theirs).abs().max() > 0.01


def test_it_learns_to_find_objects():
    torch.manual_seed(0)
    net, shipped = ForegroundNet(ForegroundConfig(size=32, width=8)), load_foreground_net(SHIPPED_WEIGHTS)
    assert shipped is not None
    net.trunk.load_state_dict(shipped.trunk.state_dict())
    before = overlaps(net, striped_discs(), batches=1).median()
    train_foreground(striped_discs(), ForegroundTraining(steps=120, batch_size=12), start=net)
    after = overlaps(net, striped_discs(), batches=1).median()
    assert after > 0.7
    assert after > before + 0.2


def test_the_command_leaves_a_network_in_the_models_folder(tmp_path, capsys):
    save_packed(striped_discs(), tmp_path / "discs.pack")
    model = tmp_path / "model"
    save_pretrained(ForegroundNet(ForegroundConfig(size=32, width=8)), model / "foreground")
    (model / "config.json").write_text('{"model": {}}')
    (tmp_path / "photos" / "more").mkdir(parents=True)
    save_image(tmp_path / "photos" / "more" / "a.png", torch.rand(3, 40, 900))
    assert load_photographs(tmp_path / "photos")[0].shape == (3, 34, 768)
    data, before = str(tmp_path / "discs.pack"), load_foreground_net(model)
    (tmp_path / "things").mkdir()
    save_image(tmp_path / "things" / "b.png", 0.5 * torch.ones(4, 40, 60))
    command = ["foreground", data, "-o", str(model), "--steps", "2", "--val", data, "--init", str(model)]
    more = ["--backgrounds", str(tmp_path / "photos"), "--clutter", str(tmp_path / "things")]
    assert main([*command, *more]) == 0
    assert "intersection over union" in capsys.readouterr().out
    after = load_foreground_net(model)
    assert after is not None
    assert before is not None
    assert not torch.equal(*(net.get_parameter("last.1.weight") for net in (before, after)))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--steps", "0"], "--steps: expected at least 1, found 0"),
        (["--init", "{folder}"], "holds no foreground network"),
        (["--backgrounds", "{folder}/empty"], "holds no pictures"),
        (["--clutter", "{folder}/empty"], "holds no pictures; give a folder of cut-out"),
        (["--val", "{folder}/opaque.pack"], "opaque.pack: its pictures have no alpha; the foreground"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, more, message):
    save_packed(striped_discs(), tmp_path / "discs.pack")
    save_packed(replace(striped_discs(), has_alpha=False), tmp_path / "opaque.pack")
    (tmp_path / "config.json").write_text('{"model": {}}')
    (tmp_path / "empty").mkdir()
    more = [argument.format(folder=tmp_path) for argument in more]
    assert main(["foreground", str(tmp_path / "discs.pack"), "-o", str(tmp_path), *more]) == 2
    assert message in capsys.readouterr().err
