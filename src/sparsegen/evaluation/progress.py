"""Scores of single objects, kept on disk while an evaluation runs, so that it can go on where it was."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sparsegen.formats.files import writing

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ObjectScores:
    """One object: a number for every view, judged views first and then the input views; numbers of the
    object as a whole; and how many of its Gaussians have which opacity. Or, instead, its `problem`."""

    per_view: dict[str, list[float]] = field(default_factory=dict)
    whole: dict[str, float] = field(default_factory=dict)
    opacities: list[int] = field(default_factory=list)
    problem: str | None = None


def _nobody_is_lost() -> None:
    pass


@dataclass(frozen=True)
class Share:
    """Which of `world` processes this is; `check` raises `InputError` where another one is lost."""

    rank: int = 0
    world: int = 1
    check: Callable[[], None] = _nobody_is_lost


WHOLE = Share()


@dataclass(frozen=True)
class Progress:
    """Lines of a file, one for each object that is done; `key` tells apart what it was scored on.

    Lines with another key are left alone, and a line that was cut short is as good as none. Each process
    (`rank`) writes to a file of its own, and reads those of all.
    """

    path: Path
    key: str
    rank: int = 0

    def load(self) -> dict[str, ObjectScores]:
        """What is known of the objects, by their fingerprints."""
        found = {}
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in progress_files(self.path)]
        for line in "\n".join(texts).splitlines():
            try:
                entry = json.loads(line)
                if entry["key"] == self.key:
                    found[entry["object"]] = ObjectScores(**entry["scores"])
            except (ValueError, KeyError, TypeError):
                logger.debug("%s: a line that was cut short is left out", self.path)
        return found

    def append(self, fingerprint: str, scores: ObjectScores) -> None:
        """Add an object; it is on disk when this returns."""
        line = json.dumps({"key": self.key, "object": fingerprint, "scores": asdict(scores)})
        path = self.path.with_suffix(f".{self.rank}{self.path.suffix}") if self.rank else self.path
        with writing(path), path.open("a", encoding="utf-8") as file:
            # The newline comes first, so that a line that was cut short spoils no other.
            file.write("\n" + line)


def progress_files(path: Path) -> list[Path]:
    """The files that processes wrote under `path`."""
    return sorted(path.parent.glob(f"{path.stem}*{path.suffix}"))
