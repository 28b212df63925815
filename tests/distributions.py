"""Distributions as an installer would leave them, without one: modules, and the metadata that names their plug-ins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def install(site: Path, name: str, version: str, modules: Mapping[str, str], plugins: Mapping[str, str]) -> None:
    """Put a distribution into `site`: the source of its `modules`, and its entry points among petl_study's methods."""
    for module, source in modules.items():
        (site / f"{module}.py").write_text(source)
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = ["[petl_study.methods]", *(f"{plugin} = {module}" for plugin, module in plugins.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
