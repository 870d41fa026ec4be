"""Read a Dockerfile."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

INSTRUCTIONS = {
    *("FROM", "RUN", "CMD", "EXPOSE", "ENV", "COPY", "USER", "WORKDIR", "STOPSIGNAL"),
    "HEALTHCHECK",
}
"""The instructions that the Dockerfile of this project uses."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """An instruction and its arguments, as one line."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The arguments, without options such as `--from`."""
        return [word for word in shlex.split(self.text) if not word.startswith("--")]

    @property
    def options(self) -> dict[str, str]:
        """The options, without their hyphens."""
        found = re.findall(r"--([\w-]+)=(\S+)", self.text.partition("[")[0])
        return dict(found)

    @property
    def command(self) -> list[str]:
        """The command of an instruction in exec form, which needs no shell.

        Raises:
            ValueError: the instruction is in shell form.
        """
        found: list[str] = json.loads(self.text[self.text.index("[") :])
        return found


def read_stages(path: Path) -> list[list[Instruction]]:
    """Return the instructions of each stage."""
    stages: list[list[Instruction]] = []
    for instruction in _read(path):
        if instruction.name == "FROM":
            stages.append([])
        stages[-1].append(instruction)
    return stages


def _read(path: Path) -> Iterator[Instruction]:
    """Yield the instructions, without comments and with continued lines joined.

    Raises:
        ValueError: the file has an instruction that is not in `INSTRUCTIONS`.
    """
    text = re.sub(r"^#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            if name not in INSTRUCTIONS:
                raise ValueError(f"unknown instruction {name}")
            yield Instruction(name, re.sub(r"\s+", " ", rest.strip()))
