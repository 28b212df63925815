"""VTAB-1K (Zhai et al., arXiv 1910.04867): 19 tasks of 800 images to train on and 200 to validate on.

Read from the layout in which the field passes them on, a directory for each task below ``--data``:

    DATA/<task>/train800.txt, val200.txt, train800val200.txt, test.txt      lines of `path label`
    DATA/<task>/images/...

Names are those of the directories there. Test sets are the original ones, whole.
"""

from __future__ import annotations

from dataclasses import dataclass

from petl_study import places
from petl_study.errors import unknown
from petl_study.tasks import folder
from petl_study.tasks._base import Task
from petl_study.tasks._registry import Loader, register_loader

PREFIX = "vtab1k:"
TRAIN, VAL = 800, 200


@dataclass(frozen=True)
class Known:
    """What a task of VTAB-1K has to be."""

    group: str
    classes: int
    test: int
    summary: str


TASKS = {
    "caltech101": Known("natural", 102, 6084, "objects, and clutter"),
    "cifar": Known("natural", 100, 10000, "CIFAR-100: small photographs of things and animals"),
    "dtd": Known("natural", 47, 1880, "textures by the words that describe them"),
    "oxford_flowers102": Known("natural", 102, 6149, "species of flowers"),
    "oxford_iiit_pet": Known("natural", 37, 3669, "breeds of cats and dogs"),
    "svhn": Known("natural", 10, 26032, "digits of house numbers"),
    "sun397": Known("natural", 397, 21750, "scenes"),
    "patch_camelyon": Known("specialized", 2, 32768, "tumour in sections of lymph nodes, or none"),
    "eurosat": Known("specialized", 10, 5400, "land use from a satellite"),
    "resisc45": Known("specialized", 45, 6300, "scenes from the air"),
    "diabetic_retinopathy": Known("specialized", 5, 42670, "stages of retinopathy"),
    "clevr_count": Known("structured", 8, 15000, "how many objects, 3 to 10"),
    "clevr_dist": Known("structured", 6, 15000, "how far the nearest object is"),
    "dmlab": Known("structured", 6, 22735, "how far, and how good, what is ahead in a maze is"),
    "kitti": Known("structured", 4, 711, "how far the nearest vehicle is"),
    "dsprites_loc": Known("structured", 16, 73728, "where across the image a shape stands"),
    "dsprites_ori": Known("structured", 16, 73728, "how far a shape is turned"),
    "smallnorb_azi": Known("structured", 18, 12150, "from where around it a toy is seen"),
    "smallnorb_ele": Known("structured", 9, 12150, "from how high a toy is seen"),
}


def load(name: str) -> Task:
    """Task `name` of VTAB-1K, from its lists."""
    if name not in TASKS:
        raise unknown("task of VTAB-1K", name, TASKS)
    known, root = TASKS[name], places.folder(name)
    return folder.of_lists(root, group=known.group, classes=known.classes, summary=known.summary)


register_loader(
    Loader(
        PREFIX,
        load,
        names=lambda: list(TASKS),
        example="vtab1k:cifar",
        summary="a task of VTAB-1K in its directory below --data; `vtab1k` alone is all 19",
        sizes=lambda name: (TRAIN, VAL, TASKS[name].test),
    )
)
