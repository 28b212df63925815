"""What a parameter's name says of it, in timm's naming."""

from __future__ import annotations


def is_bias(parameter: str) -> bool:
    """Whether this is a bias term: Swin's `relative_position_bias_table` is none, BEiT's `q_bias` is one."""
    return parameter.endswith("bias")


def in_norm(parameter: str) -> bool:
    """Whether this belongs to a norm: `norm1.weight`, `fc_norm.bias`, attention's `q_norm.weight`."""
    module = parameter.split(".")[-2:-1]
    return any(name.startswith("norm") or name.endswith("norm") for name in module)
