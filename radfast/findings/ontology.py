"""Concepts to look for: an ontology in OBO format (1.2 and 1.4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from radfast.errors import UsageError

#: The small ontology that comes with radfast.
DEFAULT_ONTOLOGY = Path(__file__).with_name("ontology.obo")

_SCOPES = ("EXACT", "NARROW", "RELATED", "BROAD")
_SYNONYM = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(.*)', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", "W": " ", "t": "\t"}
_STANZA = re.compile(r"\[([A-Za-z]+)\]")
_COMMENT = re.compile(r"(?<!\\)\s+!.*$")


@dataclass(frozen=True)
class Concept:
    """One term.

    Attributes
    ----------
    id : str
        Identifier, as "DOID:552".
    name : str
        Preferred name.
    synonyms : tuple of (str, str)
        Other names with their scope: EXACT, NARROW, RELATED or BROAD.
    parents : tuple of str
        Identifiers of the terms it is a kind of (is_a).
    """

    id: str
    name: str
    synonyms: tuple[tuple[str, str], ...] = ()
    parents: tuple[str, ...] = ()


class Ontology:
    """Concepts with their names.

    Parameters
    ----------
    concepts : iterable of Concept
        Their order is kept. A name that two concepts share belongs to the one that prefers it, else to the
        one that has it as an exact synonym, else to the first.

    Raises
    ------
    UsageError
        If two concepts have one id, or a concept has no name.
    """

    def __init__(self, concepts: Iterable[Concept]) -> None:
        self.concepts: tuple[Concept, ...] = tuple(concepts)
        self._by_id: dict[str, Concept] = {}
        for concept in self.concepts:
            if concept.id in self._by_id:
                raise UsageError(f"[Ontology] ids must be unique, {concept.id} comes twice")
            if not concept.name.strip():
                raise UsageError(f"[Ontology] every concept needs a name, {concept.id} has none")
            self._by_id[concept.id] = concept

    def __len__(self) -> int:
        return len(self.concepts)

    def __getitem__(self, concept_id: str) -> Concept:
        return self._by_id[concept_id]

    def __contains__(self, concept_id: object) -> bool:
        return concept_id in self._by_id

    @classmethod
    def from_obo(cls, path: Path | str) -> Ontology:
        """Read an OBO file; obsolete terms are left out.

        Parameters
        ----------
        path : path
            OBO 1.2 or 1.4, UTF-8. Of each term id, name, synonym, is_a and is_obsolete are read.

        Raises
        ------
        UsageError
            If the file cannot be read, is not OBO, or holds no term; the message names line and rule.
        """
        path = Path(path)
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except OSError as error:
            raise UsageError(f"cannot read ontology {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise UsageError(
                f"[Ontology.from_obo] {path.name} must be UTF-8, byte {error.start} is not"
            ) from error
        concepts = list(_Reader(path.name).read(lines))
        if not concepts:
            raise UsageError(
                f"[Ontology.from_obo] {path.name} must hold a [Term] that is not obsolete, has none"
            )
        return cls(concepts)

    def names(self) -> list[str]:
        """Return all names and synonyms, each once, in order of the file."""
        found: dict[str, None] = {}
        for concept in self.concepts:
            found[concept.name] = None
            found.update((name, None) for name, _ in concept.synonyms)
        return list(found)

    def ancestors(self, concept_id: str) -> set[str]:
        """Return the ids of all terms that the concept is a kind of, at any distance."""
        found: set[str] = set()
        todo = list(self._by_id[concept_id].parents)
        while todo:
            parent = todo.pop()
            if parent in self._by_id and parent not in found:
                found.add(parent)
                todo += self._by_id[parent].parents
        return found

    @cached_property
    def mentionable(self) -> dict[str, str]:
        """Names to look for in text, each with the id it stands for.

        Broad synonyms are left out, and so is the only root of a hierarchy: "disease" is no finding.
        """
        roots = [
            concept.id for concept in self.concepts if not any(parent in self for parent in concept.parents)
        ]
        has_children = {parent for concept in self.concepts for parent in concept.parents}
        silent = roots[0] if len(roots) == 1 and roots[0] in has_children else ""
        found: dict[str, str] = {}
        for scope in ("", *_SCOPES[:-1]):
            for concept in self.concepts:
                names = (
                    [name for name, kind in concept.synonyms if kind == scope] if scope else [concept.name]
                )
                for name in names:
                    if concept.id != silent:
                        found.setdefault(name, concept.id)
        return found


class _Reader:
    """Reads the lines of one file; every error names file and line."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._ids: dict[str, int] = {}

    def _refuse(self, line: int, rule: str, value: str) -> UsageError:
        return UsageError(f"[Ontology.from_obo] {self._file}:{line}: {rule}, is '{value[:60]}'")

    def read(self, lines: list[str]) -> Iterator[Concept]:
        stanza, begun = "", 0
        tags: list[tuple[int, str, str]] = []
        for number, line in enumerate(lines, 1):
            text = line.strip()
            if not text or text.startswith("!"):
                continue
            if text.startswith("["):
                yield from self._finish(stanza, begun, tags)
                found = _STANZA.match(text)
                if found is None:
                    raise self._refuse(number, "a stanza must be [Name]", text)
                stanza, begun, tags = found[1], number, []
                continue
            tag, colon, value = text.partition(":")
            if not colon or not tag or " " in tag:
                raise self._refuse(number, "a line must be 'tag: value'", text)
            if not begun and not tags and tag not in _HEADER:
                raise self._refuse(
                    number, "an OBO file must begin with its header, as 'format-version: 1.2'", text
                )
            tags.append((number, tag, value.strip()))
        yield from self._finish(stanza, begun, tags)

    def _finish(self, stanza: str, begun: int, tags: list[tuple[int, str, str]]) -> Iterator[Concept]:
        """Make the concept of a stanza; other stanzas and obsolete terms make none."""
        if stanza != "Term":
            return
        single: dict[str, str] = {}
        synonyms: list[tuple[str, str]] = []
        parents: list[str] = []
        for number, tag, value in tags:
            if tag in ("id", "name", "is_obsolete"):
                if tag in single:
                    raise self._refuse(number, f"a term must have one '{tag}'", value)
                single[tag] = _unescape(_COMMENT.sub("", value)) if tag != "name" else _unescape(value)
                if tag == "id" and single["id"] in self._ids:
                    raise self._refuse(
                        number, f"ids must be unique, line {self._ids[single['id']]} has it too", value
                    )
            elif tag == "synonym":
                synonyms.append(self._read_synonym(number, value))
            elif tag == "is_a":
                parents.append(_unescape(re.split(r"\s", value, maxsplit=1)[0]))
        if not single.get("id"):
            raise self._refuse(begun, "a [Term] must have an id", "")
        if single.get("is_obsolete", "false").lower() == "true":
            return
        if not single.get("name", "").strip():
            raise self._refuse(begun, f"term {single['id']} must have a name", "")
        self._ids[single["id"]] = begun
        yield Concept(single["id"], single["name"].strip(), tuple(dict.fromkeys(synonyms)), tuple(parents))

    def _read_synonym(self, number: int, value: str) -> tuple[str, str]:
        found = _SYNONYM.match(value)
        if found is None:
            raise self._refuse(number, "a synonym must stand in double quotes", value)
        scope = found[2].split(" ", 1)[0]
        if scope not in _SCOPES and scope != "" and not scope.startswith("["):
            raise self._refuse(number, f"the scope of a synonym must be one of {', '.join(_SCOPES)}", scope)
        return _unescape(found[1]).strip(), scope if scope in _SCOPES else "RELATED"


_HEADER = frozenset(
    [
        "format-version",
        "data-version",
        "version",
        "date",
        "saved-by",
        "auto-generated-by",
        "subsetdef",
        "synonymtypedef",
        "default-namespace",
        "remark",
        "ontology",
        "import",
        "idspace",
        "namespace-id-rule",
        "treat-xrefs-as-equivalent",
        "property_value",
        "owl-axioms",
    ]
)


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), text)
