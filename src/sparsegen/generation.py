"""From pictures to Gaussians: sampling the flow with the network and the splatting."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from sparsegen import flow
from sparsegen.cameras import Cameras, on_sphere, stack
from sparsegen.errors import InputError
from sparsegen.exemplars import Exemplars, guide
from sparsegen.gaussians import Gaussians
from sparsegen.models.camera_head import CameraHead
from sparsegen.models.folding import fold
from sparsegen.models.network import Network
from sparsegen.models.official import load_official
from sparsegen.models.pretrained import SHIPPED_WEIGHTS, load_camera_head, load_config, load_pretrained
from sparsegen.smoothing import smoothed
from sparsegen.splatting import render
from sparsegen.views import Views, cat_views

# Noise placeholders beside the clean views (paper, section 4.1), and how high their cameras stand.
PLACEHOLDERS = 3
_ELEVATION = math.radians(25)


@dataclass(frozen=True)
class Pipeline:
    """A network ready to generate: pictures in, Gaussians out. `camera_head` knows the cameras of pictures
    that come without one (`sparsegen.pose`). `least_queries` is how few anchor queries the network was
    trained to make do with, None if it always used all. `exemplars` are objects whose hidden sides give
    samples something to differ by (`sparsegen.exemplars`). `source` is where its weights lie. `turn` is
    entered around every pass of the network: who shares it between threads waits there, and who gives up
    raises there.

    >>> pipeline = Pipeline.from_pretrained()
    >>> gaussians = pipeline(views)[0]
    """

    model: Network
    camera_head: CameraHead | None = None
    least_queries: int | None = None
    exemplars: Exemplars | None = None
    source: Path = SHIPPED_WEIGHTS
    turn: Callable[[], AbstractContextManager[object]] = nullcontext

    @staticmethod
    def from_pretrained(
        source: str | Path | None = None, device: str = "auto", precision: str = "auto"
    ) -> Pipeline:
        """What `load_network` finds, folded for its device (`sparsegen.models.folding`, which knows
        `precision`), and what lies beside it; on CUDA where there is one, if `device` is "auto". Raises
        `InputError`."""
        path = SHIPPED_WEIGHTS if source is None else Path(source)
        chosen = choose_device(device)
        model = fold(load_network(path).to(chosen), precision)
        head = least = lenders = None
        if path.is_dir():
            head = load_camera_head(path)
            least = load_config(path).get("training", {}).get("least_queries")
            lenders = Exemplars.beside(path)
        return Pipeline(model, None if head is None else head.to(chosen), least, lenders, path)

    @property
    def device(self) -> torch.device:
        return self.model.device

    def __call__(
        self,
        views: Views | None = None,
        steps: int = 1,
        seed: int = 0,
        samples: int = 1,
        queries: int | None = None,
        tick: Callable[[], object] = lambda: None,
    ) -> list[Gaussians]:
        """`samples` objects (Gaussians without batch dimensions) from V >= 0 views of one object.

        `views` has batch size 1, or is None to generate from noise alone. The same seed gives the same
        bytes on the same machine. `queries` is that of `generate`. The objects are `finished`. `tick` is
        called after each.
        """
        objects = []
        for index in range(samples):
            objects.append(self.finished(self.sample(index, views, steps, seed, queries)))
            tick()
        return objects

    def finished(self, gaussians: Gaussians) -> Gaussians:
        """Objects as the network makes them, for pictures of its own size, made to look so in larger ones."""
        return smoothed(gaussians, self.model.config.image_size)

    def sample(
        self,
        index: int,
        views: Views | None = None,
        steps: int = 1,
        seed: int = 0,
        queries: int | None = None,
    ) -> Gaussians:
        """One of the objects that a call makes of as many samples, or more, as the network makes it.

        In one step from clean views sample 0 is what the network makes of them, and the others, where there
        are exemplars, are completed after one of those each. Else sample i is made of the noise of
        seed + i.
        """
        if views is not None and views.batch_size != 1:
            raise ValueError(f"expected the views of one object, got {views.batch_size}")
        if not index or steps > 1 or views is None or self.exemplars is None or not self.model.config.flow:
            return self.generate(views, [seed + index], steps, queries=queries)[0]
        clean = views.without_alphas().to(self.device)
        found = self.exemplars.match(views, lambda: self.generate(views, [0])[0])
        begin = guide(found, seed, index - 1)
        noised = begin.noised
        if noised.images.shape[-1] != clean.images.shape[-1]:
            size = f"{noised.images.shape[-1]} pixels"
            raise InputError(f"exemplars of {size}: expected {clean.images.shape[-1]}, as the network's")
        noisy, cameras = noised.images.to(self.device), noised.cameras.to(self.device)
        return self._finish(clean, noisy, cameras, begin.times, queries)[0]

    @torch.no_grad()
    def generate(
        self,
        views: Views | None,
        seeds: Sequence[int],
        steps: int = 1,
        placeholders: Cameras | None = None,
        queries: int | None = None,
    ) -> Gaussians:
        """Gaussians of batch shape (B,) for B objects with one seed each.

        `placeholders` (B, N) are the cameras of the noise placeholders. Left out, three stand around the
        object; or none where one step goes from clean views and the model does not need them
        (`Network.needs_placeholders`), and then the seed changes nothing. `queries` uses only so
        many of the anchor queries: a smaller object, good if the network was trained for it
        (`elastic_probability`).
        """
        most = self.model.num_queries
        if queries is not None and not most:
            raise InputError(f"queries is {queries}: this network has no anchor queries; leave it out")
        if queries is not None and not 1 <= queries <= most:
            raise InputError(f"queries is {queries}: expected 1 to {most}, the network's number of queries")
        size = self.model.config.image_size
        clean = None if views is None else views.without_alphas().to(self.device)
        if clean is not None and clean.images.shape[-2:] != (size, size):
            found = f"{clean.images.shape[-1]} x {clean.images.shape[-2]}"
            raise InputError(
                f"the model takes pictures of {size} x {size} pixels, got {found}; fit them first"
            )
        has_flow = self.model.config.flow
        if clean is None and not has_flow:
            raise InputError("the model was trained without the flow: give it at least one picture")
        noiseless = steps == 1 and placeholders is None and not self.model.needs_placeholders
        if clean is not None and (noiseless or not has_flow):
            return self.reconstruct(clean, queries)
        cameras = (placeholders or _placeholder_cameras(views, len(seeds), size)).to(self.device)
        noisy = _noise(seeds, cameras).to(self.device)
        return self._finish(clean, noisy, cameras, flow.time_grid(steps)[:-1].tolist(), queries)

    @torch.no_grad()
    def reconstruct(self, views: Views, queries: int | None = None, layers: str = "last") -> Gaussians:
        """One pass over clean views (B, V) of B objects, without noise; alphas are not looked at.

        With `layers` "uncorrected" without corrections: objects that look like their pictures as far as the
        cameras are right. Corrections would bring them nearer under any.
        """
        views = views.without_alphas().to(self.device)
        times = views.images.new_zeros(views.images.shape[:2])
        with self.turn():
            return self.model(views, times, layers=layers, queries=queries)[-1]

    @torch.no_grad()
    def _finish(
        self,
        clean: Views | None,
        noisy: Float[Tensor, "b n 3 h w"],
        cameras: Cameras,
        times: Sequence[float],
        queries: int | None,
    ) -> Gaussians:
        """From noised views at the first of `times` along the flow to the last, and to what is seen there."""
        conditioning: Tensor | None = None
        for time, next_time in pairwise(times):
            gaussians = self._denoise(clean, noisy, cameras, time, conditioning, queries)
            conditioning = render(gaussians, cameras, depth=False).rgb.clamp(0, 1)
            noisy = flow.euler_step(noisy, conditioning, time, next_time)
        return self._denoise(clean, noisy, cameras, times[-1], conditioning, queries)

    def _denoise(
        self,
        clean: Views | None,
        noisy: Float[Tensor, "b n 3 h w"],
        cameras: Cameras,
        time: float,
        conditioning: Float[Tensor, "b n 3 h w"] | None,
        queries: int | None,
    ) -> Gaussians:
        """One pass of the network: clean views first, then the noised ones at `time`."""
        views = Views(noisy, cameras)
        times = noisy.new_full(noisy.shape[:2], time)
        if clean is not None:
            views = cat_views(clean, views)
            times = torch.cat([times.new_zeros(clean.images.shape[:2]), times], dim=1)
            if conditioning is not None:
                conditioning = torch.cat([clean.images, conditioning], dim=1)
        with self.turn():
            return self.model(views, times, conditioning, queries=queries)[-1]


def load_network(source: str | Path | None = None) -> Network:
    """The network in the package, in a folder (`config.json` and `model.safetensors`), or of the reference's
    `model.pth`; in float32, for inference. Raises `InputError`."""
    path = SHIPPED_WEIGHTS if source is None else Path(source)
    if path.is_file():
        return load_official(path)
    if path.is_dir():
        return load_pretrained(path)
    raise InputError(f"{path}: no such model; give a folder with config.json, or a model.pth")


def choose_device(name: str) -> torch.device:
    """The device of this name; "auto" is CUDA where there is one. `InputError` if it cannot be used."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise InputError(f"device {name!r} cannot be used here; give cpu, cuda or auto") from None
    return device


def _noise(seeds: Sequence[int], cameras: Cameras) -> Float[Tensor, "b n 3 h w"]:
    """Pure-noise pictures; each object's depend on its own seed alone, whatever the batch."""
    shape = (cameras.batch_shape[1], 3, cameras.height, cameras.width)
    noise = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    images = torch.stack(noise)
    return flow.noise_images(images, torch.ones(images.shape[:2]), images)


def _placeholder_cameras(views: Views | None, count: int, size: int) -> Cameras:
    """Cameras evenly around each object, starting a quarter turn or more from its first view."""
    if views is None:
        start = torch.zeros(count)
    else:
        centers = views.cameras.centers[:, 0].float().cpu()
        start = torch.atan2(centers[:, 1], centers[:, 0])
    turns = torch.arange(1, PLACEHOLDERS + 1) * (2 * math.pi / (PLACEHOLDERS + 1))
    azimuth = start[:, None] + turns
    return stack([on_sphere(a, torch.full_like(a, _ELEVATION), size=size) for a in azimuth])
