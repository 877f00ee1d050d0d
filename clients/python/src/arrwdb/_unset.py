"""Telling "leave it" from "make it empty"."""

from __future__ import annotations

import enum
from typing import Any, Final


class Unset(enum.Enum):
    """The type of `UNSET`."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""Of an update's field: leave it as it is."""


def given(**fields: Any) -> dict[str, Any]:
    """The fields that are to change."""
    return {name: value for name, value in fields.items() if value is not UNSET}
