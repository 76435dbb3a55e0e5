"""One evaluation from files to files: a model, its comparators, the table and the pictures."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sparsegen.data.loading import load_viewsets
from sparsegen.data.packed import Viewsets
from sparsegen.data.protocols import Protocol, for_views
from sparsegen.errors import InputError
from sparsegen.evaluation import cost, fid, noise, report, sheet, utilization
from sparsegen.evaluation.contestants import Contestant, Settings, comparators, fingerprint, model_name
from sparsegen.evaluation.document import Picture, Text
from sparsegen.evaluation.inception import Inception, load_inception
from sparsegen.evaluation.lpips import lpips_vgg
from sparsegen.evaluation.predictors import Generated, Prediction
from sparsegen.evaluation.progress import Progress
from sparsegen.evaluation.scores import PictureMetric, Scores, evaluate
from sparsegen.evaluation.tasks import make_task
from sparsegen.formats.files import make_folder, write_bytes
from sparsegen.formats.images import encode_png
from sparsegen.generation import Pipeline
from sparsegen.views import Views

# Within the report's folder: a picture of every object, and what is scored while not all is.
STRIPS = "strips"
UNFINISHED = "unfinished.jsonl"


def run(settings: Settings) -> report.Report:
    """Score everything that was asked for and write the report to `settings.output`.

    What was scored before an interruption is not scored again.
    """
    make_folder(settings.output)
    viewsets = first_objects(load_viewsets(settings.data), settings.objects)
    view_count = viewsets.cameras.batch_shape[1]
    protocol = for_views(view_count, settings.inputs)
    protocol.check(view_count, str(settings.data))
    picture_metrics, inception, notes = _learned_metrics(settings)
    model = Generated(Pipeline.from_pretrained(settings.model, settings.device), settings.steps)
    ours = Contestant(model_name(settings), model, settings.shuffled_inputs)
    key = fingerprint(ours, settings, protocol, picture_metrics)
    strips = _Strips(settings.output, key, protocol)
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
            resume=Progress(
                settings.output / UNFINISHED,
                fingerprint(contestant, settings, protocol, picture_metrics),
            ),
            on_object=strips.keep if contestant is ours else None,
        )
        for contestant in (ours, *comparators(settings, protocol))
    ]
    result = _report(settings, viewsets, model, scores, strips, inception)
    result = replace(result, notes=notes)
    report.write(result, settings.output)
    strips.remove_others(result.strips)
    (settings.output / UNFINISHED).unlink(missing_ok=True)
    return result


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


def _report(
    settings: Settings,
    viewsets: Viewsets,
    model: Generated,
    scores: list[Scores],
    strips: _Strips,
    inception: Inception | None,
) -> report.Report:
    """The scores, and everything that is measured on the model's own objects."""
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
    if inception and not settings.shuffled_inputs:
        distances = {scores[0].name: fid.measure(model, viewsets, protocol, scored, settings.seed, inception)}
        extras.append(fid.section(distances))
        measured["fid"] = {name: asdict(found) for name, found in distances.items()}
    task = make_task(viewsets, protocol, scored[:1], scored[:1], settings.seed)
    gaussians = model.generate(task)[0].to("cpu")
    by_query = utilization.pictures(gaussians, viewsets.cameras[scored[0]], protocol)
    return report.Report(
        scores,
        _facts(settings, viewsets, protocol),
        pictures=[
            Text(f"Rows of objects.png, from left to right: {sheet.caption(protocol, view_count)}."),
            *(Picture(path.read_bytes(), _picture_caption(scores[0], i)) for i, path in shown.items()),
        ],
        extras=extras,
        utilization_pictures=by_query,
        strips=files,
        measured=measured,
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
    settings: Settings,
) -> tuple[dict[str, PictureMetric], Inception | None, list[str]]:
    """LPIPS and the network of FID and KID where their weights are at hand; else what to put where."""
    notes, picture_metrics, inception = [], {}, None
    try:
        picture_metrics["lpips_vgg"] = lpips_vgg(settings.lpips_weights)
    except InputError as error:
        if settings.lpips_weights is not None:
            raise
        notes.append(str(error))
    try:
        inception = load_inception(settings.fid_weights)
    except InputError as error:
        if settings.fid_weights is not None:
            raise
        notes.append(str(error))
    return picture_metrics, inception, notes


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
