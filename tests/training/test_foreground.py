"""Training of the foreground network: what its pictures are made of, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sparsegen.cameras import on_sphere
from sparsegen.cli.main import main
from sparsegen.data.packed import Viewsets, save_packed
from sparsegen.formats.images import save_image
from sparsegen.models.foreground import ForegroundConfig, ForegroundNet
from sparsegen.models.pretrained import load_foreground_net, save_pretrained
from sparsegen.training.foreground import (
    ForegroundTraining,
    foreground_batch,
    load_photographs,
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
    made = [foreground_batch(striped_discs(), recipe, 0, [gray], 48) for gray in grays]
    (dark, alpha), (light, same) = made
    assert torch.equal(alpha, same)
    inside, outside = alpha > 0.999, alpha < 0.001
    differ = (dark - light).abs().amax(1)
    # Blurred pictures mix a pixel with its neighbours.
    assert (differ[inside] > 1e-3).float().mean() < 0.1
    changed = torch.stack([(d > 0.3)[o].float().mean() for d, o in zip(differ, outside, strict=True)])
    assert 4 <= (changed > 0.5).sum() <= 12  # every second one stands before a photograph
    shares = inside.float().mean((1, 2))
    assert (shares > 0.02).float().mean() > 0.9
    assert shares.max() < 0.8


def test_it_learns_to_find_objects():
    torch.manual_seed(0)
    net = ForegroundNet(ForegroundConfig(size=32, width=8))
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
    command = ["foreground", data, "-o", str(model), "--steps", "2", "--val", data]
    assert main([*command, "--init", str(model), "--backgrounds", str(tmp_path / "photos")]) == 0
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
