"""A table of text, as Markdown, LaTeX or for a terminal. Same input, same bytes."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

NOTHING = "—"
_LATEX = {
    "\\": r"\textbackslash{}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "Δ": r"$\Delta$",
    "—": "---",
    "–": "--",
    "…": r"\dots{}",
}
_SHRUNK = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a header, in named blocks."""

    title: str
    header: tuple[str, ...]
    blocks: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]
    """(name, rows); a block without a name gets no heading."""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that no row is longer or shorter than the header."""
        for _, rows in self.blocks:
            for row in rows:
                if len(row) != len(self.header):
                    raise ValueError(f"row {row} has {len(row)} cells, the header has {len(self.header)}")

    def _repr_markdown_(self) -> str:
        """What a notebook shows."""
        return markdown(self)


def markdown(table: Table) -> str:
    """GitHub Markdown: first column left, the others right."""
    lines = [f"### {table.title}", "", _pipe(table.header), _pipe(["---"] + ["---:"] * (len(table.header) - 1))]
    for name, rows in table.blocks:
        if name:
            lines.append(_pipe([f"*{name}*"] + [""] * (len(table.header) - 1)))
        lines += [_pipe(row) for row in rows]
    lines += [""] + [f"{note}  " if note != table.notes[-1] else note for note in table.notes]
    return "\n".join(lines).rstrip() + "\n"


def latex(table: Table) -> str:
    r"""A `table` float in booktabs style, shrunk where it is wider than the text.

    Needs `\usepackage{booktabs,graphicx}` and nothing else.
    """
    width = len(table.header)
    lines = [r"\begin{table}", r"\centering\small\setlength{\tabcolsep}{3pt}", rf"\caption{{{escape(table.title)}}}"]
    header = " & ".join(map(_stacked, table.header)) + r" \\"
    lines += [_SHRUNK, rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}", r"\toprule", header]
    for name, rows in table.blocks:
        lines.append(r"\midrule")
        if name:
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\emph{{{escape(name)}}}}} \\")
        lines += [_ampersand(row) for row in rows]
    lines += [r"\bottomrule", r"\end{tabular}}"]
    lines += [rf"\par\smallskip\parbox{{\linewidth}}{{\footnotesize {escape(note)}}}" for note in table.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def terminal(table: Table, width: int = 100) -> str:
    """Plain text in columns; a header wider than its column is broken into words, notes are wrapped at `width`."""
    rows = [row for _, block in table.blocks for row in block]
    words = [max(name.split(), key=len, default="") for name in table.header]
    widths = [max(map(len, column)) for column in zip(words, *rows, strict=True)]
    header = [textwrap.wrap(name, size) for name, size in zip(table.header, widths, strict=True)]
    height = max(map(len, header))
    header = [[""] * (height - len(lines)) + lines for lines in header]
    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [table.title, rule, *(_aligned(line, widths) for line in zip(*header, strict=True)), rule]
    for place, (name, block) in enumerate(table.blocks):
        if name:
            lines += [*([""] if place else []), name]
        lines += [_aligned(row, widths) for row in block]
    lines.append(rule)
    return "\n".join(lines + [line for note in table.notes for line in textwrap.wrap(note, width)]) + "\n"


def escape(text: str) -> str:
    """Text for LaTeX; signed numbers become mathematics."""
    return re.sub("|".join(map(re.escape, _LATEX)), lambda found: _LATEX[found.group()], text)


def _pipe(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _stacked(name: str) -> str:
    """A column's name, in lines of a few words."""
    lines = [escape(line) for line in textwrap.wrap(name, 14)]
    return lines[0] if len(lines) == 1 else r"\shortstack{" + r" \\ ".join(lines) + "}"


def _ampersand(cells: Sequence[str]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.rjust(width) if place else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, *rest]).rstrip()
