"""Which credentials have been given other values, and which two values are accepted at once."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, model_validator

from components.settings.base import Section

Generation = Annotated[int, Field(ge=1, le=9999)]


class RotationSettings(Section):
    """Rotation of the credentials that the program draws. ``python -m ops secrets rotate`` edits this section.

    Attributes:
        generations: How often a credential has been drawn, by purpose: ``{mlflow-database: 2}`` is its second value.
            What is not named has its first. A number is raised by one, and never lowered: the value before does not
            come back.
        overlapping: Purposes of which the value before is accepted too, until their readers have the new one. Only of
            credentials that can have two: ``cache-auth`` where AWS or the platform itself runs the cache.
    """

    generations: dict[str, Generation] = Field(default_factory=dict[str, int])
    overlapping: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _only_what_was_rotated_overlaps(self) -> RotationSettings:
        if first := [purpose for purpose in self.overlapping if self.generations.get(purpose, 1) == 1]:
            raise ValueError(f"overlapping: must have a generation above 1; got {', '.join(first)}")
        return self


UNROTATED: Final = RotationSettings()
"""Every credential has its first value."""
