"""Scores of single objects, kept on disk while an evaluation runs, so that it can go on where it was."""

from __future__ import annotations

import json
import logging
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


@dataclass(frozen=True)
class Progress:
    """Lines of a file, one for each object that is done; `key` tells apart what it was scored on.

    Lines with another key are left alone, and a line that was cut short is as good as none.
    """

    path: Path
    key: str

    def load(self) -> dict[str, ObjectScores]:
        """What is known of the objects, by their fingerprints."""
        found = {}
        if not self.path.is_file():
            return found
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
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
        with writing(self.path), self.path.open("a", encoding="utf-8") as file:
            # The newline comes first, so that a line that was cut short spoils no other.
            file.write("\n" + line)
