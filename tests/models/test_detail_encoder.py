"""The fine map: local where it is two convolutions, aware of whole pictures through the tokens otherwise."""

import pytest
import torch

from sparsegen.models.anchor_sampling import DetailEncoder


def encoder(blocks):
    torch.manual_seed(0)
    return DetailEncoder(channels=12, width=8, token_width=6, blocks=blocks)


def some_maps(b=1):
    return torch.rand(b, 1, 12, 64, 64), torch.rand(b, 1, 6, 4, 4)


@pytest.mark.parametrize("blocks", [0, 2])
def test_only_blocks_make_a_part_of_the_map_depend_on_the_token_around_it(blocks):
    model = encoder(blocks)
    pictures, maps = some_maps()
    fine = model(pictures, maps)
    assert fine.shape == (1, 1, 8, 16, 16)
    maps[..., 0, 0] += 1
    changed = (model(pictures, maps) - fine).abs().amax(dim=(0, 1, 2))
    assert (changed[:4, :4] > 0).all() == bool(blocks)
    assert changed[12:, 12:].max() == 0


def test_untrained_blocks_leave_the_two_convolutions_and_the_tokens_as_they_are():
    deep, shallow = encoder(2), encoder(0)
    shallow.load_state_dict({k: v for k, v in deep.state_dict().items() if k.startswith("net.")})
    pictures, maps = some_maps(b=2)
    with torch.no_grad():
        around = deep(pictures, maps) - deep(pictures, torch.zeros_like(maps))
        for name, parameter in deep.named_parameters():
            if name.startswith("surroundings"):
                torch.nn.init.zeros_(parameter)
        torch.testing.assert_close(deep(pictures, maps), shallow(pictures, maps))
    torch.testing.assert_close(around[..., 0, 0], around[..., 1, 1])  # one token, far from the next


def test_the_map_is_the_same_to_the_last_bit_whatever_the_number_of_threads():
    torch.manual_seed(0)
    model = DetailEncoder(channels=12, width=48, token_width=6, blocks=1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    pictures, maps = torch.rand(1, 1, 12, 128, 128), torch.rand(1, 1, 6, 8, 8)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(model(pictures, maps))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


def test_every_part_of_the_fine_map_learns():
    model = encoder(2)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    model(*some_maps()).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
