"""What of a message may go into a record, which travels: no directory of this machine, and not its name.

Exceptions name files by their whole path, and with that users, projects and data that are nobody's business. What a
record says itself has names that `places` gave it; a failure's text is another library's.
"""

from __future__ import annotations

import re
import socket
import sys
import sysconfig
import tempfile
from contextlib import suppress
from pathlib import Path

from petl_study import places

# An absolute path that no one named: of it the last part stays. One with spaces in it is cut at the first.
_ABSOLUTE = re.compile(
    r"(?<![\w.~/>-])(?!(?<=:)//)(?:[A-Za-z]:)?(?:[/\\]+[^\s/\\'\"`,;:()\[\]{}<>|]+)+[/\\]+([^\s/\\'\"`,;:()\[\]{}<>|]+)"
)


def without_places(text: str, study: Path | None = None) -> str:
    """`text` with directories of this machine called by what they are to a study: ``DATA/pets/a.png``.

    Parameters
    ----------
    study : Path, optional
        The study's directory.
    """
    for path, name in _known(study):
        text = text.replace(path, name)
    text = _ABSOLUTE.sub(r".../\1", text)
    host = socket.gethostname()
    return re.sub(rf"\b{re.escape(host)}\b", "HOST", text) if host else text


def _known(study: Path | None) -> list[tuple[str, str]]:
    """Directories and what to call them, the longest first: one may lie in another."""
    here = places.here()
    named = [
        *([(study, "STUDY")] if study else []),
        *((path, name) for name, path in (*here.folders, *here.files)),
        (here.data, "DATA"),
        (here.weights, "WEIGHTS"),
        (here.cache, "CACHE"),
        (Path(sysconfig.get_path("purelib")), "PACKAGES"),
        (Path(__file__).parents[1], "PACKAGES"),
        (Path(sys.prefix), "PYTHON"),
        (Path(sys.base_prefix), "PYTHON"),
        (Path(tempfile.gettempdir()), "TEMPORARY"),
        (Path.cwd(), "HERE"),
    ]
    with suppress(RuntimeError):  # a user without a home
        named.append((Path.home(), "HOME"))
    known = {str(form): name for path, name in named for form in (path.resolve(), path.absolute())}
    return sorted(((path, name) for path, name in known.items() if len(path) > 1), key=lambda one: -len(one[0]))
