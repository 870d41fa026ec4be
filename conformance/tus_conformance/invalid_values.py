"""Nearly right values for header fields that hold numbers."""

from __future__ import annotations

from .wire import Value

NON_NUMBERS: dict[str, Value] = {
    "word": "abc",
    "negative": "-1",
    "fraction": "5.0",
    "exponent": "1e3",
    "hexadecimal": "0x5",
    "two-words": "5 5",
    "parameter": "1;a=1",
    "quoted": '"5"',
}
"""Values that no parser reads as a whole number."""

LENIENT_NUMBERS: dict[str, Value] = {
    "empty": "",
    "plus": "+5",
    "underscore": "0_5",
    "list": "5,5",
    "arabic": "٥",
    "full-width": "５",
    "superscript": "²",
    "obs-text": b"\xb2",
    "2^63": str(2**63),
    "2^64": str(2**64),
    "5000-digits": "9" * 5000,
}
"""Values that some languages read as a number, and numbers that are too large for some types."""
