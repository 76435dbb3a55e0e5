"""One evaluation from files to files: a model, its comparators, the table and the pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from sparsegen.data.depths import load_depths
from sparsegen.data.loading import load_viewsets
from sparsegen.data.packed import Viewsets
from sparsegen.data.protocols import Protocol, for_views, named, own
from sparsegen.errors import InputError
from sparsegen.evaluation import cost, fid, noise, report, scaling, sheet, utilization
from sparsegen.evaluation.contestants import Contestant, Settings, comparators, fingerprint, model_name
from sparsegen.evaluation.document import Picture, Text
from sparsegen.evaluation.inception import Inception, load_inception
from sparsegen.evaluation.lpips import lpips_alex, lpips_vgg, st_lpips
from sparsegen.evaluation.predictors import Generated, Prediction
from sparsegen.evaluation.processes import shared
from sparsegen.evaluation.progress import Progress, Share, progress_files
from sparsegen.evaluation.scores import PictureMetric, Scores, evaluate
from sparsegen.evaluation.tasks import make_task
from sparsegen.formats.files import make_folder, write_bytes
from sparsegen.formats.images import encode_png
from sparsegen.generation import Pipeline
from sparsegen.views import Views

# Within the report's folder: a picture of every object, and what is scored while not all is.
STRIPS = "strips"
UNFINISHED = "unfinished.jsonl"


def run(settings: Settings) -> report.Report | None:
    """Score everything that was asked for and write the report to `settings.output`.

    What was scored before an interruption is not scored again. Under `torchrun` only the first process has a
    report; the others are done with their share of the objects.
    """
    make_folder(settings.output)
    with shared(settings, _help) as (own, share):
        if share.rank:
            return _help(own, share)
        work = _prepare(own, share)
        result = _report(work, [work.score(contestant) for contestant in work.contestants])
        if settings.queries:
            result = _with_scaling(result, work)
    report.write(result, settings.output)
    work.strips.remove_others(result.strips)
    for path in progress_files(settings.output / UNFINISHED):
        path.unlink()
    return result


def _help(settings: Settings, share: Share) -> None:
    """Score a share of the objects for the first process."""
    work = _prepare(settings, share)
    for contestant in (*work.contestants, *work.fewer.values()):
        work.score(contestant)


@dataclass(frozen=True)
class _Work:
    """What an evaluation works with. Of `contestants` the first is the model; `fewer` is the same with fewer
    queries, by their number; `depths` are the test set's true ones."""

    settings: Settings
    share: Share
    viewsets: Viewsets
    protocol: Protocol
    contestants: Sequence[Contestant]
    fewer: dict[int, Contestant]
    model: Generated
    picture_metrics: dict[str, PictureMetric]
    inception: Inception | None
    notes: Sequence[str]
    depths: Float[np.ndarray, "n v h w"] | None

    @property
    def strips(self) -> _Strips:
        return _Strips(self.settings.output, self.key(self.contestants[0]), self.protocol)

    def key(self, contestant: Contestant) -> str:
        """Tells apart everything but the objects that a contestant's scores depend on."""
        metrics = list(self.picture_metrics)
        if self.depths is not None:
            metrics.append(hashlib.blake2b(self.depths.tobytes()).hexdigest())
        return fingerprint(contestant, self.settings, self.protocol, metrics)

    def score(self, contestant: Contestant) -> Scores:
        path = self.settings.output / UNFINISHED
        return evaluate(
            contestant.predictor,
            self.viewsets,
            self.protocol,
            name=contestant.name,
            batch_size=self.settings.batch_size,
            seed=self.settings.seed,
            shuffled_inputs=contestant.shuffled_inputs,
            picture_metrics=self.picture_metrics,
            progress=self.share.rank == 0,
            resume=Progress(path, self.key(contestant), self.share.rank),
            on_object=self.strips.keep if contestant is self.contestants[0] else None,
            depths=self.depths,
            share=self.share,
        )


def _prepare(settings: Settings, share: Share) -> _Work:
    """Everything that can be wrong with what was asked for is found here."""
    viewsets = load_viewsets(settings.data)
    protocol = _protocol(settings, viewsets.cameras.batch_shape[1])
    protocol.check_set(viewsets, str(settings.data))
    viewsets = first_objects(viewsets, protocol.objects if settings.objects is None else settings.objects)
    depths = None if settings.depth is None else load_depths(settings.depth, viewsets)
    picture_metrics, inception, notes = _learned_metrics(settings, protocol)
    model = Generated(Pipeline.from_pretrained(settings.model, settings.device), settings.steps)
    ours = Contestant(model_name(settings), model, settings.shuffled_inputs)
    fewer = {
        count: Contestant(f"{ours.name}, {count} queries", smaller, settings.shuffled_inputs)
        for count, smaller in scaling.smaller(model, settings.queries).items()
        if count != model.pipeline.model.num_queries
    }
    return _Work(
        settings=settings,
        share=share,
        viewsets=viewsets,
        protocol=protocol,
        contestants=(ours, *comparators(settings, protocol)),
        fewer=fewer,
        model=model,
        picture_metrics=picture_metrics,
        inception=inception,
        notes=notes,
        depths=depths,
    )


def _protocol(settings: Settings, view_count: int) -> Protocol:
    if settings.input_views:
        if settings.protocol is not None:
            raise InputError("--input-views: not with --protocol, which has its own; leave one out")
        return own(settings.input_views)
    if settings.protocol is not None:
        return named(settings.protocol, settings.inputs)
    return for_views(view_count, settings.inputs)


@dataclass(frozen=True)
class _Strips:
    """Pictures of each object in the report's folder, under names that no other run's pictures have."""

    folder: Path
    key: str
    protocol: Protocol

    def file(self, name: str) -> str:
        """Where the object's strip is, from the report's folder."""
        return f"{STRIPS}/{hashlib.blake2b(f'{self.key}/{name}'.encode(), digest_size=8).hexdigest()}.png"

    def keep(self, name: str, prediction: Prediction, truth: Views) -> None:
        picture = sheet.strip(prediction, truth, len(self.protocol.input_views))
        write_bytes(self.folder / self.file(name), encode_png(picture))

    def remove_others(self, files: dict[str, str]) -> None:
        """Remove what earlier runs left behind."""
        for path in (self.folder / STRIPS).glob("*.png"):
            if f"{STRIPS}/{path.name}" not in files.values():
                path.unlink()


def _report(work: _Work, scores: list[Scores]) -> report.Report:
    """The scores, and everything that is measured on the model's own objects."""
    settings, viewsets, model, strips = work.settings, work.viewsets, work.model, work.strips
    view_count = viewsets.cameras.batch_shape[1]
    protocol, scored, names = scores[0].protocol, scores[0].scored, viewsets.names
    files = {names[i]: strips.file(names[i]) for i in scored}
    shown = {i: settings.output / files[names[i]] for i in sheet.spread(scored)}
    sheet.write(shown.values(), protocol, view_count, settings.output / "objects.png")
    found = cost.measure(model, viewsets, protocol, scored, settings.seed)
    extras = [cost.section(scores[0].name, found)]
    measured: dict[str, Any] = {"cost": asdict(found)}
    if settings.noise_study:
        studied = sheet.spread(scored, noise.OBJECTS)
        rows, pictures = noise.study(model, viewsets, protocol, studied, settings.seed)
        extras.append(noise.section(rows, pictures, len(studied), noise.SAMPLES))
        measured["noise_study"] = [asdict(row) for row in rows]
    if work.inception and not settings.shuffled_inputs:
        distances = {
            scores[0].name: fid.measure(model, viewsets, protocol, scored, settings.seed, work.inception)
        }
        extras.append(fid.section(distances))
        measured["fid"] = {name: asdict(found) for name, found in distances.items()}
    task = make_task(viewsets, protocol, scored[:1], scored[:1], settings.seed)
    gaussians = model.generate(task)[0].to("cpu")
    has_queries = model.pipeline.model.num_queries > 0
    by_query = utilization.pictures(gaussians, viewsets.cameras[scored[0]], protocol) if has_queries else []
    return report.Report(
        scores,
        _facts(settings, viewsets, protocol),
        work.notes,
        pictures=[
            Text(f"Rows of objects.png, from left to right: {sheet.caption(protocol, view_count)}."),
            *(Picture(path.read_bytes(), _picture_caption(scores[0], i)) for i, path in shown.items()),
        ],
        extras=extras,
        utilization_pictures=by_query,
        strips=files,
        measured=measured,
    )


def _with_scaling(result: report.Report, work: _Work) -> report.Report:
    """With the model's scores for fewer queries."""
    whole = result.scores[0]
    models = scaling.smaller(work.model, work.settings.queries)
    scores = {n: work.score(work.fewer[n]) if n in work.fewer else whole for n in models}
    points = scaling.points(models, scores, work.viewsets, work.settings.seed)
    return replace(
        result,
        extras=[*result.extras, scaling.section({whole.name: points}, report.TITLES)],
        measured={**result.measured, "scaling": [asdict(point) for point in points]},
    )


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


def _learned_metrics(
    settings: Settings, protocol: Protocol
) -> tuple[dict[str, PictureMetric], Inception | None, list[str]]:
    """Perceptual distances and the network of FID and KID; of those without weights, what to put where."""
    makers: dict[str, tuple[Callable[[], PictureMetric | Inception], Path | None]] = {
        "lpips_vgg": (lambda: lpips_vgg(settings.lpips_weights), settings.lpips_weights),
        "lpips_alex": (lambda: lpips_alex(settings.lpips_alex_weights), settings.lpips_alex_weights),
        "st_lpips": (st_lpips, None),
        "inception": (lambda: load_inception(settings.fid_weights), settings.fid_weights),
    }
    found, notes = {}, []
    if not protocol.fid:
        del makers["inception"]
        notes.append(f"FID and KID not computed: protocol {protocol.name} goes without them")
    for name, (make, given) in makers.items():
        try:
            found[name] = make()
        except InputError as error:
            if given is not None:
                raise
            notes.append(str(error))
    return found, found.pop("inception", None), notes


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
