"""The training loop: a batch, a forward pass, splatting, a loss, a step; validate and save now and then."""

from __future__ import annotations

import math
import signal
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sparsegen.data.packed import Viewsets
from sparsegen.data.sampling import Batch, Sampler
from sparsegen.errors import InputError
from sparsegen.models import Network
from sparsegen.models.pretrained import load_state
from sparsegen.training.checkpoints import CheckpointFolder, load_checkpoint
from sparsegen.training.config import TrainConfig, seconds
from sparsegen.training.dataset import usable_objects
from sparsegen.training.devices import TensorModel, gather_random_states, largest, set_random_states
from sparsegen.training.ema import Ema
from sparsegen.training.health import save_bad_batch, usable
from sparsegen.training.logs import RunLog, Stopwatch, clock, log_redirected, logger
from sparsegen.training.losses import Renderer
from sparsegen.training.objective import Objective, training_renderer
from sparsegen.training.optimization import build_optimizer, learning_rate, set_learning_rate
from sparsegen.training.pacing import Due, ending_signals
from sparsegen.training.perceptual import perceptual_distance
from sparsegen.training.rough_cutouts import RoughInputs
from sparsegen.training.sharding import shared_moments, shared_weights, whole, whole_state
from sparsegen.training.validation import Validator

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# A run whose input pictures matter less than this after its first steps has gone blind.
_BLIND_GAP, _BLIND_STEP = 0.5, 1000  # decibels, steps
# What a step's time is split into.
PHASES = ("data", "network", "splatting", "losses", "optimizer")
# What a checkpoint holds besides weights, optimizer and random states.
_PLAIN = ("step", "samples", "seconds_used", "running_loss", "best", "bad_steps", "validated", "warm_from")


class Trainer:
    """A model, its data and everything that a checkpoint holds."""

    def __init__(
        self,
        config: TrainConfig,
        model: Network,
        fabric: Fabric,
        folder: Path,
        train_set: Viewsets,
        val_set: Viewsets | None = None,
        renderer: Renderer = training_renderer,
        rough_inputs: RoughInputs | None = None,
    ) -> None:
        self.config = config
        self.fabric = fabric
        self.folder = folder
        self.renderer = renderer
        self.rough_inputs = rough_inputs
        self.checkpoints = CheckpointFolder(folder / "checkpoints", config.checkpoints_kept)
        self.model = model.to(fabric.device).train()
        if config.anchors == "fixed_random":
            self.model.fix_anchors()
        if fabric.global_rank:  # or all processes would drop out the same units
            torch.manual_seed(config.seed + fabric.global_rank)
        self.ema = Ema(self.model, config.ema_decay)
        if config.compile:
            for layer in self.model.repeated_layers():
                layer.compile()
        self.wrapped = fabric.setup_module(TensorModel(self.model))
        # Now that the parameters are what the strategy makes of them.
        self.optimizer: Any = fabric.setup_optimizers(build_optimizer(self.model, config.optimizer))
        perceptual = perceptual_distance(config.loss, fabric.device)
        self.objective = Objective(config, self.model, self.wrapped, renderer, perceptual)
        self.sampler = Sampler(
            train_set,
            config.sampling,
            config.batch_size,
            config.seed,
            fabric.global_rank,
            fabric.world_size,
            fabric.device,
            usable_objects(train_set, config.data.strict),
        )
        self.validator = None if val_set is None else Validator(val_set, config.validation, fabric.device)
        self.max_time = seconds("max_time", config.max_time)
        self.step = 0
        self.samples = 0
        self.seconds_used = 0.0
        self.running_loss = math.nan  # over about a hundred good steps
        self.best = -math.inf
        self.bad_steps = 0  # skipped in a row
        self.validated = -1  # step of the last validation
        self.warm_from = 0  # step from which the learning rate warms up

    # --- the loop ------------------------------------------------------------------------------

    def fit(self, steps: int | None = None) -> str:
        """Train until the run ends, or for `steps` steps, and save; returns why it ended.

        Ends: "finished" by `max_steps` or `max_time`, "sitting" when this process's share is done,
        "SIGINT" or "SIGTERM" on such a signal. The run can go on from the checkpoint in every case.
        """
        config = self.config
        validation = Due(seconds("validation.every", config.validation.every), config.validation.every_steps)
        checkpoint = Due(seconds("checkpoint_every", config.checkpoint_every))
        last_step = None if steps is None else self.step + steps
        start, used_before = time.monotonic(), self.seconds_used
        self.log = RunLog(self.folder, self.step, writes=self.fabric.is_global_zero)
        self.watch = Stopwatch(self.fabric.device)
        first = self.fabric.is_global_zero
        with closing(self.log), log_redirected(), ending_signals() as received:
            while True:
                number = signal.Signals[received[0]] if received else 0
                elapsed = time.monotonic() - start if first else 0.0
                number, elapsed = largest(self.fabric, number, elapsed)
                self.seconds_used = used_before + elapsed
                ended = signal.Signals(number).name if number else self._ended(elapsed, last_step)
                if ended:
                    break
                terms = self.train_step()
                if self.step % config.log_every == 0:
                    self._log_step(terms)
                validate, save = largest(
                    self.fabric, first and validation.now(self.step), first and checkpoint.now(self.step)
                )
                if validate:
                    self.validate()
                if save:
                    self.save()
            if ended == "finished":  # who interrupts a run waits for its checkpoint only
                self.validate()
            path = self.save()
        logger.info("%s at step %d after %s: saved %s", ended, self.step, clock(self.seconds_used), path)
        return ended

    def _ended(self, elapsed: float, last_step: int | None) -> str | None:
        if self.progress() >= 1:
            return "finished"
        sitting = seconds("sitting", self.config.sitting)
        if self.step == last_step or (sitting is not None and elapsed >= sitting):
            return "sitting"
        return None

    def train_step(self) -> dict[str, Tensor]:
        """One step of the optimizer, or a skipped one where the loss is not usable; the loss terms."""
        config, watch = self.config, self.watch
        watch.lap("other")
        batch = self.sampler.batch(self.step, self.samples)
        if self.rough_inputs is not None:
            batch = self.rough_inputs(batch, self.step)
        watch.lap("data")
        loss, terms = self._loss(batch)
        since_start = self.step - self.warm_from
        set_learning_rate(self.optimizer, learning_rate(config.optimizer, since_start, self.progress()))
        self.fabric.backward(loss)
        watch.lap("network")
        norm = self.fabric.clip_gradients(
            self.wrapped, self.optimizer, max_norm=config.optimizer.clip, error_if_nonfinite=False
        )
        value = float(self.fabric.all_reduce(loss.detach(), reduce_op="mean"))  # type: ignore[arg-type]
        assert norm is not None
        norm = whole(norm)
        if usable(value, float(norm), self.running_loss, config.explosion):
            self.bad_steps = 0
            self.optimizer.step()
            self.model.forget_constants()  # slices that become whole again lie where the old ones lay
            self.ema.update(self.model)
            known = not math.isnan(self.running_loss)
            self.running_loss = 0.99 * self.running_loss + 0.01 * value if known else value
        else:
            self._skip(batch, value, float(norm))
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.samples += config.batch_size
        watch.lap("optimizer")
        return {"loss": loss.detach(), **terms, "gradient_norm": norm}

    def _loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return self.objective(batch, self.step, self.watch)

    def _skip(self, batch: Batch, loss: float, norm: float) -> None:
        """Leave a step out; too many in a row end the run, with the last batch kept for inspection."""
        self.bad_steps += 1
        logger.warning("step %d skipped: loss %g, gradient norm %g", self.step, loss, norm)
        if self.bad_steps < self.config.bad_steps:
            return
        names = [self.sampler.viewsets.names[i] for i in batch.object_ids]
        path = save_bad_batch(batch, names, self.step, loss, self.folder, self.fabric.global_rank)
        raise InputError(
            f"{self.folder}: {self.bad_steps} steps in a row without a usable loss (last {loss:g}); look at "
            f"the batch in {path}, or resume from the last checkpoint with a smaller lr"
        )

    def progress(self) -> float:
        """The share of the run that is done, by steps or by the clock, whichever is further."""
        by_steps = self.step / self.config.max_steps if self.config.max_steps else 0.0
        by_clock = self.seconds_used / self.max_time if self.max_time else 0.0
        return max(by_steps, by_clock)

    # --- validation and log --------------------------------------------------------------------

    def validate(self) -> None:
        """Score the averaged weights, log the scores, keep the best checkpoint."""
        if self.validator is None or self.step == self.validated:
            return
        self.watch.lap("other")
        self.validated = self.step
        psnr = self._score(self.validator) if self.fabric.is_global_zero else -math.inf
        (psnr,) = largest(self.fabric, psnr)
        if psnr > self.best:
            self.best = psnr
            path = self.save()
            if self.fabric.is_global_zero:
                self.checkpoints.mark_best(path)
        self.watch.lap("validation")

    def _score(self, validator: Validator) -> float:
        """Log the averaged weights' scores; their PSNR."""
        scores = validator.scores(self.ema.model, self.renderer)
        values = {"seconds": self.seconds_used, "samples": self.samples, "loss": self.running_loss}
        self.log.write("validation", self.step, values | scores.as_dict())
        logger.info(
            "step %d %s loss %.4f | %s", self.step, clock(self.seconds_used), self.running_loss, scores
        )
        if self.step >= _BLIND_STEP and scores.gap < _BLIND_GAP:
            logger.warning(
                "INPUT-BLIND: after %d steps the right picture is worth only %.2f dB more than a wrong one",
                self.step,
                scores.gap,
            )
        return scores.psnr

    def _log_step(self, terms: dict[str, Tensor]) -> None:
        spent = self.watch.read()
        in_steps = {phase: spent.get(phase, 0.0) for phase in PHASES}
        total = sum(in_steps.values())
        rate = self.config.log_every * self.config.batch_size / total
        values = {name: float(value) for name, value in terms.items()}
        values |= {"lr": self.optimizer.param_groups[0]["lr"], "samples_per_second": rate}
        values |= {f"share_{phase}": time / total for phase, time in in_steps.items()}
        self.log.write("train", self.step, values | {"seconds": self.seconds_used, "samples": self.samples})
        progress = self.progress()
        left = clock(self.seconds_used * (1 - progress) / progress) if progress else "?"
        text = f"step {self.step}  loss {self.running_loss:.4f}  {rate:.1f} samples/s  ETA {left}"
        self.log.progress(progress, text)

    # --- checkpoints ---------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs to continue exactly; all processes must ask for it."""
        return {
            "model": whole_state(self.model.state_dict()),
            "ema": self.ema.state_dict(),
            "optimizer": whole_state(self.optimizer.state_dict()),
            **gather_random_states(self.fabric),
            **{name: getattr(self, name) for name in _PLAIN},
        }

    def save(self) -> Path:
        """Write a checkpoint of the current step, from the first process; all wait until it is there."""
        self.watch.lap("other")
        state, path = self.state_dict(), self.checkpoints.path(self.step)
        if self.fabric.is_global_zero:
            self.checkpoints.save(state, self.step)
        self.fabric.barrier()
        self.watch.lap("saving")
        return path

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint; `InputError` if it is of another model."""
        state = load_checkpoint(path, "cpu")
        load_state(self.model, shared_weights(state["model"], self.model), path)
        self.ema.load_state_dict(state["ema"])
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.optimizer.load_state_dict(shared_moments(state["optimizer"], parameters))
        set_random_states(self.fabric, state, (self.config.seed, 3, state["step"]))
        for name in _PLAIN:
            setattr(self, name, state.get(name, getattr(self, name)))  # older checkpoints hold fewer
        logger.info("resumed from %s at step %d", path, self.step)
