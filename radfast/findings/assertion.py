"""Is a finding present, absent, uncertain, historical, hypothetical or of the family.

Cues around the finding decide (cues.toml), in the manner of NegEx (Chapman et al. 2001) with the order of
CheXpert (Irvin et al. 2019): uncertainty that stands before a negation ("probably no"), then negation, then
other uncertainty; present when nothing is said. Words of the family come before all of these, and of history
and hypothesis the cue that is nearest.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

from radfast.findings.words import Vocabulary
from radfast.kernels.phrases import Trie, build_trie

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CUES = Path(__file__).with_name("cues.toml")
KINDS = {
    "negation": "absent",
    "uncertainty": "uncertain",
    "hypothetical": "hypothetical",
    "historical": "historical",
    "family": "family",
}
_NEAR = 1  # words between a near cue and its finding
_DEFINITE = 1  # words between "of the" and its finding
_REACH = {"before": 30, "near": _NEAR, "after": 12}  # words
_PLURAL = ("are ", "were ", "have ")


@dataclass(frozen=True)
class Cue:
    """A phrase and what it says: roles are (kind, place), as ("negation", "before")."""

    text: str
    roles: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Cues:
    """All cues, compiled for one vocabulary.

    Attributes
    ----------
    cues : tuple of Cue
    trie : Trie
        Their phrases; phrase n is ``cues[n]``.
    starters, joiners, verbs : frozenset of int
        Words that tell clauses apart.
    comma : int
        The word ",".
    """

    cues: tuple[Cue, ...]
    trie: Trie
    starters: frozenset[int]
    joiners: frozenset[int]
    verbs: frozenset[int]
    comma: int
    conjunction: int


@lru_cache(maxsize=1)
def _read() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads(CUES.read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def section_kinds() -> dict[str, str]:
    """Return every known heading in lower case with the assertion of what stands under it, "" for none."""
    kinds = {"historical": "historical", "family": "family", "other": ""}
    return {name: kinds[kind] for kind, names in _read()["sections"].items() for name in names}


def _fill(phrase: str, slots: dict[str, list[str]]) -> list[str]:
    """Return the phrase with each of the words that its slot takes, and with none: "is {very} unlikely"."""
    name = next((name for name in slots if f"{{{name}}} " in phrase), None)
    if name is None:
        return [phrase]
    return [phrase.replace(f"{{{name}}} ", word and f"{word} ") for word in ("", *slots[name])]


def compile_cues(vocabulary: Vocabulary) -> Cues:
    """Read the cues and number their words; adds to `vocabulary`."""
    tables = _read()
    roles: dict[tuple[int, ...], set[tuple[str, str]]] = {}
    texts: dict[tuple[int, ...], str] = {}

    def note(phrases: list[str], kind: str, place: str) -> None:
        for text in chain.from_iterable(_fill(phrase, tables["slots"]) for phrase in phrases):
            phrase = vocabulary.add_phrase(text)
            roles.setdefault(phrase, set()).add((kind, place))
            texts.setdefault(phrase, text.strip())

    for kind in KINDS:
        for place, phrases in tables[kind].items():
            note(phrases, kind, place)
    note(tables["pseudo"]["phrases"], "pseudo", "")
    note(tables["stop"]["phrases"], "stop", "")
    for place in ("negation", "definite"):
        note(tables["stop"][place], "stop", place)
    clause = {
        name: frozenset(vocabulary.add_phrase(word)[0] for word in words)
        for name, words in tables["clause"].items()
    }
    return Cues(
        cues=tuple(Cue(texts[phrase], frozenset(found)) for phrase, found in roles.items()),
        trie=build_trie(list(roles)),
        starters=clause["starters"],
        joiners=clause["joiners"],
        verbs=clause["verbs"],
        comma=vocabulary.add_phrase(",")[0],
        conjunction=vocabulary.add_phrase("and")[0],
    )


@dataclass(frozen=True)
class Mark:
    """A cue found in a sentence, at words [start, end)."""

    start: int
    end: int
    cue: Cue


class Sentence:
    """One sentence: its words and the cues in it, with positions counted from the sentence's first word."""

    def __init__(self, words: list[int], marks: list[Mark], cues: Cues) -> None:
        self._words = words
        self._marks = marks
        self._starts = [mark.start for mark in marks]
        self._ends = [mark.end for mark in marks]
        self._cues = cues

    def judge(self, start: int, end: int) -> tuple[str, str]:
        """Return the assertion of the finding at words [start, end), and the cue; ("", "") for no cue."""
        before = self._find_before(start)
        if "family" in before:
            return "family", before["family"].cue.text
        after = self._find_after(end)
        negation = before.get("negation")
        aside = [mark for kind in ("hypothetical", "historical") if (mark := before.get(kind)) is not None]
        nearest = max(aside, key=lambda mark: mark.end, default=None)
        if negation is not None and (nearest is None or nearest.end <= negation.start):
            doubt = self._doubt_before(negation)
            return ("uncertain", doubt.cue.text) if doubt is not None else ("absent", negation.cue.text)
        if "negation" in after and "uncertainty" not in before:
            return "absent", after["negation"].cue.text
        if nearest is not None:
            kind = "hypothetical" if ("hypothetical", "before") in nearest.cue.roles else "historical"
            return kind, nearest.cue.text
        for found in (before, after):
            if "uncertainty" in found:
                return "uncertain", found["uncertainty"].cue.text
        if "historical" in after:
            return "historical", after["historical"].cue.text
        return "", ""

    def _doubt_before(self, negation: Mark) -> Mark | None:
        """Return the uncertainty that a negation stands under, as in "probably no"."""
        at = bisect_right(self._ends, negation.start) - 1
        if (
            at >= 0
            and self._ends[at] == negation.start
            and ("uncertainty", "before") in self._marks[at].cue.roles
        ):
            return self._marks[at]
        return None

    def _find_before(self, start: int) -> dict[str, Mark]:
        """Return the nearest cue of each kind that reaches the word at `start`."""
        found: dict[str, Mark] = {}
        negates = True
        for at in range(bisect_right(self._ends, start) - 1, -1, -1):
            mark = self._marks[at]
            if start - mark.end > _REACH["before"]:
                break
            roles = mark.cue.roles
            negates = negates and not (("stop", "definite") in roles and start - mark.end <= _DEFINITE)
            for kind, place in roles:
                if place not in ("before", "near") or start - mark.end > _REACH[place] or kind in found:
                    continue
                if kind == "negation" and not negates:
                    continue
                if place == "near" and self._cues.comma in self._words[mark.end : start]:
                    continue
                if kind in ("negation", "uncertainty") and self._new_clause(mark.end, start):
                    continue
                found[kind] = mark
            if ("stop", "") in roles:
                break
            negates = negates and ("stop", "negation") not in roles
        return found

    def _find_after(self, end: int) -> dict[str, Mark]:
        found: dict[str, Mark] = {}
        for at in range(bisect_left(self._starts, end), len(self._marks)):
            mark = self._marks[at]
            if mark.start - end > _REACH["after"]:
                break
            roles = mark.cue.roles
            for kind, place in roles:
                if place == "after" and kind not in found:
                    between = self._words[end : mark.start]
                    listed = self._cues.comma not in between or mark.cue.text.startswith(_PLURAL)
                    if listed and not any(word in self._cues.verbs for word in between):
                        found[kind] = mark
            if ("stop", "") in roles:
                break
        return found

    def _new_clause(self, start: int, stop: int) -> bool:
        """Say whether a clause begins between a cue that ends at `start` and the finding at `stop`."""
        words, cues = self._words, self._cues
        verb = False
        for at in range(start, stop):
            if words[at] in cues.verbs:
                verb = True
            elif words[at] in (cues.comma, cues.conjunction):
                if verb:
                    return True
                joined = any(word in cues.joiners for word in words[at : stop + _REACH["after"]])
                if words[at + 1] in cues.starters and not joined:
                    return True
        return False
