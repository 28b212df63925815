"""Backbones of timm, by name, with timm's own weights, with those of a local file, or with random ones.

    vit_base_patch16_224.augreg_in21k                        timm's checkpoint, from its cache or the hub
    vit_base_patch16_224.augreg_in21k@/path/to/B_16.npz      a local file; inputs normalised as that checkpoint's are
    file:/path/to/directory                                  a model whole, which says itself what it is: `exported`
    random:vit_tiny_patch16_224                              no weights: for tests, and said so in every record

timm converts published layouts to its own and resizes position embeddings. Whatever then does not match, tensor by
tensor, is an error: the classifier aside, no number of a backbone is random unless its name says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import PretrainedCfg
from torch import Tensor, nn

from petl_study.backbones import checkpoints, exported
from petl_study.backbones._info import BackboneInfo
from petl_study.backbones.exported import Exported
from petl_study.errors import InputError, unknown

# Checkpoints that the field compares methods on. The words before the colon: the column of docs/families.md that says
# which methods work.
KNOWN = {
    "convnext_base.fb_in22k": "ConvNeXt: B, ImageNet-22k, supervised",
    "mixer_b16_224.goog_in21k": "Mixer: B/16, ImageNet-21k, supervised",
    "swin_base_patch4_window7_224.ms_in22k": "Swin: B, ImageNet-22k, supervised",
    "vit_base_patch14_dinov2.lvd142m": "DINOv2: ViT-B/14, LVD-142M, self-supervised",
    "vit_base_patch16_224.augreg_in21k": "ViT: B/16, ImageNet-21k, supervised (AugReg)",
    "vit_base_patch16_224.mae": "ViT: B/16, ImageNet-1k, self-supervised (MAE)",
    "vit_base_patch16_clip_224.openai": "CLIP: image tower of ViT-B/16, OpenAI's",
}
RANDOM = "random:"
TIMM = "timm:"
SEED = 0  # of random backbones: the same for every run, as pre-trained ones are
_WRONG = (RuntimeError, KeyError, AttributeError, ValueError, IndexError, AssertionError, TypeError)


@dataclass(frozen=True)
class Named:
    """A backbone's name in its parts: `architecture` with timm's tag if given, `path` of a local file or ``""``."""

    name: str
    architecture: str
    path: str
    random: bool
    exported: Exported | None = None

    @cached_property
    def config(self) -> PretrainedCfg:
        if self.exported:
            return self.exported.config
        found = timm.get_pretrained_cfg(self.architecture)
        assert found is not None  # `parse` let it through
        return found

    @property
    def arguments(self) -> dict[str, Any]:
        """What timm.create_model is told beside the architecture's name."""
        return self.exported.arguments if self.exported else {}

    @property
    def plain(self) -> str:
        return self.architecture.partition(".")[0]

    @property
    def source(self) -> str:
        if self.random:
            return "random"
        return self.path or self.config.hf_hub_id or str(self.config.url)


def parse(name: str, known: list[str]) -> Named:
    """The parts of a name.

    Raises
    ------
    InputError
        timm has no such model or checkpoint (`known` are the names to tell), there is no such file, or no weights.
    """
    for prefix in exported.PREFIXES:
        if name.startswith(prefix):
            path = name.removeprefix(prefix)
            found = exported.read(path)
            return Named(name, found.architecture, path, random=False, exported=found)
    architecture, _, path = name.removeprefix(RANDOM).removeprefix(TIMM).partition("@")
    plain, _, tag = architecture.partition(".")
    if not timm.is_model(plain):
        error = unknown("backbone", name, known)
        raise InputError(f"{error} Any model of timm.list_models() is one too.")
    tags = [one.partition(".")[2] for one in timm.list_pretrained(f"{plain}.*")]
    if tag and tag not in tags:
        raise unknown("checkpoint", tag, tags, where=plain)
    named = Named(name, architecture, path, name.startswith(RANDOM))
    if path and named.random:
        raise InputError(f"{name}: random weights come from no file. Leave out {RANDOM!r}, or @{path}.")
    if path:
        checkpoints.local(path)
    elif not named.random and not named.config.has_weights:
        raise InputError(
            f"timm has no weights for {plain}. Give a file, as in {plain}@/path/to/weights.safetensors, or say that"
            f" random ones are meant: {RANDOM}{plain}."
        )
    return named


def info(named: Named) -> BackboneInfo:
    """What is known of it; the weights are looked for only when their fingerprint is asked for."""
    config = named.config
    return BackboneInfo(
        name=named.name,
        summary=KNOWN.get(named.name, f"{named.plain} of timm, weights: {named.source}"),
        parameters=parameters(named.architecture, **named.arguments),
        image_size=config.input_size[-1],
        mean=_three(config.mean),
        std=_three(config.std),
        source=named.source,
        fingerprint=lambda: _fingerprint(named),
    )


def _fingerprint(named: Named) -> str:
    if named.random:
        return f"random, seed {SEED}"
    return named.exported.fingerprint if named.exported else checkpoints.sha256(weight_file(named))


def create(named: Named, classes: int, *, drop_path: float, image_size: int | None) -> nn.Module:
    """The model with its weights, and a classifier of `classes` outputs whose weights mean nothing yet."""
    arguments = {"drop_path_rate": drop_path, **architecture(named, image_size)[1]}
    with own_chance():
        model = _random(named, arguments) if named.random else _load(named, arguments)
        model.reset_classifier(classes)  # type: ignore[operator]
    size = image_size or named.config.input_size[-1]
    model.pretrained_cfg = {  # type: ignore[assignment]  # what timm.data.resolve_model_data_config reads
        **named.config.to_dict(remove_source=True),
        "architecture": named.plain,
        "input_size": (3, size, size),
        "num_classes": classes,
    }
    return model.eval()


def architecture(named: Named, image_size: int | None = None) -> tuple[str, dict[str, Any]]:
    """Name and arguments with which timm.create_model makes its modules, the classifier aside."""
    size = image_size or named.config.input_size[-1]
    sized = {"img_size": size} if named.config.fixed_input_size else {}
    return named.plain, {**named.arguments, **sized}


def require_size(name: str, architecture: str, arguments: dict[str, Any], size: int, own: int) -> None:
    """Refuse an image size that backbone `name` cannot take, before anything is fetched or trained.

    Parameters
    ----------
    arguments : dict
        timm.create_model's for images of `size` pixels.
    own : int
        Pixels of the images that its weights were trained on.

    Raises
    ------
    InputError
        The model cannot be made for that size, or some layer of it mixes places and has weights for each.
    """
    try:
        with torch.device("meta"):  # nothing is allocated, drawn or computed
            model = timm.create_model(architecture, num_classes=0, **arguments).eval()
            model(torch.empty(1, 3, size, size))
    except NotImplementedError:  # says nothing of the size
        return
    except _WRONG as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise _no_such_size(name, size, own, reason) from None
    of_own = _shapes(architecture, json.dumps({**arguments, **({"img_size": own} if "img_size" in arguments else {})}))
    for layer, parameter in model.named_parameters():  # position tables are resized; they are no layers' weights
        if layer.endswith(".weight") and layer in of_own and tuple(parameter.shape) != of_own[layer]:
            raise _no_such_size(name, size, own, f"{layer} has weights for each of its places")


def _no_such_size(name: str, size: int, own: int, reason: str) -> InputError:
    return InputError(
        f"{name} takes no images of {size} x {size} pixels ({reason}); its own are of {own}. Choose another image_size,"
        f" as in `protocol: {{base: study, image_size: {own}}}`, or another backbone."
    )


def weight_file(named: Named) -> Path:
    """The file of its weights, on this machine; fetched first where it has to be."""
    if named.exported:
        return named.exported.weights
    if named.path:
        return checkpoints.local(named.path)
    config = named.config
    use = f"give a file you have: {named.architecture}@/path/to/weights.safetensors"
    if not config.hf_hub_id:
        raise InputError(f"{named.architecture} is not on the hub: download {config.url} yourself, and {use}.")
    names = [config.hf_hub_filename] if config.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
    return checkpoints.hub(config.hf_hub_id, names, use)


# ------------------------------------------------------------------------------------------------------------- loading


def _random(named: Named, arguments: dict[str, Any]) -> nn.Module:
    try:
        return timm.create_model(named.plain, num_classes=0, **arguments)
    except TypeError as error:
        raise InputError(
            f"{named.plain} cannot be made with {', '.join(arguments)}, as every backbone here is ({error}). Choose a"
            " ViT, Swin, ConvNeXt, MLP-Mixer or ResMLP."
        ) from None


def _load(named: Named, arguments: dict[str, Any]) -> nn.Module:
    path = weight_file(named)
    if path.suffix == ".npz":
        return _load_npz(named, path, arguments)
    tensors = _without_prefix(named, checkpoints.read(path))
    _require_patches(named, path, tensors)
    return load_tensors(named.architecture, tensors, path, arguments)


def _without_prefix(named: Named, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The model's own tensors by its own names, where it was trained as a part of another: ``model.blocks.0 ...``.

    Only where one prefix alone stands before all of its parameters, and not where none does: two such models in a file,
    as of a student and a teacher, are for their user to choose from.
    """
    wanted = _shapes(named.architecture, json.dumps(named.arguments))
    first = next(iter(wanted))
    prefixes = {name.removesuffix(first) for name in tensors if name.endswith(f".{first}") or name == first}
    holding = [prefix for prefix in prefixes if all(f"{prefix}{name}" in tensors for name in wanted)]
    if len(holding) != 1:
        return tensors
    return {name.removeprefix(holding[0]): tensor for name, tensor in tensors.items() if name.startswith(holding[0])}


def load_tensors(
    architecture: str, tensors: Mapping[str, Tensor], path: Path, arguments: Mapping[str, Any]
) -> nn.Module:
    """A timm model with exactly these tensors, after timm's conversion, and as many outputs as they have.

    Raises
    ------
    InputError
        They are another model's: the message lists what either side has alone.
    """
    outputs = _outputs(tensors)
    # As timm loads any checkpoint, but strictly: it would let missing tensors pass where the classifier differs.
    overlay = {"state_dict": dict(tensors), "num_classes": outputs, "label_offset": 0, "source": ""}
    try:
        return timm.create_model(
            architecture, pretrained=True, num_classes=outputs, pretrained_cfg_overlay=overlay, **arguments
        )
    except _WRONG as error:
        raise mismatch(architecture, path, error) from None


def _outputs(tensors: Mapping[str, Tensor]) -> int:
    """Outputs of the classifier, or of the projection in its place, that lie among the tensors; 0 without one."""
    for name in ("head.fc.weight", "head.weight", "visual.head.proj.weight"):
        if name in tensors:
            return len(tensors[name])
    return tensors["visual.proj"].shape[1] if "visual.proj" in tensors else 0


def mismatch(architecture: str, path: Path, error: Exception) -> InputError:
    told = []
    for line in str(error).splitlines():
        line = line.strip().rstrip(".").replace("Missing key(s) in state_dict", "the file lacks")
        line = line.replace("Unexpected key(s) in state_dict", "the model lacks").replace(
            "the shape in current model", "in the model"
        )
        if line and not line.startswith("Error(s) in loading"):
            told.append(line if len(line) <= 300 else f"{line[:300]} ...")
    rest = f" ... and {len(told) - 8} more" if len(told) > 8 else ""
    differences = "; ".join(told[:8]) or type(error).__name__
    return InputError(
        f"{path} does not hold the weights of {architecture}: {differences}{rest}. Name the architecture it was made"
        f" for: ARCHITECTURE@{path}."
    )


def _require_patches(named: Named, path: Path, tensors: Mapping[str, Tensor]) -> None:
    """timm resamples a patch projection of another size; that is another model, not another image size."""
    kernel = tensors.get("patch_embed.proj.weight")
    expected = _shapes(named.architecture, json.dumps(named.arguments)).get("patch_embed.proj.weight")
    if kernel is not None and expected is not None and kernel.ndim == 4 and kernel.shape[2:] != expected[2:]:
        there, here = (" x ".join(map(str, shape[2:])) for shape in (kernel.shape, expected))
        raise InputError(f"{path} cuts images into patches of {there}, {named.architecture} into {here}.")


def _load_npz(named: Named, path: Path, arguments: dict[str, Any]) -> nn.Module:
    """The original release of a vision transformer, which timm converts without asking what is left over."""
    arrays = checkpoints.npz(path)
    model = timm.create_model(named.plain, num_classes=0, **arguments)
    reader: Callable[[str], None] | None = getattr(model, "load_pretrained", None)
    if reader is None:
        raise InputError(f"{path}: .npz holds the original vision transformers, and {named.architecture} is none.")
    there, here = _geometry_npz(arrays), _geometry(model)
    if there != here:
        raise InputError(
            f"{path} does not hold the weights of {named.architecture}: the file has {_told(there)}; the model has"
            f" {_told(here)}. Name the architecture it was made for: ARCHITECTURE@{path}."
        )
    try:
        reader(str(path))
    except _WRONG as error:
        raise mismatch(named.architecture, path, error) from None
    return model


def _geometry(model: nn.Module) -> dict[str, object]:
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    kernel = shapes.get("patch_embed.proj.weight", ())
    return {
        "patches of": kernel[2:],
        "width": kernel[:1],
        "blocks": len({name.split(".")[1] for name in shapes if name.startswith("blocks.")}),
        "hidden": shapes.get("blocks.0.mlp.fc1.weight", ())[:1],
    }


def _geometry_npz(arrays: Mapping[str, tuple[int, ...]]) -> dict[str, object]:
    def ending(suffix: str) -> tuple[int, ...]:
        return next((shape for name, shape in arrays.items() if name.endswith(suffix)), ())

    kernel = ending("embedding/kernel")  # (patch, patch, 3, d)
    found = (re.search(r"encoderblock_(\d+)/", name) for name in arrays)
    return {
        "patches of": kernel[:2],
        "width": kernel[-1:],
        "blocks": len({match[1] for match in found if match}),
        "hidden": ending("MlpBlock_3/Dense_0/kernel")[-1:],
    }


def _told(geometry: Mapping[str, object]) -> str:
    def text(value: object) -> str:
        return " x ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)

    return ", ".join(f"{name} {text(value)}" for name, value in geometry.items())


@contextmanager
def own_chance() -> Iterator[None]:
    """A random generator of its own for what a model draws while it is built."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        yield


def parameters(architecture: str, **arguments: Any) -> int:
    """Numbers in a timm model without a classifier, without building it."""
    shapes = _shapes(architecture, json.dumps(arguments))
    return sum(torch.Size(shape).numel() for shape in shapes.values())


@cache
def _shapes(architecture: str, arguments: str = "{}") -> dict[str, tuple[int, ...]]:
    """Shapes of the parameters by name; `arguments` are JSON."""
    with torch.device("meta"):  # nothing is allocated or drawn
        model = timm.create_model(architecture, num_classes=0, **json.loads(arguments))
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def _three(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue
