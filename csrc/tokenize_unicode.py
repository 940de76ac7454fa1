"""Writes tokenize_unicode_data.h from the Unicode data of the Python that runs it.

Classes follow Python's str methods, so that `re`'s \\w and str.lower() can be matched exactly. The result is
committed: all builds of one radfast version share one Unicode version, whatever Python they are made with.
"""

from __future__ import annotations

import sys
import textwrap
import unicodedata
from pathlib import Path

WORD, MARK, SPACE, UPPER, LOWER, DIGIT = 1, 2, 4, 8, 16, 32


def classify(point: int) -> int:
    """Return the class bits of a code point."""
    char = chr(point)
    category = unicodedata.category(char)
    return (
        WORD * char.isalnum()
        + MARK * category.startswith("M")
        + SPACE * char.isspace()
        + UPPER * (category in ("Lu", "Lt"))
        + LOWER * (category == "Ll")
        + DIGIT * (category == "Nd")
    )


def find_runs(values: list[int], empty: int) -> list[tuple[int, int, int]]:
    """Join neighbours of one value; those of the value `empty` are left out."""
    runs: list[tuple[int, int, int]] = []
    for point, value in enumerate(values):
        if value == empty:
            continue
        if runs and runs[-1][1] == point and runs[-1][2] == value:
            runs[-1] = (runs[-1][0], point + 1, value)
        else:
            runs.append((point, point + 1, value))
    return runs


def fold(point: int) -> int:
    """Return what lower case adds to a code point."""
    # U+0130 is the one character whose lower case has two; its first is taken.
    return ord(chr(point).lower()[0]) - point


def write(name: str, kind: str, rows: list[str]) -> str:
    """Return the source of a table."""
    body = textwrap.fill(" ".join(rows), 108, initial_indent="    ", subsequent_indent="    ")
    return f"inline constexpr {kind} {name}[] = {{\n{body}\n}};\n"


def main() -> None:
    """Write the header beside this file."""
    points = range(sys.maxunicode + 1)
    classes = find_runs([classify(point) for point in points], 0)
    folds = find_runs([fold(point) for point in points], 0)
    text = (
        "// Written by tokenize_unicode.py from Unicode "
        + unicodedata.unidata_version
        + ": do not edit.\n// clang-format off\n#pragma once\n\n#include <cstdint>\n\nnamespace radfast {\n\n"
        + "struct UnicodeRun { uint32_t first, last; int32_t value; };\n\n"
        + "// Code points [first, last) of one class (bits of CharClass).\n"
        + write("kClassRuns", "UnicodeRun", [f"{{{a},{b},{c}}}," for a, b, c in classes])
        + "\n// Code points [first, last) whose lower case is themselves + value.\n"
        + write("kFoldRuns", "UnicodeRun", [f"{{{a},{b},{c}}}," for a, b, c in folds])
        + "\n}  // namespace radfast\n// clang-format on\n"
    )
    Path(__file__).with_name("tokenize_unicode_data.h").write_text(text)


if __name__ == "__main__":
    main()
