"""Which of a backbone's parameters are biases, and which belong to a norm."""

from __future__ import annotations

from timm.layers.norm import RmsNorm, RmsNorm2d, SimpleNorm, SimpleNorm2d
from timm.models.mlp_mixer import Affine
from torch import nn

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d, nn.RMSNorm, RmsNorm, RmsNorm2d, SimpleNorm, SimpleNorm2d, Affine)


def biases(model: nn.Module) -> set[str]:
    """Names of all bias terms: ResMLP's `norm1.beta` is one, Swin's `relative_position_bias_table` is none."""
    shifts = {f"{path}.beta" for path, module in model.named_modules() if isinstance(module, Affine)}
    return shifts | {name for name, _ in model.named_parameters() if name.endswith("bias")}


def norms(model: nn.Module) -> set[str]:
    """Names of all parameters of norms, whatever the norms are called: ConvNeXt's `stem.1.weight` is one."""
    found = [(path, module) for path, module in model.named_modules() if isinstance(module, NORMS)]
    return {f"{path}.{name}" for path, module in found for name, _ in module.named_parameters(recurse=False)}
