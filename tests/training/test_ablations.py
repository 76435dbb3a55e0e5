"""The paper's ablation switches, as given on the command line, each change what they name and only that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from balls import ball_viewsets
from small import NETWORK

from sparsegen.errors import InputError
from sparsegen.generation import Pipeline
from sparsegen.models import SparseGen
from sparsegen.training.config import compose_config, load_config, save_config
from sparsegen.training.devices import build_fabric
from sparsegen.training.run import fresh_model
from sparsegen.training.trainer import Trainer

SMALL = [*NETWORK, "data.train=balls.pack", "max_steps=4", "batch_size=2", "device=cpu", "lr=1e-2"]
COLORS = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.2, 0.9]])


def model_of(*switches: str) -> SparseGen:
    config = compose_config([*SMALL, *switches])
    torch.manual_seed(0)
    model = fresh_model(config, ball_viewsets(COLORS))
    assert isinstance(model, SparseGen)
    return model


def trained(tmp_path: Path, *switches: str, steps: int = 2) -> Trainer:
    config = replace(compose_config([*SMALL, *switches]), runs=str(tmp_path))
    data = ball_viewsets(COLORS)
    torch.manual_seed(0)
    trainer = Trainer(config, fresh_model(config, data), build_fabric("cpu", "float32"), tmp_path, data)
    trainer.fit(steps=steps)
    return trainer


def test_without_flow_there_is_no_noise_and_no_time(tmp_path):
    trainer = trained(tmp_path, "flow=off")
    for step in range(20):
        batch = trainer.sampler.batch(step, 2 * step)
        assert batch.noised == 0
        assert batch.clean >= 1
        assert (batch.times == 0).all()
    # Nor when it generates: noise of another seed changes nothing, and a picture is needed.
    picture = trainer.sampler.batch(0, 0).targets.select([0]).objects([0])
    pipeline = Pipeline(trainer.model.eval())
    first, second = (pipeline(picture, seed=seed)[0].means for seed in (0, 1))
    assert torch.equal(first, second)
    with pytest.raises(InputError, match="without the flow"):
        pipeline(None)
    noisy = Pipeline(model_of().eval())
    first, second = (noisy(picture, steps=2, seed=seed)[0].means for seed in (0, 1))
    assert not torch.equal(first, second)


def test_without_flow_the_hard_batches_are_dropped_and_the_rest_keeps_its_shares(tmp_path):
    config = compose_config([*SMALL, "flow=off", "sampling.clean_probabilities=[0.2,0.3,0.5]"])
    assert config.sampling.clean_probabilities == pytest.approx([0, 0.375, 0.625])
    assert config.self_conditioning_probability == 0
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config
    with pytest.raises(InputError, match=r"flow=off: .* needs a clean view"):
        compose_config([*SMALL, "flow=off", "sampling.clean_probabilities=[1]"])


def test_without_position_encoding_image_tokens_do_not_know_their_place():
    """Cameras then reach the tokens only as ray channels of the pictures."""
    full, without = model_of(), model_of("position_encoding=off")
    cameras = ball_viewsets(COLORS).cameras[:, :2]
    assert full._positions(cameras) is not None
    assert without._positions(cameras) is None
    gone = {name for name, _ in full.named_parameters()} - {name for name, _ in without.named_parameters()}
    assert gone
    assert all(name.startswith("position_encoder.") for name in gone)


def test_fixed_random_anchors_fill_the_cube_and_stay(tmp_path):
    trainer = trained(tmp_path, "anchors=fixed_random", "num_queries=64", steps=3)
    assert isinstance(trainer.model, SparseGen)
    start = model_of("anchors=fixed_random", "num_queries=64")
    assert torch.equal(trainer.model.anchors, start.anchors)
    trained_weights, weights = (m.state_dict()["anchor_encoder.mlp.0.weight"] for m in (trainer.model, start))
    assert not torch.equal(trained_weights, weights)
    extent = trainer.model.anchors.detach().abs().amax(0)
    assert (extent > 0.8 * trainer.model.config.bound).all()  # far beyond balls of radius 0.3
    assert (model_of("num_queries=64").anchors.norm(dim=1) < 0.36).all()  # which hull anchors keep to
    # A resumed run keeps them, too.
    path = trainer.checkpoints.latest()
    assert path is not None
    again = trained(tmp_path / "again", "anchors=fixed_random", "num_queries=64", steps=0)
    assert isinstance(again.model, SparseGen)
    again.resume(path)
    again.fit(steps=1)
    assert torch.equal(again.model.anchors, start.anchors)


def test_the_number_of_queries_is_that_of_the_result():
    picture = ball_viewsets(COLORS).views(torch.tensor([0]), torch.tensor([[0]]))
    for queries in (8, 24):
        gaussians = Pipeline(model_of(f"num_queries={queries}").eval())(picture)[0]
        assert gaussians.means.shape == (queries * 4, 3)


def test_without_anchor_sampling_no_features_are_read_at_points():
    full, without = model_of(), model_of("anchor_sampling=off")
    assert full.sampling is not None
    assert without.sampling is None
    gone = {name for name, _ in full.named_parameters()} - {name for name, _ in without.named_parameters()}
    assert all(name.startswith(("sampling.", "sharp.", "correctors.")) for name in gone)
