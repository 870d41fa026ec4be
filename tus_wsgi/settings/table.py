"""The table of settings: what `tus-wsgi settings` prints and the README contains."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic.fields import FieldInfo

from tus_wsgi.settings.settings import Formatter, Settings, setting_fields, variable_of


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: one setting.

    Attributes:
        variable: name of the environment variable.
        value: current value; empty if the table was made without settings.
        default: value if the variable is not set.
        meaning: one line of description.
    """

    variable: str
    value: str
    default: str
    meaning: str


def table(settings: Settings | None = None) -> list[Row]:
    """Return a row for each setting, in the order of their definition.

    Args:
        settings: fills the column of current values; None leaves it empty.
    """
    return [
        Row(
            variable=variable_of(name),
            value=_format_value(field, getattr(settings, name)) if settings else "",
            default="required" if field.is_required() else _format_value(field, field.default),
            meaning=field.description or "",
        )
        for name, field in setting_fields().items()
    ]


def plain_text(rows: Iterable[Row]) -> str:
    """Format rows as aligned columns of variable, value, default and meaning."""
    cells = [("variable", "value", "default", "meaning")]
    cells += [(row.variable, row.value, row.default, row.meaning) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def markdown(rows: Iterable[Row]) -> str:
    """Format rows as the README's Markdown table of variable, default and meaning."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for row in rows:
        is_code = row.default.isascii() and " " not in row.default and row.default not in _WORDS
        default = f"`{row.default}`" if is_code else row.default
        lines.append(f"| `{row.variable}` | {default} | {row.meaning} |")
    return "\n".join(lines) + "\n"


# Defaults that are descriptions, not values.
_WORDS = {"required", "empty", "off", "boto3's"}


def _format_value(field: FieldInfo, value: object) -> str:
    if value is None or value == "":
        extra = field.json_schema_extra
        return str(extra["unset"]) if isinstance(extra, dict) else ""
    for item in field.metadata:
        if isinstance(item, Formatter):
            return item.build(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
