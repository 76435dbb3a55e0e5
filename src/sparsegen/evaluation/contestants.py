"""Who takes part in an evaluation: the model, and comparators that the settings name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from sparsegen.data.loading import load_viewsets
from sparsegen.data.protocols import Protocol
from sparsegen.errors import InputError
from sparsegen.evaluation.baselines import MeanPicture, NearestObject
from sparsegen.evaluation.predictors import Generated, Predictor
from sparsegen.generation import Pipeline
from sparsegen.models.folding import precision_of


@dataclass(frozen=True)
class Settings:
    """What is evaluated on what. Paths of data are packed files or folders in the SRN layout.

    `model` None takes the weights in the package. `gallery` is a set of training objects seen by the test
    set's cameras, for the baselines; `blind` a model trained with shuffled inputs; `beside` other models as
    "[NAME=]MODEL", asked the same. `queries` are numbers of anchor queries that the model is scored with too;
    `depth` is the file of the test set's true depths; `protocol` the name of one, where the number of views
    does not tell, and `input_views` a list instead of one. `devices` is how many processes share the objects.
    """

    data: Path
    output: Path
    model: Path | None = None
    gallery: Path | None = None
    blind: Path | None = None
    beside: Sequence[str] = ()
    shuffled_inputs: bool = False
    inputs: int = 1
    objects: int | None = None
    steps: int = 1
    seed: int = 0
    batch_size: int = 8
    device: str = "auto"
    lpips_weights: Path | None = None
    lpips_alex_weights: Path | None = None
    fid_weights: Path | None = None
    noise_study: bool = False
    queries: tuple[int, ...] = ()
    depth: Path | None = None
    protocol: str | None = None
    input_views: tuple[int, ...] = ()
    devices: int = 1


@dataclass(frozen=True)
class Contestant:
    """A line of the table."""

    name: str
    predictor: Predictor
    shuffled_inputs: bool = False


def model_name(settings: Settings) -> str:
    name = "shipped weights" if settings.model is None else name_and_path(str(settings.model))[0]
    return f"{name}, shuffled inputs" if settings.shuffled_inputs else name


def name_and_path(text: str) -> tuple[str, Path]:
    """What is called how in "NAME=PATH", or in "PATH", which is called by its folder or file; by the run's,
    for the folder that a run writes its weights to."""
    name, equals, path = text.partition("=")
    if equals and not Path(text).exists():
        if not name or not path:
            raise InputError(f"{text!r}: expected NAME=FOLDER or FOLDER, with neither of them empty")
        return name, Path(path)
    folder = Path(text).absolute()
    return (folder.parent if folder.name == "weights" else folder).name, Path(text)


def models(settings: Settings) -> dict[str, Generated]:
    """The model, then those beside it, by their names."""
    named = [(model_name(settings), settings.model), *map(name_and_path, settings.beside)]
    found: dict[str, Generated] = {}
    for name, path in named:
        if name in found:
            raise InputError(f"two models are called {name}: tell them apart with --beside NAME=MODEL")
        found[name] = Generated(Pipeline.from_pretrained(path, settings.device), settings.steps)
    return found


def baselines(settings: Settings, protocol: Protocol) -> list[Contestant]:
    """What any model must beat."""
    found = []
    if settings.blind is not None:
        blind = Generated(Pipeline.from_pretrained(settings.blind, settings.device), settings.steps)
        found.append(Contestant("input-blind model, shuffled inputs", blind, shuffled_inputs=True))
    if settings.gallery is not None:
        gallery = load_viewsets(settings.gallery)
        count = len(gallery.names)
        found.append(Contestant(f"nearest of {count} training objects", NearestObject(gallery, protocol)))
        found.append(Contestant(f"mean of {count} training objects", MeanPicture(gallery, protocol)))
    return found


def fingerprint(
    contestant: Contestant, settings: Settings, protocol: Protocol, metrics: Iterable[str]
) -> str:
    """Tells apart everything but the test objects that a contestant's scores depend on."""
    digest = hashlib.blake2b(digest_size=12)
    facts: list[object] = [version("sparsegen"), contestant.name, contestant.shuffled_inputs]
    facts += [settings.seed, protocol, sorted(metrics)]
    if isinstance(contestant.predictor, Generated):
        model = contestant.predictor.pipeline.model
        facts += [model.config, precision_of(model), settings.steps, contestant.predictor.queries]
        for name, tensor in model.state_dict().items():
            digest.update(name.encode())
            values = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(values.view(torch.uint8).numpy().tobytes())
    elif settings.gallery is not None:
        facts += _files(settings.gallery.resolve())
    digest.update(repr(facts).encode())
    return digest.hexdigest()


def _files(path: Path) -> list[tuple[Path, int, int]]:
    """A data set's files and folders, with their sizes in bytes and when they changed."""
    path = path.parent if path.suffix == ".json" else path
    found = [path, *(sorted(path.rglob("*")) if path.is_dir() else [])]
    return [(one, one.stat().st_size, one.stat().st_mtime_ns) for one in found if one.exists()]
