from __future__ import annotations

import pytest

from sparsegen.errors import InputError
from sparsegen.models import ModelConfig
from sparsegen.models.presets import preset
from sparsegen.training.config import compose_config, config_text, load_config, save_config, seconds

ENOUGH = ["data.train=a.pack", "max_time=30m"]


@pytest.mark.parametrize("name", ["tiny", "base", "paper", "pixel_aligned", "pixel_aligned_tiny"])
def test_model_is_chosen_by_name(name):
    assert compose_config([*ENOUGH, f"model={name}"]).model == preset(name)


def test_overrides_reach_every_group():
    config = compose_config(
        [*ENOUGH, "lr=3e-4", "loss.ssim=0.2", "model.num_queries=64", "model.head.max_scale=0.2",
         "sampling.clean_probabilities=[0,1]", "multipliers={image_encoder:0.1,heads:2}"]
    )  # fmt: skip
    assert config.optimizer.lr == 3e-4  # a bare name will do where one group has it
    assert config.loss.ssim == 0.2
    assert isinstance(config.model, ModelConfig)
    assert (config.model.num_queries, config.model.head.max_scale) == (64, 0.2)
    assert config.sampling.clean_probabilities == [0, 1]
    assert config.optimizer.multipliers == {"image_encoder": 0.1, "heads": 2.0}


def test_the_papers_recipe_is_the_preset():
    """The figures of the reference's configuration; its L2 is on [-1, 1], ours on [0, 1]."""
    config = compose_config([*ENOUGH, "model=paper"])
    loss = config.loss
    assert (loss.image, loss.perceptual, loss.ssim, loss.alpha) == (4.0, 0.1, 0.1, 0.1)
    assert (loss.offset, loss.offset_limit, loss.gradient, loss.scale) == (0.05, 0.1, 0.0, 0.0)
    assert (loss.intermediate, loss.intermediate_views) == (1.0, config.sampling.views)
    assert (config.optimizer.lr, config.batch_size, *config.optimizer.betas) == (2e-5, 16, 0.9, 0.99)
    assert config.sampling.clean_probabilities[0] == 0.2  # "hard" batches


def test_saved_configuration_comes_back(tmp_path):
    config = compose_config([*ENOUGH, "model=base", "seed=7"])
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


def test_settings_can_be_read_before_a_run_is_complete():
    assert "num_queries: 512" in config_text(["model=base"])


def test_matrices_that_are_cut_up_are_no_matter_for_muon():
    with pytest.raises(InputError, match="FSDP cuts matrices up"):
        compose_config([*ENOUGH, "matrices=muon", "strategy=fsdp"])


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("lrr=1", r"^lrr: no such setting; the nearest are optimizer\.lr"),
        ("sampling.view=3", r"^sampling\.view: .*sampling\.views"),
        ("width=3", r"^width: .*model\.image_encoder\.width, model\.width"),
        ("lr=fast", r"^optimizer\.lr=fast: .*Float"),
        ("batch_size=0", r"^batch_size=0: expected at least 1"),
        ("max_steps=0", r"^max_steps=0: expected at least 1"),
        ("checkpoints_kept=0", r"^checkpoints_kept=0: expected at least 1"),
        ("bad_steps=0", r"^bad_steps=0: expected at least 1"),
        ("batch_size=1.5", r"^batch_size=1\.5: .*Integer"),
        ("model=huge", r"^model=huge: expected one of base, paper, pixel_aligned, pixel_aligned_tiny, tiny"),
        ("max_time=soon", r"^max_time=soon: expected a duration such as 90s"),
        ("sitting=", r"^sitting=: expected a duration"),
        ("anchors=cube", r"^anchors=cube: expected hull, model or fixed_random"),
        ("matrices=shampoo", r"^optimizer\.matrices=shampoo: expected adamw or muon"),
        ("name=[1,", r"^name=\[1,: "),
        ("max_time", r"^max_time: expected KEY=VALUE"),
        ("num_queries=0", r"^num_queries=0: expected at least 1"),
        ("anchor_sampling=no", r"^anchor_sampling=no: expected off, anchors or gaussians"),
        ("flow=maybe", r"^model\.flow=maybe: "),
        ("position_encoding=3x", r"^position_encoding=3x: "),
        ("rough_probability=2", r"^sampling\.rough_probability=2: expected a share"),
        ("data.clutter=things", r"^data\.clutter: only rough cut-outs .* set sampling\.rough_probability"),
        ("+extra=1", r"^\+extra: no such setting"),
    ],
)
def test_bad_settings_are_named_in_one_line(override, expected):
    with pytest.raises(InputError, match=expected) as caught:
        compose_config([*ENOUGH, override])
    assert "\n" not in str(caught.value)


def test_shuffled_inputs_cannot_be_rough():
    with pytest.raises(InputError, match=r"^sampling\.rough_probability: shuffled"):
        compose_config([*ENOUGH, "shuffled_inputs=true", "rough_probability=0.5"])


def test_a_run_needs_data_and_an_end():
    with pytest.raises(InputError, match=r"data\.train"):
        compose_config(["max_time=1m"])
    with pytest.raises(InputError, match="max_steps"):
        compose_config(["data.train=a.pack"])


def test_durations():
    assert seconds("x", "1h30m") == 5400
    assert seconds("x", "90s") == 90
    assert seconds("x", "1.5m") == 90
    assert seconds("x", None) is None
