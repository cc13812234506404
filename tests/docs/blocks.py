"""The fenced blocks of the documents, and what a reader types of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the lines between the fences, and the number of the first."""

    document: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


@dataclass(frozen=True)
class Command:
    """What is typed after one prompt, and the lines of output that the document shows below it."""

    text: str
    output: tuple[str, ...] = ()


def name_of(document: Path) -> str:
    """Name a document as it is named from the top of the repository."""
    return document.relative_to(ROOT).as_posix()


def blocks_of(document: Path) -> list[Block]:
    """Read all fenced blocks of a document, in order."""
    text = document.read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [
        Block(name_of(document), text.count("\n", 0, match.start()) + 2, match[1], match[2])
        for match in found
    ]


def commands_of(block: Block) -> list[Command]:
    r"""
    Take apart a `console` block.

    `$ ` (a user) and `# ` (root) begin a command; `> `, or a `\` at the end of the line before, continues it.
    """
    commands: list[Command] = []
    for line in block.text.splitlines():
        last = commands[-1] if commands else Command("")
        if line.startswith(("$ ", "# ")):
            commands.append(Command(line[2:]))
        elif line.startswith("> ") or last.text.endswith("\\"):
            commands[-1] = Command(f"{last.text}\n{line.removeprefix('> ')}")
        else:
            commands[-1] = Command(last.text, (*last.output, line))
    return commands


def code_in_tables(document: Path, heading: str) -> list[str]:
    """Give the code in the tables below a heading, without that of the first column."""
    text = document.read_text(encoding="utf-8")
    (section,) = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.DOTALL | re.MULTILINE)
    rows = [line for line in section.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [code for row in rows for cell in row.split("|")[2:] for code in re.findall(r"`([^`]+)`", cell)]
