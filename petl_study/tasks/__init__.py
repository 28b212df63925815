"""The tasks a backbone is adapted to: `list_tasks`, `info`, `load`. Importing a task's file registers it."""

from petl_study.tasks import (  # noqa: F401
    cells,
    count,
    digits,
    fgvc,
    folder,
    imagenet,
    letters,
    orientation,
    textures,
    timm_datasets,
    vtab1k,
)
from petl_study.tasks._base import GROUPS, SPLITS, Split, Task, TaskInfo
from petl_study.tasks._registry import (
    expand,
    expected_sizes,
    fingerprint,
    info,
    list_loaders,
    list_tasks,
    load,
    register,
    require_known,
)
from petl_study.tasks._source import Source, of_record, source_of

__all__ = [
    "GROUPS",
    "SPLITS",
    "Source",
    "Split",
    "Task",
    "TaskInfo",
    "expand",
    "expected_sizes",
    "fingerprint",
    "info",
    "list_loaders",
    "list_tasks",
    "load",
    "of_record",
    "register",
    "require_known",
    "source_of",
]
