"""Does the noise do anything? One input, several noise seeds: how far the results lie apart, and what
choosing or averaging among them gains, for several numbers of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from sparsegen import metrics
from sparsegen.data.packed import Viewsets
from sparsegen.data.protocols import Protocol
from sparsegen.evaluation.document import Block, Bullets, Picture, Section, Table, Text
from sparsegen.evaluation.predictors import Generated
from sparsegen.evaluation.tasks import make_task, views_of
from sparsegen.formats.images import encode_png

SAMPLES, STEPS = 8, (1, 2, 4, 8, 16)
# Objects that are studied, and samples of each that are shown.
OBJECTS, SHOWN = 5, 6
# Pictures have 256 gray levels: samples that differ by less look the same.
_GRAY_LEVELS = 255


@dataclass(frozen=True)
class NoiseRow:
    """Means over objects for one number of steps.

    `spread_unseen` and `spread_seen` are the samples' standard deviation in a pixel (root mean square over
    pixels, gray levels of 255) on the judged and on the input views. PSNR (dB) on the judged views: the
    samples' mean, the best sample's, and that of the samples' mean picture. `edges` is the sharpness.
    """

    steps: int
    spread_unseen: float
    spread_seen: float
    psnr: float
    best_psnr: float
    mean_picture_psnr: float
    edges: float


def study(
    predictor: Generated,
    viewsets: Viewsets,
    protocol: Protocol,
    ids: Sequence[int],
    seed: int,
    samples: int = SAMPLES,
    step_counts: Sequence[int] = STEPS,
) -> tuple[list[NoiseRow], list[Picture]]:
    """A row for each number of steps, and pictures of the first object's samples."""
    rows, pictures = [], []
    with tqdm(total=len(step_counts) * len(ids), desc="noise study", unit="object") as bar:
        for steps in step_counts:
            stepped = replace(predictor, steps=steps)
            found = []
            for i in ids:
                drawn = draw_samples(stepped, viewsets, protocol, i, seed, samples)
                found.append(measure(drawn, viewsets, protocol, i, steps))
                if i == ids[0]:
                    pictures.append(_picture(drawn, steps))
                bar.update()
            keys = [key for key in NoiseRow.__dataclass_fields__ if key != "steps"]
            rows.append(NoiseRow(steps, *(sum(getattr(r, key) for r in found) / len(found) for key in keys)))
    return rows, pictures


@torch.inference_mode()
def draw_samples(
    predictor: Generated, viewsets: Viewsets, protocol: Protocol, i: int, seed: int, samples: int
) -> Float[Tensor, "samples v 3 h w"]:
    """Object `i` from the same input with noise of `samples` seeds, judged views first."""
    tasks = [make_task(viewsets, protocol, [i], [i], seed + n) for n in range(samples)]
    return torch.cat([predictor(task).rgb for task in tasks]).clamp(0, 1)


def measure(
    drawn: Float[Tensor, "samples v 3 h w"], viewsets: Viewsets, protocol: Protocol, i: int, steps: int
) -> NoiseRow:
    """The numbers of one object."""
    views = protocol.drawn_views(viewsets.cameras.batch_shape[1])
    truth = views_of(viewsets, [i], views).images[0]
    unseen = slice(0, len(views) - len(protocol.input_views))
    seen = slice(unseen.stop, None)
    psnr = metrics.psnr(drawn[:, unseen], truth[unseen].expand_as(drawn[:, unseen])).mean(dim=1)
    return NoiseRow(
        steps,
        spread_unseen=_spread(drawn[:, unseen]),
        spread_seen=_spread(drawn[:, seen]),
        psnr=psnr.mean().item(),
        best_psnr=psnr.max().item(),
        mean_picture_psnr=metrics.psnr(drawn[:, unseen].mean(dim=0), truth[unseen]).mean().item(),
        edges=metrics.gradient_energy_ratio(drawn[:, unseen], truth[unseen]).mean().item(),
    )


def section(rows: Sequence[NoiseRow], pictures: Sequence[Picture], objects: int, samples: int) -> Section:
    """The table, what it says, and samples to look at."""
    header = ["steps", "spread, unseen views", "spread, input views"]
    header += ["PSNR, mean", f"PSNR, best of {samples}", "PSNR, mean picture", "edges → 1"]
    cells = [
        [
            *(f"{row.steps}", f"{row.spread_unseen:.2f}", f"{row.spread_seen:.2f}", f"{row.psnr:.2f}"),
            *(f"{row.best_psnr:.2f}", f"{row.mean_picture_psnr:.2f}", f"{row.edges:.3f}"),
        ]
        for row in rows
    ]
    blocks: list[Block] = [
        Text(verdict(rows)),
        Table(header, cells),
        Bullets(
            [
                f"{objects} objects, {samples} noise seeds each, the same input",
                "spread: standard deviation over seeds in a pixel, root mean square, gray levels of 255",
            ]
        ),
        *pictures,
    ]
    return Section("Does the noise do anything?", blocks)


def verdict(rows: Sequence[NoiseRow]) -> str:
    """What the spread on unseen views says, in a sentence."""
    moving = [row.steps for row in rows if row.spread_unseen >= 1]
    if not moving:
        most = max(row.spread_unseen for row in rows)
        return (
            f"Hardly: on unseen views the samples lie {most:.2f} gray levels apart at most, under the "
            "one that a picture can hold. The model is deterministic in fact."
        )
    if len(moving) == len(rows):
        return "Yes: for every number of steps the samples differ by more than a gray level on unseen views."
    return (
        f"With {', '.join(map(str, moving))} steps the samples differ by more than a gray level on unseen "
        "views; with the other numbers of steps the model is deterministic in fact."
    )


def _spread(drawn: Float[Tensor, "samples v 3 h w"]) -> float:
    return drawn.double().var(dim=0).mean().sqrt().item() * _GRAY_LEVELS


def _picture(drawn: Float[Tensor, "samples v 3 h w"], steps: int) -> Picture:
    """Samples in one unseen view, and ten times their standard deviation."""
    view = drawn[:, 0]
    deviation = 1 - (10 * view.std(dim=0)).clamp(0, 1)
    return Picture(
        encode_png(torch.cat([*view[:SHOWN], deviation], dim=-1)),
        f"{steps} {'step' if steps == 1 else 'steps'}: samples, and ten times their standard deviation, "
        "darker for more",
    )
