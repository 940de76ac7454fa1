"""Findings of an ontology in report text, with their assertion."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from radfast.device import count_threads
from radfast.errors import UsageError
from radfast.findings.assertion import Cues, Mark, Sentence, compile_cues, section_kinds
from radfast.findings.ontology import Ontology
from radfast.findings.sections import find_sections, section_at
from radfast.findings.words import Vocabulary, split_words
from radfast.kernels.phrases import Trie, build_trie, find_phrases
from radfast.kernels.tokenize import split_sentences
from radfast.types import FINDINGS, Progress, no_progress

_BATCH = 256  # reports matched in one call of the kernel
_ACRONYM = 5  # letters; a name in capitals of at most so many must be written so: "ALL" is no "all"


@dataclass(frozen=True)
class Finding:
    """One mention of a concept.

    Attributes
    ----------
    concept : str
        Identifier in the ontology.
    span : (int, int)
        Bytes of the mention in the UTF-8 text, half open.
    sentence : (int, int)
        Bytes of its sentence.
    assertion : str
        present | absent | uncertain | historical | hypothetical | family
    name : str
        Preferred name of the concept.
    section : str
        Heading of its section in lower case, "" for none.
    cue : str
        Cue or section that decided, "" for the default "present".
    """

    concept: str
    span: tuple[int, int]
    sentence: tuple[int, int]
    assertion: str
    name: str
    section: str
    cue: str


@dataclass(frozen=True)
class _Matcher:
    """An ontology and the cues, compiled for one vocabulary."""

    vocabulary: Vocabulary
    concepts: tuple[str, ...]
    names: dict[str, str]
    acronyms: frozenset[int]
    trie: Trie
    cues: Cues


@lru_cache(maxsize=8)
def _compile(ontology: Ontology) -> _Matcher:
    vocabulary = Vocabulary()
    phrases: dict[tuple[int, ...], str] = {}
    acronyms: dict[tuple[int, ...], bool] = {}
    for name, concept in ontology.mentionable.items():
        phrase = vocabulary.add_phrase(name)
        if phrase:
            phrases.setdefault(phrase, concept)
            short = len(phrase) == 1 and name.isupper() and len(name) <= _ACRONYM
            acronyms[phrase] = acronyms.get(phrase, True) and short
    cues = compile_cues(vocabulary)
    return _Matcher(
        vocabulary=vocabulary,
        concepts=tuple(phrases.values()),
        names={concept.id: concept.name for concept in ontology.concepts},
        acronyms=frozenset(number for number, phrase in enumerate(phrases) if acronyms[phrase]),
        trie=build_trie(list(phrases)),
        cues=cues,
    )


def find_findings(text: str | bytes, ontology: Ontology) -> list[Finding]:
    """Find the concepts of an ontology in a report and say how they are asserted.

    Of names that overlap the longest is taken, read from the left. Case does not matter, except for names of
    up to five capitals ("ALL"), which must be written so; plurals and British spellings match. No name runs
    across the end of a sentence.

    Parameters
    ----------
    text : str or bytes
        A report; bytes are taken as UTF-8.
    ontology : Ontology
        Concepts to look for.

    Returns
    -------
    list of Finding
        In reading order.

    Raises
    ------
    UsageError
        If `text` is neither str nor bytes, or `ontology` is no Ontology.

    References
    ----------
    Chapman et al.: A simple algorithm for identifying negated findings and diseases in discharge summaries, J
    Biomed Inform 2001. Irvin et al.: CheXpert, AAAI 2019.
    """
    if not isinstance(text, (str, bytes)):
        raise UsageError(f"[find_findings] text must be str or bytes, is {type(text).__name__}")
    if not isinstance(ontology, Ontology):
        raise UsageError(f"[find_findings] ontology must be an Ontology, is {type(ontology).__name__}")
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return [finding for _, finding in _find([raw], _compile(ontology))]


def label_reports(
    reports: pa.Table, ontology: Ontology, *, threads: int = 0, progress: Progress = no_progress
) -> pa.Table:
    """Find the concepts of an ontology in all reports.

    Parameters
    ----------
    reports : pa.Table
        Schema REPORTS; report_id and text are read.
    ontology : Ontology
        Concepts to look for.
    threads : int
        Checked, 0 or more. The work holds the interpreter, so one core does it whatever is asked: about 6,000
        reports of 130 words a second.
    progress : callable
        Called with (reports done, reports).

    Returns
    -------
    pa.Table
        Schema FINDINGS, in order of the reports, then of the text.
    """
    count_threads(threads)
    matcher = _compile(ontology)
    ids = reports["report_id"].to_pylist()
    texts = pc.fill_null(reports["text"], "")
    columns: dict[str, list[object]] = {name: [] for name in FINDINGS.names}
    for first in range(0, len(ids), _BATCH):
        batch = [value.encode("utf-8", "surrogatepass") for value in texts.slice(first, _BATCH).to_pylist()]
        for number, finding in _find(batch, matcher):
            row = (
                ids[first + number], finding.concept, finding.name, *finding.span, *finding.sentence,
                finding.section, finding.assertion, finding.cue,
            )  # fmt: skip
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
        progress(min(first + _BATCH, len(ids)), len(ids))
    return pa.table(columns, schema=FINDINGS)


def _find(texts: Sequence[bytes], matcher: _Matcher) -> Iterator[tuple[int, Finding]]:
    """Find and judge; yields (number of the text, finding)."""
    number_of = matcher.vocabulary.number
    starts: list[int] = []
    ends: list[int] = []
    words: list[int] = []
    bounds = [0]  # first word of each sentence
    owners: list[int] = []
    places: list[tuple[int, int]] = []
    for number, raw in enumerate(texts):
        found = split_words(raw)
        if not found:
            continue
        base = len(words)
        begins = [start for start, _, _ in found]
        starts += begins
        ends += [end for _, end, _ in found]
        words += [number_of(word) for _, _, word in found]
        for start, end in split_sentences(raw).tolist():
            owners.append(number)
            places.append((start, end))
            bounds.append(base + bisect_left(begins, end))
    if not words:
        return
    bounds[-1] = len(words)
    tokens = np.array(words, np.int32)
    indptr = np.array(bounds, np.int64)
    first, last, phrase = find_phrases(tokens, matcher.trie, indptr=indptr)
    if not len(first):
        return
    marks = [array.tolist() for array in find_phrases(tokens, matcher.cues.trie, indptr=indptr)]
    rows = (np.searchsorted(indptr, first, "right") - 1).tolist()
    yield from _judge(texts, matcher, zip(rows, first.tolist(), last.tolist(), phrase.tolist(), strict=True),
    marks,
                      words, bounds, owners, places, starts, ends)  # fmt: skip


def _judge(
    texts: Sequence[bytes],
    matcher: _Matcher,
    matches: Iterable[tuple[int, int, int, int]],
    marks: list[list[int]],
    words: list[int],
    bounds: list[int],
    owners: list[int],
    places: list[tuple[int, int]],
    starts: list[int],
    ends: list[int],
) -> Iterator[tuple[int, Finding]]:
    kinds = section_kinds()
    known = frozenset(kinds)
    cues = matcher.cues.cues
    row, sentence = -1, Sentence([], [], matcher.cues)
    owner, sections = -1, ([0], [""])
    for match_row, first, last, phrase in matches:
        raw = texts[owners[match_row]]
        span = (starts[first], ends[last - 1])
        if phrase in matcher.acronyms and not _is_acronym(raw, span, places[match_row]):
            continue
        base = bounds[match_row]
        if match_row != row:
            row = match_row
            low, high = bisect_left(marks[0], base), bisect_right(marks[1], bounds[row + 1])
            inside = range(low, high)
            found = [Mark(marks[0][at] - base, marks[1][at] - base, cues[marks[2][at]]) for at in inside]
            sentence = Sentence(words[base : bounds[row + 1]], found, matcher.cues)
        if owners[row] != owner:
            owner = owners[row]
            sections = find_sections(raw, known)
        section = section_at(*sections, span[0])
        assertion, cue = sentence.judge(first - base, last - base)
        if kinds.get(section) == "family" or not assertion:
            assertion = kinds.get(section, "")
            cue = f"section {section}" if assertion else ""
        concept = matcher.concepts[phrase]
        yield (
            owner,
            Finding(concept, span, places[row], assertion or "present", matcher.names[concept], section, cue),
        )


def _is_acronym(raw: bytes, span: tuple[int, int], sentence: tuple[int, int]) -> bool:
    """Say whether a short name is written in capitals, and not because its whole sentence is."""
    return raw[slice(*span)].isupper() and not raw[slice(*sentence)].isupper()
