"""What every section shares: frozen, refusing unknown keys; and names that are safe in files and registries."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _name(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value):
        return value
    raise ValueError("expected letters, digits, '_', '.' and '-' only, such as my-shop")


Name = Annotated[str, AfterValidator(_name)]


def _day(value: dt.date) -> dt.date:
    if dt.date(1900, 1, 1) <= value <= dt.date(2200, 1, 1):
        return value
    raise ValueError("expected a date from 1900-01-01 to 2200-01-01")


Day = Annotated[dt.date, AfterValidator(_day)]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
