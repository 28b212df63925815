"""Records on disk: one directory a result, written whole or not at all, in formats that are safe to open.

    STUDY/study.json                            the study file as resolved, and its fingerprint
    STUDY/trials/<task>/<method>/<key>/         a search trial: trained on train, looked at on val
    STUDY/runs/<task>/<method>/<key>/           a final run: trained on train + val, looked at on test and shift sets
    STUDY/ensembles/<task>/<method>/<key>/      what a combination of runs says
    STUDY/checkpoints/<task>/<method>/<key>.safetensors     where a trial that was stopped can be gone on with, while
                                                            its search is under way

and in each of these directories

    record.json            the header: what was run, what came out, the files beside it with size and SHA-256
    logits.safetensors     a float array (N, C) for every set of examples looked at
    examples.parquet       set, id, label: a row an example, in the order of the logits
    tuned.safetensors      the tuned tensors and the classifier (runs only)

A directory is made under a temporary name, synced and renamed, so a reader sees all of it or nothing. Its name is the
hash of the specification that determines the result: a study can be moved, copied, and joined with another's.
No torch in here: whoever reads results need not have it.
"""

from petl_study.store.examination import QUARANTINE, Finding, examine
from petl_study.store.files import TEMPORARY, move_into, write_file
from petl_study.store.index import Entry
from petl_study.store.joining import union
from petl_study.store.lock import Held, alone
from petl_study.store.record import FORMAT, KINDS, ZERO_SHOT, Examples, Kind, Record, intact, read
from petl_study.store.study import Study, furthest
from petl_study.store.text import canonical, fingerprint, finite, key_of, safe_name, seal
from petl_study.store.writing import copy_in, write

__all__ = [
    "FORMAT",
    "KINDS",
    "QUARANTINE",
    "TEMPORARY",
    "ZERO_SHOT",
    "Entry",
    "Examples",
    "Finding",
    "Held",
    "Kind",
    "Record",
    "Study",
    "alone",
    "canonical",
    "copy_in",
    "examine",
    "fingerprint",
    "finite",
    "furthest",
    "intact",
    "key_of",
    "move_into",
    "read",
    "safe_name",
    "seal",
    "union",
    "write",
    "write_file",
]
