"""One evaluation from files to files: a model, its comparators, the table and the pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sparsegen.data.loading import load_viewsets
from sparsegen.data.packed import Viewsets
from sparsegen.errors import InputError
from sparsegen.evaluation import report, sheet
from sparsegen.evaluation.baselines import MeanPicture, NearestObject
from sparsegen.evaluation.lpips import lpips_vgg
from sparsegen.evaluation.predictors import Generated, Predictor
from sparsegen.evaluation.protocols import Protocol, for_views
from sparsegen.evaluation.scores import PictureMetric, evaluate
from sparsegen.formats.files import make_folder
from sparsegen.generation import Pipeline


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
    """Score everything that was asked for and write the report to `settings.output`."""
    make_folder(settings.output)
    viewsets = first_objects(load_viewsets(settings.data), settings.objects)
    protocol = for_views(viewsets.cameras.batch_shape[1], settings.inputs)
    protocol.check(viewsets.cameras.batch_shape[1], str(settings.data))
    picture_metrics, notes = _perceptual_metrics(settings)
    ours, *others = contestants(settings, protocol)
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
        )
        for contestant in (ours, *others)
    ]
    result = report.Report(scores, _facts(settings, viewsets, protocol), notes)
    report.write(result, settings.output)
    ids = sheet.spread(scores[0].scored)
    sheet.write(ours.predictor, viewsets, protocol, ids, settings.seed, settings.output / "objects.png")
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


def _facts(settings: Settings, viewsets: Viewsets, protocol: Protocol) -> dict[str, str]:
    cameras = viewsets.cameras
    views = cameras.batch_shape[1]
    return {
        "data": f"{settings.data.name}, {len(viewsets.names)} objects of {views} views, {cameras.width} px",
        "protocol": f"{protocol.name}: input views {', '.join(map(str, protocol.input_views))}; "
        f"{len(protocol.target_views(views))} novel views judged",
        "noise": f"seed {settings.seed} with each object's name; steps: {settings.steps}",
    }
