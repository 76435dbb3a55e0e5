"""One evaluation from files to files: a model, its comparators, the table and the pictures."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch

from sparsegen.data.loading import load_viewsets
from sparsegen.data.packed import Viewsets
from sparsegen.errors import InputError
from sparsegen.evaluation import report, sheet
from sparsegen.evaluation.baselines import MeanPicture, NearestObject
from sparsegen.evaluation.document import Picture
from sparsegen.evaluation.lpips import lpips_vgg
from sparsegen.evaluation.predictors import Generated, Prediction, Predictor
from sparsegen.evaluation.progress import Progress
from sparsegen.evaluation.protocols import Protocol, for_views
from sparsegen.evaluation.scores import PictureMetric, Scores, evaluate
from sparsegen.formats.files import make_folder
from sparsegen.generation import Pipeline
from sparsegen.views import Views

# Within the report's folder: a picture of every object, and what is scored while not all is.
STRIPS = "strips"
UNFINISHED = "unfinished.jsonl"


@dataclass(frozen=True)
class Settings:
    """What is evaluated on what. Paths of data are packed files or folders in the SRN layout.

    `model` None takes the weights in the package. `gallery` is a set of training objects seen by the test
    set's cameras, for the baselines; `blind` a model trained with shuffled inputs.
    """

    data: Path
    output: Path
    model: Path | None = None
    gallery: Path | None = None
    blind: Path | None = None
    shuffled_inputs: bool = False
    inputs: int = 1
    objects: int | None = None
    steps: int = 1
    seed: int = 0
    batch_size: int = 8
    device: str = "auto"
    lpips_weights: Path | None = None


@dataclass(frozen=True)
class Contestant:
    """A line of the table."""

    name: str
    predictor: Predictor
    shuffled_inputs: bool = False


def run(settings: Settings) -> report.Report:
    """Score everything that was asked for and write the report to `settings.output`.

    What was scored before an interruption is not scored again.
    """
    strips = make_folder(settings.output) / STRIPS
    viewsets = first_objects(load_viewsets(settings.data), settings.objects)
    view_count = viewsets.cameras.batch_shape[1]
    protocol = for_views(view_count, settings.inputs)
    protocol.check(view_count, str(settings.data))
    picture_metrics, notes = _perceptual_metrics(settings)
    ours, *others = contestants(settings, protocol)
    unfinished = settings.output / UNFINISHED

    def keep_strip(i: int, prediction: Prediction, truth: Views) -> None:
        picture = sheet.strip(prediction, truth, len(protocol.input_views))
        sheet.save_strip(picture, strips / f"{i:04d}.png")

    scores = [
        evaluate(
            contestant.predictor,
            viewsets,
            protocol,
            name=contestant.name,
            batch_size=settings.batch_size,
            seed=settings.seed,
            shuffled_inputs=contestant.shuffled_inputs,
            picture_metrics=picture_metrics,
            progress=True,
            resume=_progress(contestant, settings, protocol, picture_metrics, unfinished),
            on_object=keep_strip if contestant is ours else None,
        )
        for contestant in (ours, *others)
    ]
    names = {viewsets.names[i]: f"{STRIPS}/{i:04d}.png" for i in scores[0].scored}
    shown = {i: settings.output / names[viewsets.names[i]] for i in sheet.spread(scores[0].scored)}
    sheet.write(shown.values(), protocol, view_count, settings.output / "objects.png")
    result = report.Report(
        scores,
        _facts(settings, viewsets, protocol),
        notes,
        pictures=[Picture(path.read_bytes(), _picture_caption(scores[0], i)) for i, path in shown.items()],
        strips=names,
    )
    report.write(result, settings.output)
    unfinished.unlink(missing_ok=True)
    return result


def contestants(settings: Settings, protocol: Protocol) -> list[Contestant]:
    """The model first, then the comparators that the settings name."""
    name = "shipped weights" if settings.model is None else settings.model.name
    if settings.shuffled_inputs:
        name += ", shuffled inputs"
    pipeline = Pipeline.from_pretrained(settings.model, settings.device)
    found = [Contestant(name, Generated(pipeline, settings.steps), settings.shuffled_inputs)]
    if settings.blind is not None:
        blind = Generated(Pipeline.from_pretrained(settings.blind, settings.device), settings.steps)
        found.append(Contestant("input-blind model, shuffled inputs", blind, shuffled_inputs=True))
    if settings.gallery is not None:
        gallery = load_viewsets(settings.gallery)
        count = len(gallery.names)
        found.append(Contestant(f"nearest of {count} training objects", NearestObject(gallery, protocol)))
        found.append(Contestant(f"mean of {count} training objects", MeanPicture(gallery, protocol)))
    return found


def first_objects(viewsets: Viewsets, count: int | None) -> Viewsets:
    """The first `count` objects; all of them for None. Raises `InputError` if there are fewer."""
    if count is None:
        return viewsets
    if not 1 <= count <= len(viewsets.names):
        raise InputError(f"cannot take {count} objects of a test set that has {len(viewsets.names)}")
    chosen = slice(count)
    return replace(
        viewsets,
        images=viewsets.images[chosen],
        cameras=viewsets.cameras[chosen],
        names=viewsets.names[chosen],
    )


def _perceptual_metrics(settings: Settings) -> tuple[dict[str, PictureMetric], list[str]]:
    """LPIPS where its weights are at hand, and otherwise a note on what to put where."""
    try:
        return {"lpips_vgg": lpips_vgg(settings.lpips_weights)}, []
    except InputError as error:
        if settings.lpips_weights is not None:
            raise
        return {}, [str(error)]


def _progress(
    contestant: Contestant,
    settings: Settings,
    protocol: Protocol,
    picture_metrics: dict[str, PictureMetric],
    path: Path,
) -> Progress | None:
    """Where the scores of a network are kept until all are known; baselines are quick."""
    if not isinstance(contestant.predictor, Generated):
        return None
    weights = hashlib.blake2b(digest_size=12)
    for name, tensor in contestant.predictor.pipeline.model.state_dict().items():
        weights.update(name.encode())
        weights.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    facts = (
        version("sparsegen"),
        weights.hexdigest(),
        repr(contestant.predictor.pipeline.model.config),
        contestant.shuffled_inputs,
        settings.steps,
        settings.seed,
        repr(protocol),
        sorted(picture_metrics),
    )
    return Progress(path, hashlib.blake2b(repr(facts).encode(), digest_size=12).hexdigest())


def _picture_caption(scores: Scores, i: int) -> str:
    return f"{scores.objects[i]}: {scores.per_object['psnr'][i]:.2f} dB"


def _facts(settings: Settings, viewsets: Viewsets, protocol: Protocol) -> dict[str, str]:
    cameras = viewsets.cameras
    views = cameras.batch_shape[1]
    return {
        "data": f"{settings.data.name}, {len(viewsets.names)} objects of {views} views, {cameras.width} px",
        "protocol": f"{protocol.name}: input views {', '.join(map(str, protocol.input_views))}; "
        f"{len(protocol.target_views(views))} novel views judged",
        "noise": f"seed {settings.seed} with each object's name; steps: {settings.steps}",
    }
