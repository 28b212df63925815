"""The tasks a backbone is adapted to: `list_tasks`, `info`, `load`. Importing a task's file registers it."""

from petl_study.tasks import cells, count, digits, letters, orientation, textures  # noqa: F401
from petl_study.tasks._base import GROUPS, SPLITS, Split, Task, TaskInfo
from petl_study.tasks._registry import fingerprint, info, list_tasks, load, register

__all__ = ["GROUPS", "SPLITS", "Split", "Task", "TaskInfo", "fingerprint", "info", "list_tasks", "load", "register"]
