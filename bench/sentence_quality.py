"""Sentence boundaries of radfast and of its peers on annotated texts.

Run as ``python -m bench.sentence_quality``. A boundary is right where the annotation has one at the same
byte. Spaces and commas at the head of a peer's sentence are left out before the comparison, since they part
what was one line from the next. A peer that is not installed is named and left out. NLTK's Punkt is trained
on the reports and captions that are not annotated.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from radfast.kernels.tokenize import split_sentences

FOLDER = Path(__file__).parents[1] / "tests" / "annotations"
SETS = {
    "made with the splitter": "sentences.jsonl",
    "fresh, first": "fresh_first.jsonl",
    "fresh, second": "fresh_second.jsonl",
    "hard cases, first": "hard_first.txt",
    "hard cases, second": "hard_second.txt",
}
Case = tuple[str, set[int]]
Split = Callable[[str], Iterable[int]]


def read_texts() -> dict[str, str]:
    """Return the reports and captions of $RADFAST_DATA by id."""
    folder = Path(os.environ["RADFAST_DATA"]) / "text"
    files = [folder / f"{name}.jsonl" for name in ("mtsamples_radiology", "roco_ccby_captions")]
    records = [json.loads(line) for file in files for line in file.open(encoding="utf-8")]
    return {record["id"]: record["text"] for record in records}


def read_cases(name: str, texts: dict[str, str]) -> list[Case]:
    """Return texts with the character offsets at which their sentences begin, the first left out."""
    cases: list[Case] = []
    for line in (FOLDER / name).open(encoding="utf-8"):
        if name.endswith(".jsonl"):
            record = json.loads(line)
            text = texts[record["id"]]
            cases.append((text, {len(text.encode()[:at].decode()) for at in record["starts"]}))
            continue
        parts = re.split(r"\|(\s*)", line.rstrip("\n").replace("\\n", "\n"))
        cases.append(("".join(parts), {sum(map(len, parts[:at])) for at in range(2, len(parts), 2)}))
    return cases


def _import_peers(texts: dict[str, str], annotated: set[str]) -> dict[str, Split]:
    peers: dict[str, Split] = {"radfast": _split_radfast}
    makers: dict[str, Callable[[], Split]] = {
        "NLTK Punkt, trained": lambda: _make_punkt([t for k, t in texts.items() if k not in annotated]),
        "BlingFire": _make_blingfire,
        "spaCy sentencizer": _make_spacy,
        "PyRuSH": _make_pyrush,
        "pySBD": _make_pysbd,
    }
    for name, make in makers.items():
        try:
            peers[name] = make()
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return peers


def _split_radfast(text: str) -> Iterable[int]:
    data = text.encode()
    return [len(data[:first].decode()) for first, _ in split_sentences(data)]


def _make_punkt(texts: list[str]) -> Split:
    punkt = importlib.import_module("nltk.tokenize.punkt")
    trainer = punkt.PunktTrainer()
    trainer.INCLUDE_ALL_COLLOCS = True
    trainer.train("\n\n".join(texts))
    model = punkt.PunktSentenceTokenizer(trainer.get_params())
    return lambda text: [first for first, _ in model.span_tokenize(text)]


def _make_blingfire() -> Split:
    split = importlib.import_module("blingfire").text_to_sentences_and_offsets
    return lambda text: [first for first, _ in split(text)[1]]


def _make_spacy() -> Split:
    model = importlib.import_module("spacy").blank("en")
    model.add_pipe("sentencizer")
    return lambda text: [sentence.start_char for sentence in model(text).sents]


def _make_pyrush() -> Split:
    module = importlib.import_module("PyRuSH")
    log: Any = importlib.import_module("loguru").logger
    log.remove()  # it would print the text
    rules = Path(module.__file__ or "").parents[1] / "conf" / "rush_rules.tsv"
    model = module.RuSH(str(rules), enable_logger=False)
    return lambda text: [span.begin for span in model.segToSentenceSpans(text)]


def _make_pysbd() -> Split:
    model = importlib.import_module("pysbd").Segmenter(language="en", clean=False, char_span=True)
    return lambda text: [span.start for span in model.segment(text)]


def _begin(text: str, at: int) -> int:
    return len(text) - len(text[at:].lstrip(" \t\r\n,"))


def measure(split: Split, cases: list[Case]) -> dict[str, float]:
    """Return precision, recall and F1 of boundaries over all cases."""
    right = found = wanted = 0
    for text, truth in cases:
        begins = {_begin(text, at) for at in split(text)} - {_begin(text, 0), len(text)}
        right += len(begins & truth)
        found += len(begins)
        wanted += len(truth)
    figures = {"precision": right / max(found, 1), "recall": right / wanted}
    figures["f1"] = 2 * right / (found + wanted)
    return {"boundaries": wanted, **{name: round(value, 4) for name, value in figures.items()}}


def main() -> None:
    """Print the table, and save it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", type=Path, help="JSON file")
    options = parser.parse_args()
    texts = read_texts()
    annotated = {
        json.loads(line)["id"] for file in FOLDER.glob("*.jsonl") for line in file.open(encoding="utf-8")
    }
    peers = _import_peers(texts, annotated)
    result: dict[str, Any] = {"peers": {}, "sets": {}}
    for package in ("nltk", "blingfire", "spacy", "PyRuSH", "pysbd"):
        with suppress(PackageNotFoundError):
            result["peers"][package] = version(package)
    for name, file in SETS.items():
        cases = read_cases(file, texts)
        result["sets"][name] = {peer: measure(split, cases) for peer, split in peers.items()}
        print(f"{name}: {sum(len(truth) for _, truth in cases)} boundaries in {len(cases)} texts")
        for peer, row in result["sets"][name].items():
            print(f"  {peer:20} P {row['precision']:.3f}  R {row['recall']:.3f}  F1 {row['f1']:.3f}")
    if options.save:
        options.save.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
