"""Numbers in words, for every page, table and report."""

from __future__ import annotations

__all__ = ["counted"]


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number with its noun: "1 image", "1,234 images", "2 studies".

    Parameters
    ----------
    count
        Number of things.
    one
        Noun for a single thing.
    many
        Noun for any other number; None where it is ``one`` with an s.
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
