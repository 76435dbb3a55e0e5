"""Attention in half precision, as training runs it."""

import torch

from sparsegen.models.layers import CrossAttention, SelfAttention


def gradients(attend, inputs, autocast):
    """Of the sum of a fixed pattern over the results, for inputs and parameters."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    attend.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        result = attend(*inputs)
    (result.float() * torch.arange(result.numel()).view_as(result).sin()).sum().backward()
    return [x.grad.clone() for x in (*inputs, *attend.parameters())]


def test_gradients_in_bfloat16_are_those_of_float32_to_its_precision():
    torch.manual_seed(0)
    x, memory = torch.randn(2, 9, 32), torch.randn(2, 17, 32)
    for attend, inputs in ((SelfAttention(32, 4), [x]), (CrossAttention(32, 4), [x, memory])):
        exact, low = (gradients(attend, inputs, autocast) for autocast in (False, True))
        for a, b in zip(low, exact, strict=True):
            # Keys' biases have no effect, and so no gradient: 0 in one, rounding in the other.
            torch.testing.assert_close(a, b, rtol=0, atol=0.03 * float(b.abs().max()) + 1e-3)
