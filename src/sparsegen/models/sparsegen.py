"""The network: posed pictures, some of them noised, to 3D Gaussians in one pass.

    pictures, rays, self-conditioning --> image encoder --> tokens ----------+
    cameras --> position encoder --> positions --> joint encoder (all views) |
                                                        |                    | features sampled where
    anchors --> anchor encoder --> queries --> decoder layers <--------------+ points project
                                                  | each
                                            Gaussian head --> corrections --> Gaussians

It reads no files, and renders only to tell corrections how far they are from the pictures.
Paper: arXiv 2604.13905, section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sparsegen.cameras import Cameras
from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians
from sparsegen.models.anchor_sampling import DetailEncoder, Lookup, Sights, clean_weights
from sparsegen.models.corrector import Corrector, Feedback, SharpEncoder, feedback, feedback_with_slopes
from sparsegen.models.expansion import DecoderLayer, EncoderLayer
from sparsegen.models.gaussian_head import GaussianHead, GaussianHeadConfig, Placed, RawGaussians, raw_sizes
from sparsegen.models.image_encoder import CHANNELS, ImageEncoder, ImageEncoderConfig, encoder_input
from sparsegen.models.layers import TimeEmbedding
from sparsegen.models.memo import Memo
from sparsegen.models.network import Network, NetworkConfig
from sparsegen.models.position_encoder import AnchorEncoder, PositionEncoder, PositionEncoderConfig
from sparsegen.views import Views


@dataclass(frozen=True)
class ModelConfig(NetworkConfig):
    """Every size of the network. `sparsegen.models.presets` has the ones in use.

    `bound` is half the side of the cube that Gaussians live in, in world units. `query_content` gives
    each query a learned embedding beside the code of its anchor. `anchor_sampling`: "off" is the
    reference; "anchors" reads token features at the anchors' projections; "gaussians" also reads fine
    features at the Gaussians that the decoder layer before has placed. `symmetric` objects are their own
    mirror images in the plane y = 0, and features and colors are read at mirrored points as well.
    `registers`: learned tokens beside the queries that make no Gaussians, a store for what all of them need.
    `corrections`: how often each Gaussian of the last layer looks again, for itself, at a sharper map.
    With `feedback` it is told how the pictures differ from what the Gaussians of the moment look like, and
    with `slopes` as well which way its parameters would have to go for the pictures to be met.
    `detail_blocks`: depth of the fine map that Gaussians are looked up in.
    `needs_placeholders`: noise placeholders stand beside the clean views even where one step is taken.
    `truncate_times` cuts times to thousandths, as the reference does when it samples.
    """

    kind: str = "sparsegen"
    num_queries: int = 128
    expansion: int = 16
    width: int = 192
    heads: int = 4
    feed_forward: int = 768
    encoder_layers: int = 1
    decoder_layers: int = 3
    dropout: float = 0.0
    gate_init: float = 0.5
    bound: float = 0.6
    query_content: bool = True
    registers: int = 0
    anchor_sampling: str = "gaussians"
    symmetric: bool = True
    needs_placeholders: bool = False
    detail_width: int = 48
    detail_blocks: int = 0
    corrections: int = 2
    feedback: bool = False
    slopes: bool = False
    sharp_width: int = 32
    truncate_times: bool = False
    image_encoder: ImageEncoderConfig = field(default_factory=ImageEncoderConfig)
    position_encoder: PositionEncoderConfig = field(default_factory=PositionEncoderConfig)
    head: GaussianHeadConfig = field(default_factory=GaussianHeadConfig)

    @property
    def has_queries(self) -> bool:
        return True

    @property
    def idle_heads(self) -> bool:
        return not self.head.shared

    def without_position_encoding(self) -> ModelConfig:
        return replace(self, position_encoder=replace(self.position_encoder, frustum=False, sine=False))

    def build(self) -> SparseGen:
        return SparseGen(self)

    def check(self) -> None:
        super().check()
        if self.num_queries < 1:
            raise InputError(f"num_queries={self.num_queries}: expected at least 1")
        if self.slopes and not self.feedback:
            raise InputError("slopes=True: expected feedback=True; switch both off, or neither")
        if self.registers < 0:
            raise InputError(f"registers={self.registers}: expected 0 or more")
        if self.anchor_sampling not in ("off", "anchors", "gaussians"):
            raise InputError(f"anchor_sampling={self.anchor_sampling}: expected off, anchors or gaussians")


class SparseGen(Network[ModelConfig]):
    """Image-to-Gaussian network with learned 3D anchor queries."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.num_queries, self.expansion = config.num_queries, config.expansion
        self.needs_placeholders, self.symmetric = config.needs_placeholders, config.symmetric
        width, heads, hidden = config.width, config.heads, config.feed_forward
        self.width = width
        self.image_encoder = ImageEncoder(config.image_encoder)
        self.input_projection = nn.Linear(config.image_encoder.width, width)
        self.position_encoder = PositionEncoder(config.position_encoder, width, config.bound)
        self.time_embedding = TimeEmbedding(width)
        self.encoder = nn.ModuleList(
            EncoderLayer(width, heads, hidden, config.dropout) for _ in range(config.encoder_layers)
        )
        self.unit_anchors = nn.Parameter(torch.empty(config.num_queries, 3))
        nn.init.trunc_normal_(self.unit_anchors, mean=0.5, std=0.1, a=0.0, b=1.0)
        self.anchor_encoder = AnchorEncoder(width, config.num_queries, config.query_content)
        self.registers = (
            nn.Parameter(0.02 * torch.randn(config.registers, width)) if config.registers else None
        )
        self.decoder = nn.ModuleList(
            DecoderLayer(width, heads, hidden, config.dropout, config.gate_init)
            for _ in range(config.decoder_layers)
        )
        self.heads = nn.ModuleList(
            GaussianHead(config.head, width, config.expansion, config.bound)
            for _ in range(1 if config.head.shared else config.decoder_layers)
        )
        self.sampling = None if config.anchor_sampling == "off" else FeatureSampling(config)
        self.sharp: SharpEncoder | None = None
        self.correctors = nn.ModuleList()
        if config.anchor_sampling == "gaussians" and config.corrections:
            sharp, sights = config.sharp_width, 1 + config.symmetric
            sizes = raw_sizes(config.head.picture_colors)
            self.sharp = SharpEncoder(CHANNELS, config.detail_width, sharp)
            self.correctors.extend(
                Corrector(width, config.expansion, sharp, sights, sizes, config.feedback, config.slopes)
                for _ in range(config.corrections)
            )
        self._query_memo, self._position_memo = Memo(), Memo()

    @property
    def anchors(self) -> Float[Tensor, "m 3"]:
        return self.config.bound * (2 * self.unit_anchors - 1)

    @torch.no_grad()
    def set_anchors(self, anchors: Float[Tensor, "m 3"]) -> None:
        if anchors.shape != self.unit_anchors.shape:
            raise ValueError(f"expected {tuple(self.unit_anchors.shape)} anchors, got {tuple(anchors.shape)}")
        self.unit_anchors.copy_(anchors / (2 * self.config.bound) + 0.5)

    def facts(self) -> dict[str, str]:
        config = self.config
        registers = f" (and {config.registers} registers)" if config.registers else ""
        layers = f"{config.encoder_layers} encoder and {config.decoder_layers} decoder layers"
        return {
            "anchor queries": f"{config.num_queries:,}" + registers,
            "Gaussians": f"{config.num_queries * config.expansion:,} ({config.expansion} for each query)",
            "transformer": f"width {config.width}, {layers}",
        }

    def fix_anchors(self) -> None:
        self.unit_anchors.requires_grad_(False)

    def repeated_layers(self) -> list[nn.Module]:
        return [*self.image_encoder.blocks, *self.encoder, *self.decoder]

    def forget_constants(self) -> None:
        self._query_memo, self._position_memo = Memo(), Memo()

    def forward(
        self,
        views: Views,
        times: Float[Tensor, "b v"],
        self_conditioning: Float[Tensor, "b v 3 h w"] | None = None,
        layers: str = "last",
        queries: int | None = None,
    ) -> list[Gaussians]:
        """Gaussians of every object, from the last decoder layer, from all of them in order, or
        from the last one that corrections, where there are any, do not touch ("uncorrected").

        `views` hold clean pictures, and noised ones as `sparsegen.flow` makes them; clean views come
        first. `times` are 0 for clean views. `self_conditioning` holds the renders of the step before at
        the noised views' cameras, None if there was none; what it holds for clean views does not matter.
        Only the first `queries` anchors are used where that is given.
        """
        if self.config.truncate_times:
            times = torch.floor(1000 * times + 1e-3) / 1000
        # These may read from the device what they remember: before all work, so that nothing is waited for.
        positions, embedding = self._positions(views.cameras), self._embedding()[:queries]
        pictures = encoder_input(self.config.image_encoder, views, times, self_conditioning)
        features = self.image_encoder(pictures, times)  # (b, v, c, g, g)
        tokens, positions = self._encode(features, positions, times)
        memory = tokens if positions is None else tokens + positions
        lookup = Lookup(views.images, views.cameras, clean_weights(times), self.config.symmetric)
        points = sharp = None
        if self.sampling is not None:
            grid = features.shape[-1]
            maps = tokens.unflatten(1, (times.shape[1], grid * grid)).mT.unflatten(-1, (grid, grid))
            points = self.sampling.start(maps, pictures, lookup, self.anchors[:queries])
            if self.sharp is not None and points.fine is not None and layers != "uncorrected":
                sharp = self.sharp(pictures, points.fine)
        return self._decode(memory, embedding, times, points, sharp, lookup, layers)

    def _encode(
        self,
        features: Float[Tensor, "b v c g g"],
        positions: Float[Tensor, "_b v n c"] | None,
        times: Float[Tensor, "b v"],
    ) -> tuple[Float[Tensor, "b n c"], Float[Tensor, "b n c"] | None]:
        """Tokens of all views after they have seen each other, and their position encodings."""
        tokens = self.input_projection(features.flatten(3).mT).flatten(1, 2)  # (b, v g g, c)
        time = self.time_embedding(times)[:, :, None]  # (b, v, 1, c)
        per_view = features.shape[-1] ** 2
        added = time.expand(-1, -1, per_view, -1).flatten(1, 2)
        if positions is not None:
            positions = positions.expand(len(tokens), -1, -1, -1).flatten(1, 2)
            added = added + positions
        for layer in self.encoder:
            tokens = layer(tokens, added)
        return tokens, positions

    def _decode(
        self,
        memory: Float[Tensor, "b n c"],
        embedding: Float[Tensor, "m c"],
        times: Float[Tensor, "b v"],
        points: SampledFeatures | None,
        sharp: Float[Tensor, "b v d h h"] | None,
        lookup: Lookup,
        layers: str,
    ) -> list[Gaussians]:
        used_anchors = self.unit_anchors[: len(embedding)]
        registers = self.config.registers  # in front of the queries
        if self.registers is not None:
            embedding = torch.cat([self.registers, embedding])
        time = self.time_embedding(times[:, -1])  # a noised view's, wherever there is one
        tokens = embedding.new_zeros(len(memory), *embedding.shape)
        results: list[Placed] = []
        last = len(self.decoder) - 1
        if layers == "uncorrected" and self.sharp is not None:
            last = max(last - 1, 0)  # the last layer only learns what to say before corrections
        for i, layer in enumerate(self.decoder[: last + 1]):
            tokens = tokens + embedding
            if points is not None:
                tokens = tokens + F.pad(points.at(i, results[-1] if results else None), (0, 0, registers, 0))
            tokens = layer(tokens, memory, time)
            x = tokens[:, registers:]
            feeds_sampling = points is not None and self.config.anchor_sampling == "gaussians"
            if layers == "all" or i == last or feeds_sampling:
                head = self._head(i)
                raw = head(x)
                if i == last and sharp is not None:
                    results.append(self._correct(raw, x, head, used_anchors, sharp, lookup))
                else:
                    results.append(head.place(raw, used_anchors, lookup))
        return [placed.gaussians for placed in (results if layers == "all" else results[-1:])]

    def _head(self, layer: int) -> GaussianHead:
        head = self.heads[0 if self.config.head.shared else layer]
        assert isinstance(head, GaussianHead)
        return head

    def _correct(
        self,
        raw: RawGaussians,
        x: Float[Tensor, "b m c"],
        head: GaussianHead,
        anchors: Float[Tensor, "m 3"],
        sharp: Float[Tensor, "b v d h h"],
        lookup: Lookup,
    ) -> Placed:
        def place(raw: RawGaussians) -> Placed:
            return head.place(raw, anchors, lookup)

        for corrector in self.correctors:
            placed, seen = self._look(raw, place, lookup)
            sights = placed.sights or lookup.sights(placed.gaussians.means.detach())
            raw = corrector(raw, x, sights, sharp, lookup.images, seen)
        return place(raw)

    def _look(
        self, raw: RawGaussians, place: Callable[[RawGaussians], Placed], lookup: Lookup
    ) -> tuple[Placed, Feedback | None]:
        """The Gaussians of raw parameters, and what the views show of them."""
        if self.config.slopes:
            seen, placed = feedback_with_slopes(raw, place, lookup)
            # In training they are placed once more, with gradients.
            return (place(raw) if torch.is_grad_enabled() else placed), seen
        placed = place(raw)
        return placed, feedback(placed.gaussians, lookup) if self.config.feedback else None

    def _embedding(self) -> Float[Tensor, "m c"]:
        return self._query_memo(
            self.anchor_encoder, (self.unit_anchors,), lambda: self.anchor_encoder(self.unit_anchors)
        )

    def _positions(self, cameras: Cameras) -> Float[Tensor, "b v n c"] | None:
        if not self.position_encoder.parts:
            return None
        grid = self.config.image_encoder.grid_size
        return self._position_memo(
            self.position_encoder,
            (cameras.viewmats, cameras.Ks),
            lambda: self.position_encoder(cameras, grid),
        )


class FeatureSampling(nn.Module):
    """What is added to the queries before each decoder layer: features read at projected points."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        read = (1 + config.symmetric) * (width + 3)
        self.anchor_mlp = nn.Sequential(nn.Linear(read, width), nn.SiLU(), nn.Linear(width, width))
        self.detail: DetailEncoder | None = None
        if config.anchor_sampling == "gaussians":
            detail = config.detail_width
            self.detail = DetailEncoder(CHANNELS, detail, width, config.detail_blocks)
            read = (1 + config.symmetric) * (detail + 3)
            self.first = nn.Linear(read, width)
            self.later = nn.ModuleList(
                nn.Linear(config.expansion * read, width) for _ in range(config.decoder_layers - 1)
            )

    def start(
        self,
        maps: Float[Tensor, "b v c g g"],
        pictures: Float[Tensor, "b v i s s"],
        lookup: Lookup,
        anchors: Float[Tensor, "m 3"],
    ) -> SampledFeatures:
        """Read the token maps at the anchors, and get the fine maps ready."""
        points = anchors.detach().expand(len(maps), -1, -1)
        sights = lookup.sights(points)
        coarse = self.anchor_mlp(sights.sample(maps))
        fine = None if self.detail is None else self.detail(pictures, maps)
        return SampledFeatures(self, coarse, fine, lookup, sights)


@dataclass(frozen=True)
class SampledFeatures:
    """The maps of one batch, ready to be read at points."""

    module: FeatureSampling
    coarse: Float[Tensor, "b m c"]
    fine: Float[Tensor, "b v d q q"] | None
    lookup: Lookup
    anchors: Sights

    def at(self, layer: int, placed: Placed | None) -> Float[Tensor, "b m c"]:
        """What decoder layer `layer` adds to its queries, given what the layer before has placed."""
        if self.fine is None:
            return self.coarse
        if placed is None:
            return self.coarse + self.module.first(self.anchors.sample(self.fine))
        sights = placed.sights or self.lookup.sights(placed.gaussians.means.detach())
        grouped = sights.sample(self.fine).unflatten(1, (-1, placed.gaussians.expansion)).flatten(2)
        return self.coarse + self.module.later[layer - 1](grouped)
