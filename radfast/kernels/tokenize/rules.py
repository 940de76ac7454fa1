"""Rules of the tokenizer and of the sentence splitter, as data: change a table, not the code."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import ceil, floor


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(text: str) -> frozenset[str]:
    return frozenset(phrase.replace("_", " ") for phrase in text.split())


@dataclass(frozen=True)
class SentenceRules:
    """Word tables of `split_sentences`: lower case, without the last full stop, at most 40 bytes a word.

    The default tables are of radiology English.

    Parameters
    ----------
    never_last : frozenset of str
        Abbreviations that no sentence ends with: "approx. 6 mm".
    before_number : frozenset of str
        Abbreviations when a digit or a bracket follows, words otherwise: "No. 3", "et al. [3]", but
        "Effusion: no. Mass: no." One of them and a number at the start of a sentence end none: "Fig. 1. Axial
        CT".
    not_before_lower : frozenset of str
        Abbreviations that end a sentence only before a capital, and never as its first word: "sup.
        mesenteric", "at 8 a.m. The", "Max. AP diameter".
    units : frozenset of str
        Units: they end a sentence before a capital, a digit or a word of `starters`: "2.5 cm. mass".
    starters : frozenset of str
        Words that begin a sentence in lower-case dictation.
    continuing : frozenset of str
        Words after which a line break is a wrapped line, whatever follows.
    numbered : frozenset of str
        Words that take a number or a letter, so that "segment 2. Cyst" is no list item and "Hepatitis C. The"
        no name.
    sections : frozenset of str
        Section headings, words separated by one space.
    suffixes : frozenset of str
        Ends of file and host names: "image.jpg" is not two sentences.
    min_wrap : int
        A line of at least so many bytes may have been wrapped before a capital.
    """

    never_last: frozenset[str] = _words(
        "dr drs mr mrs ms prof st seg approx vs v.s e.g eg i.e ie viz cf fig figs eq eqs ca aprox appr incl "
        "esp c.f"
    )
    before_number: frozenset[str] = _words(
        "no nos nr num im img imgs ims image images se ser series sl vol p pp pg pgs ch sec ref refs tab "
        "fig figs figure figures "
        "jan feb mar apr jun jul aug sep sept oct nov dec al chr min max circa diam #"
    )
    not_before_lower: frozenset[str] = _words(
        "ant post lat med inf sup bilat rt lt prox dist int ext diam avg est temp max min resp etc al a.m "
        "p.m am pm jr sr inc ltd co corp dept univ gen abd neg pos bx hx dx tx rx sx fx hr hrs wt ht lig "
        "musc ven art assoc mod sev sl vert transv long subcut periph cont cor sag ax calc calcif enh eval "
        "exam poss prob prev prelim proc rec req spec susp sm lg mult num tech wnl i.v p.o b.i.d t.i.d q.d "
        "p.r.n u.s m.d ph.d d.o r.n b.s m.s pt pts jan feb mar apr jun jul aug sep sept oct nov dec mon "
        "tue wed thu fri orig occ rel freq lob segm vol lab labs dx'd i.m s.c o.d o.s contrib dors ventr "
        "evid op post-op postop pre-op preop"
    )
    units: frozenset[str] = _words(
        "mm cm m km ml cc dl l mg g kg mcg gm gms hu mmhg hz khz mhz sec secs msec ms min mins kv kvp mas "
        "ma mgy msv gy rad mci ci mbq bpm in inch inches lb lbs deg w cm2 cm3 mm2 mm3 ng iu meq mmol cgy "
        "fr ga"
    )
    starters: frozenset[str] = _words(
        "the there this these those it its he she they we no a an is are was were both all heart lungs "
        "lung liver spleen kidneys normal impression findings please patient mild moderate minimal "
        "recommend otherwise however also if but note within images image stable unchanged bilateral right "
        "left small large another multiple several some mildly previously compared comparison follow"
    )
    continuing: frozenset[str] = _words(
        "a an the of in on at to for with without and or but nor by from as is are was were be been has "
        "have had no not than that which who this these those its their into within between through over "
        "under near right left mild moderate severe small large may can could should would due per via dr "
        "mr mrs ms approx approximately about measuring measures bilateral upper lower"
    )
    numbered: frozenset[str] = _words(
        "segment segments grade level levels stage type image images im img imgs series se sequence figure "
        "fig table no number phase zone rads bi-rads birads li-rads lirads pi-rads pirads ti-rads tirads "
        "lung-rads category lr class slice slices day week month case view step part group rib ribs digit "
        "toe finger ray page patient version point score grades types and or to through of at x by lobe "
        "hepatitis vitamin factor"
    )
    sections: frozenset[str] = _phrases(
        "findings finding impression impressions conclusion conclusions technique comparison comparisons "
        "history clinical clinical_history clinical_indication clinical_information clinical_data "
        "clinical_statement reason_for_exam reason_for_examination reason_for_study reason_for_the_exam "
        "reason_for_this_examination indication indications exam examination procedure procedures "
        "procedure_comments study contrast recommendation recommendations addendum opinion interpretation "
        "summary diagnosis wet_read final_report preoperative_diagnosis postoperative_diagnosis "
        "medications allergies type_of_exam exam_type description narrative report final_diagnosis "
        "limitations complications anesthesia dose ct_of_the_abdomen ct_of_the_pelvis ct_of_the_chest "
        "ct_abdomen ct_pelvis ct_chest notification"
    )
    suffixes: frozenset[str] = _words(
        "com org net edu gov html htm pdf jpg jpeg png gif txt dcm xml doc docx csv zip exe"
    )
    min_wrap: int = 50

    def tables(self) -> dict[str, list[str]]:
        """Return the word tables by name, each sorted, as the compiled splitter takes them."""
        return {
            field.name: sorted(getattr(self, field.name))
            for field in fields(self)
            if field.name != "min_wrap"
        }


DEFAULT_RULES = SentenceRules()


@dataclass(frozen=True)
class TokenRules:
    """What a token is.

    Parameters
    ----------
    pattern : str
        "radiology", "paper" or "word": see `radfast.kernels.tokenize`.
    lowercase : bool
        Fold every character to lower case.
    min_length : int
        Characters a word needs.
    numbers : str
        "keep", "drop" or "mask" numbers, dates, times and measures.
    placeholders : str
        "keep", "drop" or "mask" de-identification marks; only the radiology pattern knows them.
    """

    pattern: str = "radiology"
    lowercase: bool = True
    min_length: int = 3
    numbers: str = "keep"
    placeholders: str = "mask"


@dataclass(frozen=True)
class PruneRules:
    """Which words stay in the vocabulary, in the order the rules are applied.

    Parameters
    ----------
    min_documents, max_documents : int or float
        Bounds of the number of documents a word is in; a float is a share of the documents.
    stop_words : tuple of str
        Words left out, compared after folding.
    drop_top : int
        So many of the most frequent of the remaining words are dropped.
    max_vocabulary : int
        So many of the then most frequent words stay.
    """

    min_documents: int | float = 1
    max_documents: int | float = 1.0
    stop_words: tuple[str, ...] = ()
    drop_top: int = 0
    max_vocabulary: int = 2**31 - 1

    def bounds(self, documents: int) -> tuple[int, int]:
        """Return the least and the greatest number, of `documents` in all, that a word may be in."""
        low, high = (
            bound * documents if isinstance(bound, float) else bound
            for bound in (self.min_documents, self.max_documents)
        )
        return ceil(low), floor(high)


#: Units that make a number a measure, as in "5mm".
UNITS = _words("cc cgy cm dl g gm gy hu hz kg khz kv kvp l m mas mci mcg mg mgy mhz ml mm mmhg ms msv sec t")
