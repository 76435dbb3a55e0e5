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
from sparsegen.evaluation import ablation, comparison, cost, fid, noise, report, scaling, sheet, utilization
from sparsegen.evaluation.contestants import Contestant, Settings, baselines, fingerprint, models
from sparsegen.evaluation.document import Section
from sparsegen.evaluation.inception import Inception, load_inception
from sparsegen.evaluation.lpips import lpips_alex, lpips_vgg, st_lpips
from sparsegen.evaluation.predictors import Generated
from sparsegen.evaluation.processes import shared
from sparsegen.evaluation.progress import Progress, Share, progress_files
from sparsegen.evaluation.scores import PictureMetric, Scores, evaluate
from sparsegen.evaluation.tasks import make_task
from sparsegen.formats.files import make_folder

# Within the report's folder: what is scored while not all is.
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
    sheet.remove_others(settings.output, result.strips)
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
    """What an evaluation works with. `contestants` are the model, those beside it and baselines; `models` the
    first of them, by name. `fewer` is the model with fewer queries, by their number; `depths` are the test
    set's true ones."""

    settings: Settings
    share: Share
    viewsets: Viewsets
    protocol: Protocol
    contestants: Sequence[Contestant]
    fewer: dict[int, Contestant]
    models: dict[str, Generated]
    picture_metrics: dict[str, PictureMetric]
    inception: Inception | None
    notes: Sequence[str]
    depths: Float[np.ndarray, "n v h w"] | None

    @property
    def model(self) -> Generated:
        return next(iter(self.models.values()))

    def strips(self, contestant: Contestant) -> sheet.Strips:
        return sheet.Strips(self.settings.output, self.key(contestant), self.protocol)

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
            on_object=self.strips(contestant).keep if contestant.name in self.models else None,
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
    entered = models(settings)
    ours, *beside = (Contestant(name, model) for name, model in entered.items())
    ours = replace(ours, shuffled_inputs=settings.shuffled_inputs)
    model = entered[ours.name]
    fewer = {
        count: replace(ours, name=f"{ours.name}, {count} queries", predictor=smaller)
        for count, smaller in scaling.smaller(model, settings.queries).items()
        if count != model.pipeline.model.num_queries
    }
    return _Work(
        settings=settings,
        share=share,
        viewsets=viewsets,
        protocol=protocol,
        contestants=(ours, *beside, *baselines(settings, protocol)),
        fewer=fewer,
        models=entered,
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


def _report(work: _Work, scores: list[Scores]) -> report.Report:
    """The scores, and everything that is measured on the models' own objects."""
    settings, viewsets, model = work.settings, work.viewsets, work.model
    protocol, scored = scores[0].protocol, scores[0].scored
    of_models = scores[: len(work.models)]
    extras: list[Section] = []
    measured: dict[str, Any] = {}
    if len(of_models) > 1:
        runs = ablation.shared({s.name: [comparison.as_stored(s, settings.output)] for s in of_models})
        extras.append(ablation.difference_section(runs))
        measured["minus_first"] = ablation.minus_first(runs)
    in_all = [i for i in scored if not any(s.objects[i] in s.problems for s in of_models)]
    costs = cost.measure(work.models, viewsets, protocol, in_all, settings.seed)
    extras.append(cost.section(costs))
    measured["cost"] = {name: asdict(found) for name, found in costs.items()}
    if settings.noise_study:
        studied = sheet.spread(scored, noise.OBJECTS)
        rows, pictures = noise.study(model, viewsets, protocol, studied, settings.seed)
        extras.append(noise.section(rows, pictures, len(studied), noise.SAMPLES))
        measured["noise_study"] = [asdict(row) for row in rows]
    if work.inception and not settings.shuffled_inputs:
        distances = {
            s.name: fid.measure(
                work.models[s.name], viewsets, protocol, s.scored, settings.seed, work.inception
            )
            for s in of_models
        }
        extras.append(fid.section(distances))
        measured["fid"] = {name: asdict(found) for name, found in distances.items()}
    task = make_task(viewsets, protocol, scored[:1], scored[:1], settings.seed)
    gaussians = model.generate(task)[0].to("cpu")
    has_queries = model.pipeline.model.num_queries > 0
    by_query = utilization.pictures(gaussians, viewsets.cameras[scored[0]], protocol) if has_queries else []
    strips = {
        contestant.name: {s.objects[i]: work.strips(contestant).file(s.objects[i]) for i in s.scored}
        for contestant, s in zip(work.contestants, of_models, strict=False)
    }
    return report.Report(
        scores,
        _facts(settings, viewsets, protocol),
        work.notes,
        pictures=sheet.pictures(of_models, strips, settings.output, viewsets.cameras.batch_shape[1]),
        extras=extras,
        utilization_pictures=by_query,
        strips=strips,
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


def _facts(settings: Settings, viewsets: Viewsets, protocol: Protocol) -> dict[str, str]:
    cameras = viewsets.cameras
    views = cameras.batch_shape[1]
    return {
        "data": f"{settings.data.name}, {len(viewsets.names)} objects of {views} views, {cameras.width} px",
        "protocol": f"{protocol.name}: input views {', '.join(map(str, protocol.input_views))}; "
        f"{len(protocol.target_views(views))} novel views judged",
        "noise": f"seed {settings.seed} with each object's name; steps: {settings.steps}",
    }
