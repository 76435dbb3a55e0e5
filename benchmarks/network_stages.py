"""Where one step of the network goes, and how far each stage is from what the processor could do.

    python benchmarks/network_stages.py [tiny base paper] [--repeats 9]

Milliseconds of processor time in one thread, so that other programs on the machine hardly count. The network
is folded, as a pipeline's. A floor is a stage's matrix products at the rate that this processor reaches in
the type that the stage multiplies in, measured in the same run.
"""

import argparse
import copy
import statistics
import time
from collections import Counter, defaultdict
from typing import Any

import numba
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from sparsegen.benchmarking.network import paper_model, step_inputs
from sparsegen.benchmarking.training import MatrixOperations
from sparsegen.cli.main import keep_freed_memory
from sparsegen.models import Network, preset
from sparsegen.models.folding import PRECISIONS, FoldedLinear, fold, has_fast_onednn, precision_of
from sparsegen.models.layers import Modulation
from sparsegen.tables import markdown_table
from sparsegen.views import Views

# What the network is made of; the rest is between these: reading features, sums, copies.
STAGES = {
    "image encoder": ("image_encoder",),
    "joint encoder": ("input_projection", "encoder"),
    "decoder": ("decoder",),
    "heads": ("heads",),
    "feature sampling": ("sampling",),
}


class Watch:
    """Adds up processor time and operations inside of modules while it is on."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.operations: Counter[str] = Counter()
        self.counter = MatrixOperations()
        self._begun: list[tuple[float, int]] = []

    def follow(self, module: nn.Module, name: str) -> None:
        module.register_forward_pre_hook(lambda *_: self._begin())
        module.register_forward_hook(lambda *_: self._end(name))

    def follow_method(self, owner: nn.Module, method: str, name: str) -> None:
        original = getattr(owner, method)

        def timed(*args: Any) -> Any:
            self._begin()
            result = original(*args)
            self._end(name)
            return result

        setattr(owner, method, timed)

    def _begin(self) -> None:
        self._begun.append((time.process_time(), self.counter.total))

    def _end(self, name: str) -> None:
        seconds, operations = self._begun.pop()
        self.seconds[name] += time.process_time() - seconds
        self.operations[name] += self.counter.total - operations


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("presets", nargs="*", default=["tiny", "base", "paper"])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    keep_freed_memory()  # as the command does
    rates = {dtype: one_thread_rate(dtype) for dtype in (torch.float32, torch.bfloat16)}
    told = ", ".join(f"{dtype} {rate / 1e9:.1f} GFLOP/s" for dtype, rate in rates.items())
    print(f"matrix products in one thread: {told}\n")
    rows = [row for name in args.presets for row in measure(name, args.precision, args.repeats, rates)]
    print(markdown_table(["preset", "stage", "ms", "GFLOP", "floor, ms", "reached"], rows, left=2))


@torch.no_grad()
def measure(name: str, precision: str, repeats: int, rates: dict[torch.dtype, float]) -> list[list[str]]:
    model, inputs = step_of(name)
    watch = watched(copy.deepcopy(model), inputs, count=True)
    operations = watch.operations
    model = fold(model, precision)
    watch = watched(model, inputs)
    runs = []
    for _ in range(repeats):
        watch.seconds.clear()
        model(*inputs)
        runs.append(watch.seconds.copy())
    low = {stage for stage, parts in STAGES.items() if is_low(model, parts)}
    rows = []
    for stage in operations:
        seconds = statistics.median(run[stage] for run in runs)
        rate = rates[torch.bfloat16 if stage in low else torch.float32]
        floor = operations[stage] / rate
        if stage == "all":
            inside = sum(operations[s] for s in low)
            floor = (operations[stage] - inside) / rate + inside / rates[torch.bfloat16]
        share = f"{floor / seconds:.0%}" if seconds else ""
        figures = [f"{1e3 * seconds:.1f}", f"{operations[stage] / 1e9:.2f}", f"{1e3 * floor:.1f}", share]
        rows.append([f"{name}, {precision_of(model)}", stage, *figures])
    return rows


def watched(model: Network, inputs: tuple[Views, torch.Tensor], count: bool = False) -> Watch:
    """A watch on the stages of a network that has run; with `count`, of its operations as well."""
    watch = Watch()
    watch.follow(model, "all")
    for stage, parts in STAGES.items():
        for module in (m for part in parts for m in modules_of(model, part)):
            watch.follow(module, stage)
    if getattr(model, "sharp", None) is not None:
        watch.follow(model.get_submodule("sharp"), "corrections")
        watch.follow_method(model, "_correct", "corrections")  # they draw and place, which no module does
    for module in model.modules():
        if isinstance(module, Modulation):
            watch.follow(module, "adaLN, in the above")
    for _ in range(2):
        model(*inputs)
    if count:
        watch.operations.clear()
        with watch.counter, sdpa_kernel(SDPBackend.MATH):
            model(*inputs)
    return watch


def is_low(model: Network, parts: tuple[str, ...]) -> bool:
    """Whether a stage multiplies in bfloat16."""
    modules = (m for part in parts for m in modules_of(model, part) for m in m.modules())
    return any(isinstance(m, FoldedLinear) and m.dtype == torch.bfloat16 for m in modules)


def step_of(name: str) -> tuple[Network, tuple[Views, torch.Tensor]]:
    """A network with random weights and one step's input: one picture, and for `paper` three placeholders."""
    if name == "paper":
        model = paper_model(torch.device("cpu"))
        return model, step_inputs(model.config.image_size, torch.device("cpu"))
    torch.manual_seed(0)
    model = preset(name).build().eval()
    views, times = step_inputs(model.config.image_size, torch.device("cpu"))
    return model, (views.select(slice(0, 1)), times[:, :1])


def modules_of(model: nn.Module, part: str) -> list[nn.Module]:
    """The modules that are called where `part` is at work."""
    module = getattr(model, part)
    if isinstance(module, nn.ModuleList):
        return list(module)
    if part == "sampling":
        # Its own layers are called one by one.
        return (
            []
            if module is None
            else [m for m in module.modules() if isinstance(m, nn.Linear | FoldedLinear | nn.Conv2d)]
        )
    return [module]


@torch.no_grad()
def one_thread_rate(dtype: torch.dtype, size: int = 1024, repeats: int = 9) -> float:
    """FLOP/s of a folded layer's square product in this thread's processor time."""
    layer = nn.Linear(size, size)
    layer = FoldedLinear(layer, dtype) if has_fast_onednn(layer.weight.device) else layer.to(dtype)
    a = torch.randn(size, size, dtype=dtype)
    seconds = []
    for _ in range(2 + repeats):
        start = time.process_time()
        layer(a)
        seconds.append(time.process_time() - start)
    return 2 * size**3 / statistics.median(seconds[2:])


if __name__ == "__main__":
    main()
