"""The settings of a training run: one typed schema, YAML defaults, overrides on the command line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sparsegen.data.sampling import SamplingConfig
from sparsegen.errors import InputError
from sparsegen.formats.files import atomic_path
from sparsegen.models import ModelConfig, NetworkConfig
from sparsegen.models.presets import PRESETS, preset
from sparsegen.models.pretrained import config_class
from sparsegen.training.losses import LossConfig, picture_terms
from sparsegen.training.optimization import MATRICES, OptimizerConfig
from sparsegen.training.validation import ValidationConfig

_CONFIGS = Path(__file__).parent.parent / "configs"


@dataclass
class DataConfig:
    """Packed viewset files or SRN folders; without `val` a run is not validated. `backgrounds` and `clutter`
    are folders of photographs and of cut-out pictures of other things, for rough cut-outs."""

    train: str = MISSING
    val: str | None = None
    backgrounds: str | None = None
    clutter: str | None = None
    strict: bool = False  # a broken object stops the run instead of being left out


@dataclass
class TrainConfig:
    """Everything that defines a run. Durations read like 90s, 30m, 2h or 1h30m.

    The run ends after `max_steps` steps or `max_time` on the clock, counted across resumes, whichever
    comes first, and the learning rate falls over that span. `sitting` ends this process earlier, with a
    checkpoint and without touching the schedule.
    """

    name: str = "run"
    runs: str = "runs"
    resume: bool = True
    init: str | None = None  # pretrained folder to start from instead of fresh weights
    seed: int = 0
    max_time: str | None = None
    max_steps: int | None = None
    sitting: str | None = None
    batch_size: int = 8
    # "hull": inside the training set's alpha hull; "model": as the model draws them; "fixed_random": anywhere
    # in the cube, and never trained
    anchors: str = "hull"
    position_encoding: bool = True  # of the image tokens
    self_conditioning_probability: float = 0.5
    elastic_probability: float = 0.0  # share of steps that use a random prefix of the anchor queries
    ema_decay: float = 0.999
    device: str = "auto"  # auto, cpu, cuda
    devices: int = 1  # processes on each machine, which share a batch
    nodes: int = 1  # machines
    strategy: str = "auto"  # auto: ddp where there are several processes; ddp; fsdp: each holds a slice
    precision: str = "auto"  # auto: bfloat16 where the hardware has it; float32, bfloat16
    compile: bool = False  # the transformer layers by torch.compile, which needs a C++ compiler on a CPU
    log_every: int = 50  # steps
    checkpoint_every: str = "5m"
    checkpoints_kept: int = 2
    bad_steps: int = 20  # a run stops after so many skipped steps in a row
    explosion: float = 20.0  # a loss above this multiple of its running mean skips the step
    data: DataConfig = field(default_factory=DataConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    model: NetworkConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)


def seconds(name: str, text: str | None) -> float | None:
    """The length of a duration such as 90s, 30m, 2h or 1h30m; None stays None."""
    if text is None:
        return None
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", text)
    if not text or match is None:
        raise InputError(f"{name}={text}: expected a duration such as 90s, 30m, 2h or 1h30m")
    return sum(float(part or 0) * unit for part, unit in zip(match.groups(), (3600, 60, 1), strict=True))


def compose_config(overrides: Sequence[str] = ()) -> TrainConfig:
    """`configs/train.yaml` with overrides such as `model=tiny` or `lr=3e-4` applied.

    Raises `InputError` that names the override and the nearest valid keys.
    """
    composed = _compose(overrides)
    if OmegaConf.is_missing(composed.data, "train"):
        raise InputError("data.train is not set: name the training set, as in data.train=cars_train.pack")
    config = OmegaConf.to_object(composed)
    assert isinstance(config, TrainConfig)
    _check_values(config)
    return with_ablations(config)


def with_ablations(config: TrainConfig) -> TrainConfig:
    """The configuration with everything set that the paper's ablation switches imply."""
    model, sampling = config.model, config.sampling
    if not config.position_encoding:
        model = model.without_position_encoding()
    if model.flow:
        return replace(config, model=model)
    clean = [0.0, *sampling.clean_probabilities[1:]]
    if not sum(clean):
        raise InputError(
            f"flow=off: sampling.clean_probabilities is {sampling.clean_probabilities}, but without the flow "
            "every batch needs a clean view"
        )
    clean = [share / sum(clean) for share in clean]
    sampling = replace(sampling, clean_probabilities=clean, noised_probabilities=[1.0])
    return replace(config, model=model, sampling=sampling, self_conditioning_probability=0.0)


def _compose(overrides: Sequence[str]) -> DictConfig:
    store = ConfigStore.instance()
    store.store(name="schema", node=_thawed(TrainConfig(model=NetworkConfig())))  # the preset says which
    for name in PRESETS:
        store.store(group="preset", name=name, node=_thawed(preset(name)))
    with initialize_config_module("sparsegen.configs", version_base="1.3"):
        chosen = [override for override in overrides if _chooses_model(override)]
        known = set(_keys(compose("train", chosen)))
        qualified = [_qualified(override, known) for override in overrides]
        try:
            return compose("train", qualified)
        except (HydraException, OmegaConfBaseException) as error:
            raise InputError(_reason(error, qualified)) from error


def config_text(overrides: Sequence[str] = ()) -> str:
    """All settings as YAML, for reading."""
    return OmegaConf.to_yaml(_compose(overrides))


def save_config(config: TrainConfig, path: Path) -> None:
    """Write the whole configuration as YAML."""
    with atomic_path(path) as temporary:
        OmegaConf.save(OmegaConf.structured(config), temporary)


def load_config(path: Path) -> TrainConfig:
    """The configuration that `save_config` wrote."""
    stored = OmegaConf.load(path)
    schema = TrainConfig(model=config_class(stored.model, path)())
    config = OmegaConf.to_object(OmegaConf.merge(_thawed(schema), stored))
    assert isinstance(config, TrainConfig)
    return config


def _thawed(schema: Any) -> DictConfig:
    """A structured config whose frozen dataclasses can be overridden; they are frozen again as objects."""
    config = OmegaConf.structured(schema)
    for node in _nodes(config):
        OmegaConf.set_readonly(node, None)
        if OmegaConf.get_type(node) is dict:  # whose keys are the user's
            OmegaConf.set_struct(node, False)
    return config


def _nodes(config: DictConfig) -> Iterator[DictConfig]:
    yield config
    for key in config:
        child = _value(config, key)
        if isinstance(child, DictConfig):
            yield from _nodes(child)


def _check_values(config: TrainConfig) -> None:
    for name in ("max_time", "sitting", "checkpoint_every"):
        seconds(name, getattr(config, name))
    seconds("validation.every", config.validation.every)
    if config.max_time is None and config.max_steps is None:
        raise InputError("the run has no end: set max_time=30m or max_steps=10000")
    for name in ("max_steps", "batch_size", "log_every", "checkpoints_kept", "bad_steps"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise InputError(f"{name}={value}: expected at least 1")
    if config.anchors not in ("hull", "model", "fixed_random"):
        raise InputError(f"anchors={config.anchors}: expected hull, model or fixed_random")
    if config.optimizer.matrices not in MATRICES:
        raise InputError(f"optimizer.matrices={config.optimizer.matrices}: expected {' or '.join(MATRICES)}")
    if config.optimizer.matrices == "muon" and config.strategy == "fsdp":
        raise InputError("optimizer.matrices=muon: FSDP cuts matrices up; expected strategy=ddp, or adamw")
    _check_rough_inputs(config)
    config.model.check()
    _check_queries(config)
    if not picture_terms(config.loss):
        raise InputError("loss: every term that looks at pictures is 0; give one of them a weight")


def _check_rough_inputs(config: TrainConfig) -> None:
    probability = config.sampling.rough_probability
    if not 0 <= probability <= 1:
        raise InputError(f"sampling.rough_probability={probability:g}: expected a share from 0 to 1")
    if probability and config.sampling.shuffled_inputs:
        raise InputError("sampling.rough_probability: shuffled inputs have no rough cut-outs; set it to 0")
    for name in ("backgrounds", "clutter"):
        if getattr(config.data, name) is not None and not probability:
            raise InputError(
                f"data.{name}: only rough cut-outs are made of it; set sampling.rough_probability, as to 0.35"
            )


def _check_queries(config: TrainConfig) -> None:
    """Settings of anchor queries need a network that has some."""
    asked = {
        "anchors": config.anchors != "model",
        "elastic_probability": config.elastic_probability > 0,
        "loss.offset": config.loss.offset > 0,
    }
    unfit = next((name for name, is_asked in asked.items() if is_asked), None)
    if unfit and not config.model.has_queries:
        raise InputError(f"{unfit}: a {config.model.kind} network has no anchor queries; leave it out")


def _qualified(override: str, known: set[str]) -> str:
    """The override with its full key: a leaf's bare name will do where only one group has it."""
    key, equals, value = override.partition("=")
    if not equals:
        raise InputError(f"{override}: expected KEY=VALUE, as in max_time=30m")
    try:
        OverridesParser.create().parse_override(override)
    except HydraException as error:
        raise InputError(
            f"{override}: not a value that can be read; quote it, as in 'name=\"a b\"'"
        ) from error
    if key in known or _chooses_model(override):
        return override
    leaves = sorted(name for name in known if name.rpartition(".")[2] == key)
    if len(leaves) == 1:
        return f"{leaves[0]}={value}"
    nearest = leaves or _nearest(key, known)
    raise InputError(f"{key}: no such setting; the nearest are {', '.join(nearest)}")


def _chooses_model(override: str) -> bool:
    """Whether it is `model=NAME`, where NAME must be one of `configs/model`."""
    key, _, value = override.partition("=")
    choices = sorted(path.stem for path in (_CONFIGS / "model").glob("*.yaml"))
    if key == "model" and value not in choices:
        raise InputError(f"model={value}: expected one of {', '.join(choices)}")
    return key == "model"


def _nearest(key: str, known: set[str]) -> list[str]:
    """The three keys most like this one, compared whole and without their groups."""

    def likeness(name: str) -> float:
        leaf = name.rpartition(".")[2]
        return max(difflib.SequenceMatcher(None, key, text).ratio() for text in (name, leaf))

    return sorted(sorted(known), key=likeness, reverse=True)[:3]


def _keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in config:
        value = _value(config, key)
        yield f"{prefix}{key}"
        if isinstance(value, DictConfig):
            yield from _keys(value, f"{prefix}{key}.")


def _value(config: DictConfig, key: Any) -> Any:
    """None for one that has still to be set."""
    return None if OmegaConf.is_missing(config, key) else config[key]


def _reason(error: Exception, overrides: Sequence[str]) -> str:
    """One line out of an error of Hydra's: the reason, and the override that it names."""
    lines = [line.strip() for line in f"{error}\n{error.__cause__ or ''}".splitlines() if line.strip()]
    key = next((line.partition(":")[2].strip() for line in lines if line.startswith("full_key:")), None)
    culprit = next((o for o in overrides if key and o.startswith(f"{key}=")), None)
    culprit = culprit or next((o for o in overrides if o in lines[0]), "configuration")
    reason = next((line for line in lines if "Error merging" not in line), lines[0])
    return f"{culprit}: {reason}"
