"""What is known of a backbone without building it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class BackboneInfo:
    """What is known of a backbone without building it.

    `parameters` with its own classifier, if it has one in `classes`, the names of what that knows; `image_size` in
    pixels; `mean` and `std` per channel, of inputs in [0, 1], as it was pre-trained; `source` is where its weights come
    from. `open_vocabulary`: it makes rows of a classifier from the names of any classes.
    """

    name: str
    summary: str
    parameters: int
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    source: str
    fingerprint: Callable[[], str] = field(repr=False, compare=False)
    classes: tuple[str, ...] = ()
    open_vocabulary: bool = False

    @property
    def weights(self) -> str:
        """SHA-256 of the weight file, which is fetched if it is not here; an InputError says how where it cannot be."""
        return self.fingerprint()
