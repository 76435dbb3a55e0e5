"""Query-to-Gaussian expansion transformer: image tokens attend to each other, queries to them
(paper, section 3.2)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from sparsegen.models.layers import CrossAttention, FeedForward, Modulation, SelfAttention, modulate


class EncoderLayer(nn.Module):
    """Post-norm transformer layer over the image tokens of all views together."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads, dropout)
        self.norm1 = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden, nn.ReLU(), dropout)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "b n c"], position: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """`position` joins the residual stream, and so queries, keys and values alike."""
        x = x + position
        x = self.norm1(x + self.dropout(self.attention(x)))
        return self.norm2(x + self.dropout(self.feed_forward(x)))


class DecoderLayer(nn.Module):
    """Pre-norm transformer layer over the anchor queries, modulated by the flow time (adaLN)."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, gate_init: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.self_attention = SelfAttention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width)
        self.cross_attention = CrossAttention(width, heads, dropout)
        self.norm3 = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden, nn.ReLU(), dropout)
        self.modulation = Modulation(width, branches=3, gate=gate_init)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "b m c"], memory: Float[Tensor, "b n c"], time: Float[Tensor, "b c"]
    ) -> Float[Tensor, "b m c"]:
        (shift1, scale1, gate1), (shift2, scale2, gate2), (shift3, scale3, gate3) = self.modulation(time)
        x = x + gate1 * self.dropout(self.self_attention(modulate(self.norm1(x), shift1, scale1)))
        x = x + gate2 * self.dropout(self.cross_attention(modulate(self.norm2(x), shift2, scale2), memory))
        return x + gate3 * self.dropout(self.feed_forward(modulate(self.norm3(x), shift3, scale3)))
