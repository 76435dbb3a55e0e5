"""Which views go in, which cameras carry noise, and which views are judged: the lists as data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsegen.data.viewpoints import INPUT_VIEW, SECOND_INPUT_VIEW
from sparsegen.errors import InputError

if TYPE_CHECKING:
    from sparsegen.data.packed import Viewsets

# ShapeNet-SRN's test spiral.
SRN_VIEWS = 251
# Its input views by their number, as the reference evaluates (section 4.1).
_SRN_INPUTS = {1: (64,), 2: (64, 104)}
_SRN_MANY_INPUTS = (80, 104, 198, 64, 1, 33)
# Cameras of the noise placeholders by their number.
_SRN_PLACEHOLDERS = {
    2: (90, 115),
    3: (90, 104, 120),
    4: (30, 90, 104, 115),
    5: (0, 20, 40, 80, 100),
    6: (0, 15, 30, 45, 75, 90),
}


@dataclass(frozen=True)
class Protocol:
    """View numbers of one way of testing.

    `input_views` are shown to the predictor; `placeholder_views` lend only their cameras, to noise, and
    without any the model chooses; `judged_views` are judged, and without any every view that is not an input
    is (placeholders too, as the reference does). A test set must have `views` of `size` pixels an object,
    and at least `objects`, of which the first are taken, where these are given. `fid` says whether FID and
    KID belong to it.
    """

    name: str
    input_views: tuple[int, ...]
    placeholder_views: tuple[int, ...] = ()
    judged_views: tuple[int, ...] = ()
    views: int | None = None
    size: int | None = None
    objects: int | None = None
    fid: bool = True

    def target_views(self, view_count: int) -> tuple[int, ...]:
        """The judged views of objects that have `view_count` views."""
        return self.judged_views or tuple(view for view in range(view_count) if view not in self.input_views)

    def drawn_views(self, view_count: int) -> tuple[int, ...]:
        """The views that a predictor draws: the judged ones, then the input views, for the bias to them."""
        return self.target_views(view_count) + self.input_views

    def check(self, view_count: int, source: str) -> None:
        """Raise `InputError` if objects with `view_count` views cannot be tested so."""
        needed = max(self.input_views + self.placeholder_views + self.judged_views) + 1
        if view_count < max(needed, len(self.input_views) + 1):
            raise InputError(
                f"{source}: protocol {self.name} needs view {needed - 1} and a view to judge, found "
                f"{view_count} views an object; render more views or choose another protocol"
            )

    def check_set(self, viewsets: Viewsets, source: str) -> None:
        """Raise `InputError` if a test set is not one that this protocol is defined on."""
        self.check(viewsets.cameras.batch_shape[1], source)
        found = {
            "views an object": (viewsets.cameras.batch_shape[1], self.views),
            "pixels a side": (max(viewsets.cameras.width, viewsets.cameras.height), self.size),
        }
        for what, (count, expected) in found.items():
            if expected not in (None, count):
                raise InputError(
                    f"{source}: protocol {self.name} is defined on {expected} {what}, found {count}; "
                    "make the test set anew or choose another protocol"
                )
        if len(viewsets) < (self.objects or 0):
            raise InputError(
                f"{source}: protocol {self.name} is over {self.objects} objects, found {len(viewsets)}; "
                "complete the test set or choose another protocol"
            )


def spiral(inputs: int = 1) -> Protocol:
    """Our test sets of 25 spiral views: one input view and 24 novel views, or two and 23."""
    views = (INPUT_VIEW, SECOND_INPUT_VIEW)
    if inputs not in (1, 2):
        raise InputError(f"the spiral protocol is defined for 1 or 2 input views, got {inputs}")
    return Protocol(f"spiral-{inputs}", views[:inputs])


def srn(inputs: int = 1, placeholders: int = 3) -> Protocol:
    """ShapeNet-SRN's test set of 251 spiral views with the reference's input and placeholder views."""
    input_views = _SRN_INPUTS.get(inputs, _SRN_MANY_INPUTS[:inputs])
    if inputs < 1 or len(input_views) != inputs or placeholders not in _SRN_PLACEHOLDERS:
        raise InputError(
            f"the SRN protocol is defined for 1 to {len(_SRN_MANY_INPUTS)} input views and "
            f"{sorted(_SRN_PLACEHOLDERS)} noise placeholders, got {inputs} and {placeholders}"
        )
    return Protocol(f"srn-{inputs}", input_views, _SRN_PLACEHOLDERS[placeholders])


def own(input_views: tuple[int, ...]) -> Protocol:
    """Any input views, with all others judged: for folders of posed pictures that no other protocol knows."""
    if min(input_views) < 0 or len(set(input_views)) < len(input_views):
        raise InputError(f"input views {list(input_views)}: expected different numbers, counted from 0")
    return Protocol("own", input_views)


def named(name: str, inputs: int = 1) -> Protocol:
    """A protocol by its name, for a number of input views."""
    if name in _COMPUTED:
        return _COMPUTED[name](inputs)
    stored = _stored()
    if name not in stored:
        raise InputError(
            f"no protocol is called {name!r}; expected one of {', '.join([*_COMPUTED, *stored])}"
        )
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored[name].items()}
    protocol = Protocol(name, **fields)
    if inputs != len(protocol.input_views):
        raise InputError(
            f"protocol {name} is defined for {len(protocol.input_views)} input view, got {inputs}"
        )
    return protocol


_COMPUTED = {"srn": srn, "spiral": spiral}


def _stored() -> dict[str, dict[str, Any]]:
    """CO3D's and Google Scanned Objects', as data."""
    return json.loads(Path(__file__).with_name("protocols.json").read_text(encoding="utf-8"))


def for_views(view_count: int, inputs: int = 1) -> Protocol:
    """The protocol that fits a test set: ShapeNet-SRN's for its 251 views, else our spiral's."""
    return srn(inputs) if view_count == SRN_VIEWS else spiral(inputs)
