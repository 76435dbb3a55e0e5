"""A training run as a whole: from a configuration to a run folder with weights to ship."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sparsegen.data.loading import load_viewsets
from sparsegen.data.packed import Viewsets
from sparsegen.errors import InputError
from sparsegen.formats.files import make_folder, writing
from sparsegen.models import ModelConfig, Network, NetworkConfig, SparseGen
from sparsegen.models.growth import grow, grows
from sparsegen.models.pretrained import (
    SHIPPED_WEIGHTS,
    load_foreground_net,
    load_pretrained,
    load_state,
    save_pretrained,
)
from sparsegen.training.anchors import EXTENT, hull_anchors
from sparsegen.training.checkpoints import CheckpointFolder, load_checkpoint
from sparsegen.training.config import TrainConfig, load_config, save_config
from sparsegen.training.dataset import load_training_set
from sparsegen.training.devices import build_fabric, leave_together, lost_peers
from sparsegen.training.logs import logger
from sparsegen.training.losses import picture_terms
from sparsegen.training.objective import ELASTIC_MIN_SHARE, has_idle_parameters, prefix_size
from sparsegen.training.rough_cutouts import RoughInputs
from sparsegen.training.scenes import load_scenery
from sparsegen.training.trainer import Trainer

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def train(config: TrainConfig) -> str:
    """Start or continue the run `runs/<name>` and train until it ends; returns why, as `Trainer.fit`.

    The folder gets `config.yaml`, `checkpoints/`, `log.jsonl`, `tensorboard/` and, when the run is
    finished, the averaged weights under `weights/`.
    """
    folder = Path(config.runs) / config.name
    latest = CheckpointFolder(folder / "checkpoints").latest()
    if latest is not None and not config.resume:
        raise InputError(
            f"{folder}: holds a run already; choose another name= or continue it with resume=true"
        )
    make_folder(folder)
    train_set = load_training_set(config.data.train, config.data.strict)
    val_set = None if config.data.val is None else load_viewsets(config.data.val)
    for source, viewsets in ((config.data.train, train_set), (config.data.val, val_set)):
        if viewsets is not None:
            _check_size(str(source), viewsets, config.model.image_size)
    if not picture_terms(config.loss, train_set.has_alpha):
        raise InputError(
            f"{config.data.train}: has no alphas, which loss.alpha={config.loss.alpha:g} alone looks at; "
            "give another term that looks at pictures a weight, as in loss.image=1"
        )
    # Only now the processes of the run: a mistake above is told once.
    fabric = build_fabric(
        config.device,
        config.precision,
        config.devices,
        config.strategy,
        config.nodes,
        has_idle_parameters(config),
    )
    if not fabric.is_global_zero:  # one process speaks for all
        logging.getLogger("sparsegen").setLevel(logging.ERROR)
    with lost_peers(fabric, folder):
        ended = _train(config, fabric, folder, latest, train_set, val_set)
        leave_together(fabric)
    return ended


def _train(
    config: TrainConfig,
    fabric: Fabric,
    folder: Path,
    latest: Path | None,
    train_set: Viewsets,
    val_set: Viewsets | None,
) -> str:
    """The part of a run that each of its processes goes through."""
    torch.manual_seed(config.seed)
    model = fresh_model(config, train_set) if latest is None else config.model.build()
    rough = _rough_inputs(config, train_set, fabric.global_rank)
    trainer = Trainer(config, model, fabric, folder, train_set, val_set, rough_inputs=rough)
    if latest is not None:
        trainer.resume(latest)
    if fabric.is_global_zero:
        save_config(config, folder / "config.yaml")
    count = sum(p.numel() for p in model.parameters())
    logger.info(
        "%s: %.1fM parameters, %d objects of %d views, %d x %s, %s",
        folder, count / 1e6, len(trainer.sampler.objects), train_set.images.shape[1],
        fabric.world_size, fabric.device, fabric.strategy.precision.precision,
    )  # fmt: skip
    with writing(folder):  # log lines and TensorBoard's events
        ended = trainer.fit()
    if ended == "finished" and fabric.is_global_zero:
        logger.info("weights: %s", export_weights(folder))
    return ended


def _rough_inputs(config: TrainConfig, train_set: Viewsets, rank: int) -> RoughInputs | None:
    """What makes inputs rough, where the configuration asks for it, by the foreground network of the weights
    that the run begins with, or by the shipped one."""
    data, probability = config.data, config.sampling.rough_probability
    if not probability:
        return None
    if not train_set.has_alpha:
        raise InputError(
            f"{data.train}: its pictures have no alpha; sampling.rough_probability needs cut-out objects"
        )
    net = load_foreground_net(Path(config.init or SHIPPED_WEIGHTS)) or load_foreground_net(SHIPPED_WEIGHTS)
    assert net is not None
    folders = (None if folder is None else Path(folder) for folder in (data.backgrounds, data.clutter))
    return RoughInputs(load_scenery(train_set, *folders), net, probability, config.seed, rank)


def fresh_model(config: TrainConfig, train_set: Viewsets) -> Network:
    """New weights with anchors where `config.anchors` says, or those of `config.init`, grown if too small."""
    if config.init is not None:
        return _started_from(Path(config.init), config.model)
    model = config.model.build()
    if config.anchors == "fixed_random":
        model.set_anchors(EXTENT * (2 * torch.rand(model.num_queries, 3) - 1))
    elif config.anchors == "hull":
        model.set_anchors(hull_anchors(train_set, model.num_queries, config.seed))
    return model


def _started_from(source: Path, config: NetworkConfig) -> Network:
    found = load_pretrained(source)
    if isinstance(found, SparseGen) and isinstance(config, ModelConfig) and grows(found.config, config):
        try:
            return grow(found, config)
        except InputError as error:
            raise InputError(
                f"init={source}: {error}; or train the network that these weights are of"
            ) from None
    model = config.build()
    load_state(model, found.state_dict(), source)
    return model


def export_weights(run: Path, out: Path | None = None, last: bool = False, start_share: float = 0.0) -> Path:
    """Write a run's averaged weights, in half precision, as a folder that a `Pipeline` loads.

    Of the best checkpoint by validation, or of the newest where nothing was validated or `last` is true.
    `start_share` of every parameter is what it was when the run began: what `init` named knows of data that
    this run did not see is forgotten less (WiSE-FT, arXiv 2109.01903). Without `out` the folder is
    `run/weights`. `InputError` for a share outside [0, 1), or of a run that began with fresh weights.
    """
    checkpoints = CheckpointFolder(run / "checkpoints")
    path = checkpoints.latest() if last else checkpoints.best()
    if path is None or not (run / "config.yaml").exists():
        raise InputError(f"{run}: not a training run with a checkpoint; expected a folder under runs/")
    config = load_config(run / "config.yaml")
    state = load_checkpoint(path)
    weights = state["ema"]["model"]
    training = {name: state[name] for name in ("step", "samples", "seconds_used")}
    if start_share:
        start = _start_of(run, config, start_share).state_dict()
        weights = {name: torch.lerp(w.float(), start[name], start_share) for name, w in weights.items()}
        training["start_share"] = start_share
    model = config.model.build()
    load_state(model, weights, path)
    out = run / "weights" if out is None else out
    if config.elastic_probability:
        training["least_queries"] = prefix_size(model.num_queries, ELASTIC_MIN_SHARE)
    save_pretrained(model.eval(), out, dtype=torch.float16, extra={"training": training})
    return out


def _start_of(run: Path, config: TrainConfig, share: float) -> Network:
    """The weights that a run began with, grown as they were then."""
    if not 0 <= share < 1:
        raise InputError(f"--start-share {share:g}: expected a share from 0 to below 1, as 0.15")
    if config.init is None:
        raise InputError(f"{run}: began with fresh weights, which are worth nothing; leave out --start-share")
    torch.manual_seed(config.seed)
    return _started_from(Path(config.init), config.model)


def _check_size(source: str, viewsets: Viewsets, size: int) -> None:
    height, width = viewsets.images.shape[2:4]
    if (height, width) != (size, size):
        raise InputError(
            f"{source}: pictures of {width} x {height} pixels, but the model takes {size} x {size}; "
            f"render the set at {size} or set model.image_size"
        )
