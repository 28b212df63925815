"""Weight files: where they lie, what is in them, which file it was. Tensors are read, code never is."""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import pickle
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from safetensors import SafetensorError
from torch import Tensor

from petl_study import places
from petl_study.errors import DamagedRecord, InputError

PICKLED = (".pth", ".pt", ".bin", ".ckpt", ".tar")
FORMATS = (".npz", ".safetensors", *PICKLED)
# Where training codes put the weights in what they save; averaged weights and a teacher's are the ones to use.
WRAPPERS = ("state_dict_ema", "model_ema", "ema", "teacher", "state_dict", "model", "module")
MOST_EXPANDED = 4  # times that arrays may be larger than the `.npz` they lie in; weights hardly compress
_NO_ARRAYS = (ValueError, OSError, EOFError, LookupError, AttributeError, RuntimeError, zipfile.BadZipFile, zlib.error)
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
PREFIXES = ("_orig_mod.", "module.", "_orig_mod.")  # of compiled and of distributed models, in either order


def sha256(path: Path) -> str:
    """SHA-256 of a file, computed once for a path, size and time of change."""
    state = path.stat()
    return _sha256(path.resolve(), state.st_size, state.st_mtime_ns)


@cache
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def noted(given: str) -> str:
    """What records call the weights at the path `given`, which is noted in `places`: its last part.

    Raises
    ------
    InputError
        Other weights have that name already.
    """
    known = places.here()
    path = (known.weights / Path(given).expanduser()).absolute()
    if given == path.name:
        return given
    other = dict(known.files).get(path.name, path)
    if os.path.realpath(other) != os.path.realpath(path):
        raise InputError(f"{path} and {other} have the same name, which is what records call them. Rename one of them.")
    places.use(replace(known, files=tuple({**dict(known.files), path.name: path}.items())))
    return path.name


def at(name: str) -> Path:
    """Where the weights called `name` are, if they are: noted, or relative to the directory of weights."""
    known = places.here()
    return dict(known.files).get(name, known.weights / Path(name).expanduser())


def local(path: str) -> Path:
    """The weight file that `places` finds for `path`, which the user named.

    Raises
    ------
    InputError
        There is no such file, or its format is none of `FORMATS`.
    """
    file = at(path)
    if not file.is_file():
        raise InputError(
            f"there is no weight file {file}. Name an existing one, as in vit_base_patch16_224@/path/to/file; --weights"
            " DIR (or PETL_STUDY_WEIGHTS) says what names are relative to."
        )
    if file.suffix not in FORMATS:
        raise InputError(
            f"{path}: weights are read from {', '.join(FORMATS)}, not from {file.suffix or 'no suffix'!r}."
        )
    return file


def hub(repository: str, names: Sequence[str], use: str) -> Path:
    """The first of the files `names` that `repository` has, from the Hugging Face hub or its cache on this machine.

    Raises
    ------
    InputError
        None is in the cache and none can be fetched; the message says how to fetch it and, in `use`, what else to do.
    """
    repository, _, revision = repository.partition("@")
    for name in names:  # what is here is not asked for again: no waiting, and no other weights tomorrow
        with suppress(LocalEntryNotFoundError):
            return Path(hf_hub_download(repository, name, revision=revision or None, local_files_only=True))
    reason = "the repository has no such file"
    for name in names:
        try:
            return Path(hf_hub_download(repository, name, revision=revision or None))
        except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
            reason = f"not in the cache, and the hub cannot be reached ({_first_line(error)})"
            break
        except EntryNotFoundError:
            continue
        except (HfHubHTTPError, OSError, ValueError) as error:
            reason = _first_line(error)
            break
    raise InputError(
        f"the weights {' or '.join(names)} of {repository} are missing: {reason}. Fetch them where there is a"
        f" network with `hf download {repository}` (formerly `huggingface-cli download`), and point HF_HOME to that"
        f" cache; or {use}."
    )


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` or a PyTorch file by name, without what training codes wrap around them.

    Raises
    ------
    InputError
        The file holds Python objects, which may run code, or no tensors.
    DamagedRecord
        It is cut off or no such file at all.
    """
    if path.suffix == ".safetensors":
        try:
            found: Any = safetensors.torch.load_file(path)
        except (SafetensorError, OSError) as error:
            raise DamagedRecord(f"{path} is damaged, or no safetensors file: {error}. Fetch it again.") from None
    else:
        try:
            with torch.serialization.safe_globals([argparse.Namespace]):  # the options of a training: plain data
                found = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if _is_text(path):
                raise DamagedRecord(
                    f"{path} is text and no weight file: a web page, or a pointer (Git LFS), in its place."
                    " Fetch it again."
                ) from None
            raise InputError(
                f"{path} is no file of tensors alone: {_refused(path) or _reason(error)}. Python code in weight"
                " files is never run; where you trust it, save its state_dict() alone with safetensors.torch.save_file."
            ) from None
        except MemoryError:
            raise
        except Exception as error:  # what it raises on altered bytes is anyone's guess
            if "TorchScript" in str(error):
                raise InputError(
                    f"{path} is a TorchScript archive, which is a program with its weights, as OpenAI's own CLIP files"
                    " are; it is not run. Fetch the weights alone from the hub, or where you trust it, save"
                    " torch.jit.load(FILE).state_dict() with safetensors.torch.save_file."
                ) from None
            raise DamagedRecord(f"{path} is damaged or cut off: {_reason(error)}. Fetch it again.") from None
    return _unwrap(found, path)


def npz(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays of an `.npz` file by name, read without pickle.

    Raises
    ------
    DamagedRecord
        It is cut off, no `.npz` file, or a small one of what claims to be large.
    """
    try:
        if (claimed := _claimed(path)) > MOST_EXPANDED * path.stat().st_size:
            raise ValueError(f"its arrays claim {claimed:,} bytes, which are not in it")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name].shape for name in arrays.files}
    except _NO_ARRAYS as error:
        reason = str(error).partition(". ")[0].rstrip(".")  # without NumPy's advice to run what is in it
        raise DamagedRecord(f"{path} is damaged, or no .npz file of arrays: {reason}. Fetch it again.") from None


def _claimed(path: Path) -> int:
    """Bytes that the arrays of an `.npz` file would take, by what they say of themselves."""
    total = 0
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read_header = _HEADERS[version]
                shape, _, dtype = read_header(file)
                total += math.prod(shape) * dtype.itemsize
    return total


def _unwrap(found: Any, path: Path) -> dict[str, Tensor]:
    while isinstance(found, Mapping):
        inner = [found[key] for key in WRAPPERS if isinstance(found.get(key), Mapping)]
        if not inner:
            break
        found = inner[0]
    named = found.items() if isinstance(found, Mapping) else ()
    tensors = {str(name): value for name, value in named if isinstance(value, Tensor)}
    if not tensors:
        raise InputError(f"{path} holds no named tensors, at its top or under {', '.join(WRAPPERS)}.")
    for prefix in PREFIXES:
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    # A self-supervised method's own projection heads lie beside its backbone.
    of_backbone = {n.removeprefix("backbone."): t for n, t in tensors.items() if n.startswith("backbone.")}
    return of_backbone or tensors


def _refused(path: Path) -> str:
    try:
        objects = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # an old or broken file cannot be listed; then the reason is the error's own
        return ""
    return f"it holds {', '.join(objects)}" if objects else ""


def _is_text(path: Path) -> bool:
    """Whether it begins as no archive and no pickle does."""
    with path.open("rb") as file:
        start = file.read(64)
    return start.isascii() and b"\0" not in start


def _reason(error: Exception) -> str:
    """What torch says is wrong with a file, without its advice to run what is in it."""
    found = re.search(r"WeightsUnpickler error:\s*(\S.*)", str(error))
    return found[1].rstrip(". ") if found else _first_line(error)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
