"""Dictation: a report for a study, in one of four styles, with the truth about every marked word.

The length follows METHOD section 1: words per report log-normal with mean 131 and standard deviation 96,
at most 1502; sentences have 11.7 words on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from radfast.synthetic import phrases
from radfast.synthetic.catalog import EXAMS
from radfast.synthetic.citations import Group, cite, cite_ambiguous, cite_prior, write_date
from radfast.synthetic.exams import Exam
from radfast.synthetic.grammar import MarkedText, Piece, Slot, expand
from radfast.synthetic.lesions import Lesion
from radfast.synthetic.ontology import read_names
from radfast.synthetic.vocabulary import tail_names, tail_words

STYLES = ("structured", "running", "list", "lower")
MAX_WORDS = 1502
# Mean and standard deviation of the logarithm of the words at which filling stops; headings come on top.
_LENGTH = (4.40, 0.69)
_CLAUSE_SHARES = (0.85, 0.25)  # of the normal sentences get a first and a second clause
_OWN_SHARE = 0.7  # of the tail words belong to the field of the examination

Sentence = list[Piece]


@dataclass(frozen=True)
class Statement:
    """One lesion as the report speaks of it.

    Attributes
    ----------
    lesion : Lesion
        What and where.
    assertion : str
        present, absent or uncertain.
    groups : sequence of (series, items)
        Images of this study to cite; empty for none.
    prior : (date, group) or None
        Images of an earlier study to cite; the date may be empty.
    ambiguous : (series, image) or None
        A citation with two series, for a further sentence.
    """

    lesion: Lesion
    assertion: str = "present"
    groups: Sequence[Group] = ()
    prior: tuple[str, Group] | None = None
    ambiguous: tuple[tuple[int, int], int] | None = None


@dataclass(frozen=True)
class Case:
    """What a report is to say.

    Attributes
    ----------
    exam : Exam
        Kind of examination.
    statements : sequence of Statement
        Findings, the dominant one first; empty for a normal study.
    normal_groups : sequence of (series, items)
        Images cited beside a normal sentence; they may not exist.
    prior_date : str
        Date of the study named under COMPARISON, YYYYMMDD, or empty.
    """

    exam: Exam
    statements: Sequence[Statement] = ()
    normal_groups: Sequence[Group] = ()
    prior_date: str = ""


@dataclass
class _Draft:
    exam: list[Sentence] = field(default_factory=list)
    reason: list[Sentence] = field(default_factory=list)
    technique: list[Sentence] = field(default_factory=list)
    comparison: list[Sentence] = field(default_factory=list)
    findings: list[list[Sentence]] = field(default_factory=list)
    impression: list[Sentence] = field(default_factory=list)

    def words(self) -> int:
        """Words so far."""
        flat = [*self.reason, *self.technique, *self.comparison, *self.impression]
        return sum(map(_count, flat)) + sum(_count(s) for cluster in self.findings for s in cluster)


def _count(sentence: Sentence) -> int:
    return len("".join(text for text, _ in sentence).split())


def base_slots(exam: Exam, rng: Random) -> dict[str, Slot]:
    """Return the slots that need no finding: tail words, names, anatomy, numbers, diseases."""
    diseases = rng.sample(phrases.DISEASES, 2)
    special, common = tail_words(1 + EXAMS.index(exam)), tail_words(0)
    parts = exam.parts.split(";")
    return {
        "T": lambda r: (special if r.random() < _OWN_SHARE else common).draw(r),
        "A": lambda r: parts[int(len(parts) * r.random() ** 1.6)],
        "S": lambda r: tail_names().draw(r),
        "D": diseases[0],
        "E": diseases[1],
        "n": lambda r: str(r.randint(2, 9)),
        "age": lambda r: str(r.randint(19, 94)),
        "ml": lambda r: str(r.choice((10, 15, 20, 75, 80, 90, 100, 120, 125))),
        "hu": lambda r: str(r.randint(11, 79)),
        "slice": lambda r: r.choice(("0.625", "1", "1.25", "1.5", "2.5", "3", "5")),
        "percent": lambda r: str(r.randint(3, 12) * 5),
        "year": lambda r: str(r.randint(1989, 2011)),
        "cite": "",
    }


def write_size(finding_mm: tuple[int, int], rng: Random) -> str:
    """Write a size in one of the usual ways: 12 mm, 1.2 cm, 1.2 x 0.9 cm."""
    mm = rng.randint(*finding_mm)
    other = max(2, round(mm * rng.uniform(0.6, 0.95)))
    return rng.choice(
        (f"{mm} mm", f"{mm / 10:.1f} cm", f"{mm} x {other} mm", f"{mm / 10:.1f} x {other / 10:.1f} cm")
    )


def finding_slots(lesion: Lesion, rng: Random) -> dict[str, Slot]:
    """Return the slots of one lesion: its name, place, adjective, size."""
    finding, place = lesion.finding, lesion.place
    level = place.startswith("L")
    form = rng.choice(finding.forms)
    many = form.endswith(("metastases", "plaques"))
    return {
        "F": form,
        "place": place,
        "side": lesion.side or "central",
        "at": f"at {place}" if level else f"in the {place}",
        "site": f"the {place} level" if level else f"the {place}",
        "word": rng.choice(finding.words),
        "size": write_size(finding.mm, rng) if finding.mm else "",
        "art": "{an} " if finding.countable else "",
        "be": "are" if many else "is",
    }


def _affirmed(case: Case) -> set[str]:
    """Return the concepts that the report affirms or suspects."""
    names = read_names()
    stated = [statement for statement in case.statements if statement.assertion != "absent"]
    return {names[form] for statement in stated for form in statement.lesion.finding.forms}


def _contradicts(template: str, concepts: set[str]) -> bool:
    """Say whether a normal sentence denies what the report affirms."""
    names = read_names()
    denied = [part.split("}")[0] for part in template.split("{-")[1:]]
    return any(names.get(term) in concepts for term in denied)


def _before_stop(sentence: Sentence, addition: Sentence) -> Sentence:
    """Put pieces before the final full stop."""
    text, mark = sentence[-1]
    if mark is not None or not text.endswith("."):
        return sentence
    return [*sentence[:-1], (text[:-1], None), *addition, (".", None)]


def _dictate_statement(
    exam: Exam, statement: Statement, rng: Random
) -> tuple[list[Sentence], Sentence | None]:
    """Return the sentences of one finding, contiguous, and its line in the impression."""
    lesion = statement.lesion
    finding = lesion.finding
    slots = base_slots(exam, rng) | finding_slots(lesion, rng)
    slots["cite"] = cite(rng, statement.groups) if statement.groups else ""
    if statement.assertion == "absent":
        return [expand(rng.choice(phrases.NEGATED), slots, rng)], None
    if statement.assertion == "uncertain":
        return [expand(rng.choice(phrases.UNCERTAIN), slots, rng)], None
    table = phrases.AFFIRMED_SIZED if finding.mm else phrases.AFFIRMED
    cluster = [expand(rng.choice(table), slots, rng)]
    details = rng.sample(finding.details, len(finding.details))
    slots["cite"] = ""
    cluster.append(expand(details[0], slots, rng))
    if rng.random() < 0.4:
        cluster.insert(0, expand(details[1], slots, rng))
    if statement.prior:
        date, group = statement.prior
        slots["prior"] = cite_prior(rng, date, group, exam.short)
        slots["size"] = slots["size"] or f"{rng.randint(4, 40)} mm"
        cluster.append(expand(rng.choice(phrases.PRIOR), slots, rng))
    if statement.ambiguous:
        slots["cite"] = cite_ambiguous(rng, *statement.ambiguous)
        cluster.append(expand(rng.choice(phrases.AMBIGUOUS), slots, rng))
        slots["cite"] = ""
    return cluster, expand(rng.choice(finding.advice), slots, rng)


def _fill(draft: _Draft, case: Case, rng: Random, target: int) -> None:
    """Add normal and general sentences until the report has its length."""
    slots = base_slots(case.exam, rng)
    concepts = _affirmed(case)
    words = draft.words()
    normals: list[str] = []
    histories = rng.sample(phrases.HISTORY, len(phrases.HISTORY))
    # Long reports repeat themselves; history and technique grow with them.
    while words < target:
        where = rng.random()
        if where < 0.12 and histories:
            sentence = expand(histories.pop(), slots, rng)
            draft.reason.append(sentence)
        elif where < 0.17 and len(draft.technique) < 5:
            sentence = expand(rng.choice(phrases.TECHNIQUE), slots, rng)
            draft.technique.append(sentence)
        elif where < 0.24:
            sentence = expand(rng.choice(phrases.IMPRESSION_ENDS), slots, rng)
            draft.impression.append(sentence)
            if len(draft.impression) > 5:
                draft.impression.pop()
                continue
        else:
            if not normals:
                fitting = [t for t in case.exam.normals if not _contradicts(t, concepts)]
                normals = rng.sample(fitting, len(fitting)) + rng.sample(phrases.FILLER, 4)
                normals = rng.sample([*normals, *phrases.PARTS], len(normals) + len(phrases.PARTS))
            sentence = expand(normals.pop(0), slots, rng)
            for share in _CLAUSE_SHARES:
                if rng.random() < share:
                    sentence = _before_stop(sentence, expand(rng.choice(phrases.CLAUSES), slots, rng))
            draft.findings.insert(rng.randint(0, len(draft.findings)), [sentence])
        words += _count(sentence)


def _draft(case: Case, rng: Random) -> _Draft:
    exam = case.exam
    target = min(MAX_WORDS - 60, max(12, round(rng.lognormvariate(*_LENGTH))))
    slots = base_slots(exam, rng)
    draft = _Draft()
    title = rng.choice(exam.titles)
    draft.exam.append([(title, None)])
    short = target < 40
    if not short or rng.random() < 0.4:
        draft.reason.append(
            expand(rng.choice(exam.reasons if rng.random() < 0.8 else phrases.REASONS), slots, rng)
        )
    if target > 60 and rng.random() < 0.8:
        draft.technique.append(expand(rng.choice(exam.techniques), slots, rng))
    if not short or case.prior_date:
        slots["exam"] = exam.short
        slots["date"] = write_date(case.prior_date, rng) if case.prior_date else ""
        choices = phrases.COMPARISON[2:] if case.prior_date else phrases.COMPARISON[:2]
        draft.comparison.append(expand(rng.choice(choices), slots, rng))
    for statement in case.statements:
        cluster, advice = _dictate_statement(exam, statement, rng)
        draft.findings.append(cluster)
        if advice and target > 30:
            draft.impression.append(advice)
    for group in case.normal_groups:
        fitting = [t for t in exam.normals if not _contradicts(t, _affirmed(case))]
        sentence = expand(rng.choice(fitting), slots, rng)
        draft.findings.append([_before_stop(sentence, cite(rng, [group]))])
    if not draft.findings:
        draft.findings.append([expand(rng.choice(exam.normals), slots, rng)])
    if not any(s.assertion == "present" for s in case.statements):
        slots["exam"] = exam.short
        draft.impression.insert(0, expand(rng.choice(phrases.IMPRESSION_NORMAL), slots, rng))
    _fill(draft, case, rng, target)
    return draft


def _write_block(text: MarkedText, sentences: Sequence[Sentence], numbered: bool, between: str = " ") -> None:
    for index, sentence in enumerate(sentences):
        if index:
            text.write("\n" if numbered else between)
        if numbered:
            text.write(f"{index + 1}. ")
        text.write_sentence(sentence)


def dictate(case: Case, rng: Random) -> MarkedText:
    """Write the report of a case.

    Parameters
    ----------
    case : Case
        What is to be said.
    rng : random.Random
        Style, phrases, length.

    Returns
    -------
    MarkedText
        The text with the byte spans of its sentences, mentions and citations.
    """
    draft = _draft(case, rng)
    style = rng.choices(STYLES, (5, 3, 2, 2))[0]
    text = MarkedText(lower=style == "lower")
    found = [sentence for cluster in draft.findings for sentence in cluster]
    parts: list[tuple[str, Sequence[Sentence]]] = [
        ("exam", draft.exam),
        ("reason", draft.reason),
        ("technique", draft.technique),
        ("comparison", draft.comparison),
        ("findings", found),
        ("impression", draft.impression),
    ]
    blocks = [(name, sentences) for name, sentences in parts if sentences]
    if style == "running":
        text.write(draft.exam[0][0][0] + ".\n\n")
        for index, (name, sentences) in enumerate(blocks[1:]):
            if index:
                text.write("\n\n" if name in ("findings", "impression") else " ")
            if name == "comparison":
                text.write("Comparison: ")
            _write_block(text, sentences, numbered=False)
        text.write("\n")
        return text
    for index, (name, sentences) in enumerate(blocks):
        if index:
            text.write("\n\n" if style == "structured" else "\n")
        text.write(f"{rng.choice(phrases.HEADINGS[name])}:")
        if name == "exam":
            text.write(f" {sentences[0][0][0]}")
            continue
        listed = (style == "list" and name in ("findings", "impression")) or (
            style == "structured" and name == "impression" and len(sentences) > 1
        )
        text.write("\n" if listed or (style == "structured" and name == "findings") else " ")
        _write_block(text, sentences, numbered=listed)
    text.write("\n")
    return text
