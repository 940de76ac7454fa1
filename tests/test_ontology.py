"""OBO files: what is read, what is left out, and the line an error names."""

from __future__ import annotations

from pathlib import Path

import pytest

from radfast.errors import UsageError
from radfast.findings import DEFAULT_ONTOLOGY, Concept, Ontology

HEADER = "format-version: 1.2\nontology: test\n\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "o.obo"
    path.write_text(text, encoding="utf-8")
    return path


def test_terms_with_names_synonyms_and_parents(tmp_path: Path) -> None:
    text = (
        HEADER + "! a comment\n[Term]\nid: X:1\nname: lung disease\n\n[Term]\nid: X:2\nname: nodule\n"
        'synonym: "node \\"n\\"" EXACT []\nsynonym: "spot" BROAD [a:b]\nsynonym: "ball" []\n'
        'is_a: X:1 {source="y"} ! lung disease\nis_a: X:0 ! elsewhere\n'
        "\n[Typedef]\nid: part_of\nname: part of\n\n[Term]\nid: X:3\nname: old\nis_obsolete: true\n"
    )
    ontology = Ontology.from_obo(write(tmp_path, text))
    assert ontology.concepts == (
        Concept("X:1", "lung disease"),
        Concept(
            "X:2", "nodule", (('node "n"', "EXACT"), ("spot", "BROAD"), ("ball", "RELATED")), ("X:1", "X:0")
        ),
    )
    assert ontology.names() == ["lung disease", "nodule", 'node "n"', "spot", "ball"]
    assert ontology.ancestors("X:2") == {"X:1"}
    assert "X:3" not in ontology
    assert list(ontology.mentionable.items()) == [("nodule", "X:2"), ('node "n"', "X:2"), ("ball", "X:2")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "[Term]\nid: X:1\n", r"o\.obo:4: term X:1 must have a name"),
        (HEADER + "[Term]\nname: a\n", r"o\.obo:4: a \[Term\] must have an id"),
        (HEADER + "[Term]\nid: X:1\nid: X:2\nname: a\n", r"o\.obo:6: a term must have one 'id', is 'X:2'"),
        (
            HEADER + "[Term]\nid: X:1\nname: a\n[Term]\nid: X:1\nname: b\n",
            r"o\.obo:8: ids must be unique, line 4",
        ),
        (
            HEADER + "[Term]\nid: X:1\nname: a\nsynonym: b\n",
            r"o\.obo:7: a synonym must stand in double quotes",
        ),
        (HEADER + '[Term]\nid: X:1\nname: a\nsynonym: "b" CLOSE []\n', r"o\.obo:7: the scope .* is 'CLOSE'"),
        (HEADER + "[Term]\nid: X:1\nname a\n", r"o\.obo:6: a line must be 'tag: value', is 'name a'"),
        (HEADER + "[Term\nid: X:1\n", r"o\.obo:4: a stanza must be \[Name\]"),
        ("<html>\n", r"o\.obo:1: a line must be 'tag: value'"),
        ("title: recipes\n", r"o\.obo:1: an OBO file must begin with its header"),
        (HEADER, r"o\.obo must hold a \[Term\] that is not obsolete"),
        ("", r"o\.obo must hold a \[Term\]"),
    ],
)
def test_errors_name_line_and_rule(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Ontology.from_obo(write(tmp_path, text))


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read ontology .*: No such file"):
        Ontology.from_obo(tmp_path / "absent.obo")
    (tmp_path / "latin.obo").write_bytes(b"format-version: 1.2\nremark: \xe9\xff\n")
    with pytest.raises(UsageError, match=r"latin\.obo must be UTF-8, byte 28 is not"):
        Ontology.from_obo(tmp_path / "latin.obo")


def test_concepts_made_by_hand() -> None:
    with pytest.raises(UsageError, match="ids must be unique, A comes twice"):
        Ontology([Concept("A", "a"), Concept("A", "b")])
    with pytest.raises(UsageError, match="every concept needs a name, A has none"):
        Ontology([Concept("A", " ")])


def test_a_shared_name_belongs_to_the_one_that_prefers_it() -> None:
    concepts = [Concept("A", "a", (("c", "EXACT"), ("d", "RELATED"))), Concept("B", "c", (("d", "EXACT"),))]
    assert Ontology(concepts).mentionable == {"a": "A", "c": "B", "d": "B"}


def test_the_ontology_of_the_project_loads() -> None:
    ontology = Ontology.from_obo(DEFAULT_ONTOLOGY)
    assert "pleural effusion" in ontology.mentionable
    assert len(ontology) > 10


def test_disease_ontology(data: Path) -> None:
    ontology = Ontology.from_obo(data / "disease_ontology/doid_2016-03-04.obo")
    assert len(ontology) == 9243 - 2369 or len(ontology) == 9258 - 2369
    assert len(ontology.names()) > 15_000
    assert ontology["DOID:552"].name == "pneumonia"
    assert ontology.ancestors("DOID:552") >= {"DOID:850", "DOID:4"}
    assert "disease" not in ontology.mentionable
