"""Comparing networks weight by weight."""

from typing import Any

import torch


def assert_same_weights(ours: torch.nn.Module, expected: torch.nn.Module) -> None:
    """Same names, same values, bit for bit."""
    found, wanted = ours.state_dict(), expected.state_dict()
    assert found.keys() == wanted.keys()
    assert [key for key in wanted if not torch.equal(found[key], wanted[key])] == []


def assert_same_pipeline(ours: Any, expected: Any) -> None:
    """Same class and the same weights in all networks."""
    assert type(ours) is type(expected)
    networks = {name: part for name, part in expected.components.items() if isinstance(part, torch.nn.Module)}
    assert len(networks) >= 3
    for name, network in networks.items():
        assert_same_weights(getattr(ours, name), network)
