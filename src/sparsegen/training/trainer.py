"""The training loop: a batch, a forward pass, splatting, a loss, a step; validate and save now and then."""

from __future__ import annotations

import math
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sparsegen.cameras import Cameras
from sparsegen.data.packed import Viewsets
from sparsegen.data.sampling import Batch, Sampler
from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians
from sparsegen.models import SparseGen
from sparsegen.models.pretrained import load_state
from sparsegen.splatting import Rendering, render
from sparsegen.training.checkpoints import CheckpointFolder, load_checkpoint
from sparsegen.training.config import TrainConfig, seconds
from sparsegen.training.devices import TensorModel, forward
from sparsegen.training.ema import Ema
from sparsegen.training.logs import RunLog, Stopwatch, clock, log_redirected, logger
from sparsegen.training.losses import Renderer, training_loss
from sparsegen.training.optimization import build_optimizer, learning_rate, set_learning_rate
from sparsegen.training.pacing import Due, ending_signals
from sparsegen.training.validation import Scores, Validator

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# A run whose input pictures matter less than this after its first steps has gone blind.
_BLIND_GAP, _BLIND_STEP = 0.5, 1000  # decibels, steps
# The smallest prefix of the anchor queries that is trained by itself, as a share of all.
ELASTIC_MIN_SHARE = 1 / 8
# What a step's time is split into.
_PHASES = ("data", "network", "splatting", "optimizer")
# What a checkpoint holds besides weights, optimizer and random states.
_PLAIN = ("step", "samples", "seconds_used", "running_loss", "best", "bad_steps", "validated")


def training_renderer(gaussians: Gaussians, cameras: Cameras) -> Rendering:
    """Splatting over white without depth, which no loss looks at."""
    return render(gaussians, cameras, depth=False)


class Trainer:
    """A model, its data and everything that a checkpoint holds."""

    def __init__(
        self,
        config: TrainConfig,
        model: SparseGen,
        fabric: Fabric,
        folder: Path,
        train_set: Viewsets,
        val_set: Viewsets | None = None,
        renderer: Renderer = training_renderer,
    ) -> None:
        self.config = config
        self.fabric = fabric
        self.folder = folder
        self.renderer = renderer
        self.checkpoints = CheckpointFolder(folder / "checkpoints", config.checkpoints_kept)
        self.model = model.to(fabric.device).train()
        self.ema = Ema(self.model, config.ema_decay)
        optimizer = build_optimizer(self.model, config.optimizer)
        self.wrapped, self.optimizer = fabric.setup(TensorModel(self.model), optimizer)
        self.sampler = Sampler(
            train_set,
            config.sampling,
            config.batch_size,
            config.seed,
            fabric.global_rank,
            fabric.world_size,
            fabric.device,
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
        self.log, self.watch = RunLog(self.folder, self.step), Stopwatch(self.fabric.device)
        with closing(self.log), log_redirected(), ending_signals() as received:
            while True:
                elapsed = time.monotonic() - start
                self.seconds_used = used_before + elapsed
                ended = received[0] if received else self._ended(elapsed, last_step)
                if ended:
                    break
                terms = self.train_step()
                if self.step % config.log_every == 0:
                    self._log_step(terms)
                if validation.now(self.step):
                    self.validate()
                if checkpoint.now(self.step):
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
        watch.lap("data")
        loss, terms = self._loss(batch)
        set_learning_rate(self.optimizer, learning_rate(config.optimizer, self.step, self.progress()))
        self.fabric.backward(loss)
        watch.lap("network")
        norm = self.fabric.clip_gradients(
            self.wrapped, self.optimizer, max_norm=config.optimizer.clip, error_if_nonfinite=False
        )
        value = float(self.fabric.all_reduce(loss.detach(), reduce_op="mean"))  # type: ignore[arg-type]
        assert norm is not None
        if self._usable(value, float(norm)):
            self.optimizer.step()
            self.ema.update(self.model)
            known = not math.isnan(self.running_loss)
            self.running_loss = 0.99 * self.running_loss + 0.01 * value if known else value
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.samples += config.batch_size
        watch.lap("optimizer")
        return {"loss": loss.detach(), **terms, "gradient_norm": norm}

    def _loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        rng = np.random.default_rng((self.config.seed, 2, self.step))
        condition = None
        if batch.noised and rng.random() < self.config.self_conditioning_probability:
            condition = self._self_conditioning(batch)
        queries = self._queries(rng)
        views = rng.permutation(batch.targets.view_count)[: self.config.loss.intermediate_views].tolist()
        expansion = self.model.config.expansion
        layers = forward(self.wrapped, batch.inputs, batch.times, condition, expansion, queries)
        self.watch.lap("network")
        loss = training_loss(
            layers, self.model.anchors, batch.targets, self.config.loss, self.renderer, views
        )
        self.watch.lap("splatting")
        for layer in layers:
            self.watch.lap_in_backward(layer.means, "splatting")
        return loss

    def _queries(self, rng: np.random.Generator) -> int | None:
        """How many anchor queries a step uses: all, or now and then a random prefix, small ones as often as
        large ones, so that one checkpoint serves any number of them."""
        if rng.random() >= self.config.elastic_probability:
            return None
        return round(self.model.config.num_queries * ELASTIC_MIN_SHARE ** rng.random())

    @torch.no_grad()
    def _self_conditioning(self, batch: Batch) -> Tensor:
        """The noised views as a first pass renders them; clean views stay as they are."""
        layers = forward(self.wrapped, batch.inputs, batch.times, None, self.model.config.expansion)
        self.watch.lap("network")
        rendering = self.renderer(layers[-1], batch.inputs.cameras[:, batch.clean :])
        self.watch.lap("splatting")
        return torch.cat([batch.inputs.images[:, : batch.clean], rendering.rgb.clamp(0, 1)], dim=1)

    def _usable(self, loss: float, norm: float) -> bool:
        """Whether a step may be taken; too many bad ones in a row end the run."""
        exploded = loss > self.config.explosion * self.running_loss  # False while there is no mean
        if math.isfinite(loss) and math.isfinite(norm) and not exploded:
            self.bad_steps = 0
            return True
        self.bad_steps += 1
        logger.warning("step %d skipped: loss %g, gradient norm %g", self.step, loss, norm)
        if self.bad_steps >= self.config.bad_steps:
            raise InputError(
                f"{self.folder}: {self.bad_steps} steps in a row without a usable loss (last {loss:g}); "
                "resume from its last checkpoint with a smaller lr"
            )
        return False

    def progress(self) -> float:
        """The share of the run that is done, by steps or by the clock, whichever is further."""
        by_steps = self.step / self.config.max_steps if self.config.max_steps else 0.0
        by_clock = self.seconds_used / self.max_time if self.max_time else 0.0
        return max(by_steps, by_clock)

    # --- validation and log --------------------------------------------------------------------

    def validate(self) -> Scores | None:
        """Score the averaged weights, log the scores, keep the best checkpoint."""
        if self.validator is None or self.step == self.validated:
            return None
        self.watch.lap("other")
        self.validated = self.step
        scores = self.validator.scores(self.ema.model, self.renderer)
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
        if scores.psnr > self.best:
            self.best = scores.psnr
            self.checkpoints.mark_best(self.save())
        self.watch.lap("validation")
        return scores

    def _log_step(self, terms: dict[str, Tensor]) -> None:
        spent = self.watch.read()
        in_steps = {phase: spent.get(phase, 0.0) for phase in _PHASES}
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
        """Everything that a resumed run needs to continue exactly."""
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            **{name: getattr(self, name) for name in _PLAIN},
        }

    def save(self) -> Path:
        """Write a checkpoint of the current step."""
        self.watch.lap("other")
        path = self.checkpoints.save(self.state_dict(), self.step)
        self.watch.lap("saving")
        return path

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint; `InputError` if it is of another model."""
        state = load_checkpoint(path, "cpu")
        load_state(self.model, state["model"], path)
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        if torch.cuda.is_available() and state["cuda_rng"]:
            torch.cuda.set_rng_state_all(state["cuda_rng"])
        for name in _PLAIN:
            setattr(self, name, state[name])
        logger.info("resumed from %s at step %d", path, self.step)
