"""The tasks a backbone is adapted to: `list_tasks`, `info`, `load`. Importing a task's file registers it."""

from petl_study.tasks import cells, count, digits, folder, letters, orientation, textures, vtab1k  # noqa: F401
from petl_study.tasks._base import GROUPS, SPLITS, Split, Task, TaskInfo
from petl_study.tasks._registry import expand, fingerprint, info, list_tasks, load, register, require_known
from petl_study.tasks._source import Source, of_record

__all__ = [
    "GROUPS",
    "SPLITS",
    "Source",
    "Split",
    "Task",
    "TaskInfo",
    "expand",
    "fingerprint",
    "info",
    "list_tasks",
    "load",
    "of_record",
    "register",
    "require_known",
]
