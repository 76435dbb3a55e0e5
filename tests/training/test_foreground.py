"""Training of the foreground network: that it learns, from where it begins, and what its command says."""

from dataclasses import replace

import pytest
import torch
from discs import striped_discs

from sparsegen.cli.main import main
from sparsegen.data.packed import save_packed
from sparsegen.formats.images import save_image
from sparsegen.models.foreground import ForegroundConfig, ForegroundNet
from sparsegen.models.pretrained import SHIPPED_WEIGHTS, load_foreground_net, save_pretrained
from sparsegen.training.foreground import ForegroundTraining, overlaps, train_foreground
from sparsegen.training.scenes import Scenery, load_photographs


def test_a_new_network_begins_with_the_shipped_trunk():
    """Its first stages stay as they are; the others, and what is behind them, learn."""
    shipped = load_foreground_net(SHIPPED_WEIGHTS)
    assert shipped is not None
    net = train_foreground(Scenery(striped_discs()), ForegroundTraining(steps=2, batch_size=2))
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
    before = overlaps(net, striped_discs()).median()
    train_foreground(Scenery(striped_discs()), ForegroundTraining(steps=240, batch_size=12), start=net)
    after = overlaps(net, striped_discs()).median()
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
