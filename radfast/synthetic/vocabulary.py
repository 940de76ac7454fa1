"""The long tail of the vocabulary: words that sound medical, and names, drawn by Zipf's law.

Radiology text has a small core and a very long tail (procedures, agents, names, slips). The core comes from
the phrases; the tail is built here from morphemes, the same list for every seed, so that rank keeps its word.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from itertools import accumulate
from random import Random

from radfast.synthetic.ontology import read_names

_HEADS = (
    "arterio angio adeno arthro broncho cardio cerebro cholecysto chondro colo cranio cysto cyto "
    "derm duodeno encephalo entero esophago fibro gastro glosso hemato hepato hystero ileo jejuno "
    "kerato laparo laryngo lipo lobo lympho masto meningo myelo myo naso nephro neuro oculo oophoro "
    "orchio osteo oto pancreato phlebo pleuro pneumo procto pyelo rhino salpingo sclero sigmoido "
    "spleno spondylo stomato tendo thoraco thymo thyro tracheo urethro uro vaso veno vertebro"
)
_MIDDLES = (
    " ana dento ecto endo genito infra intra lateral meso para peri plasto recto retro sacro supra trans"
)
_TAILS = (
    "centesis cele clast cyte dynia ectasis ectomy emia fixation genic gram graphy itis lepsy lith "
    "logy lysis malacia megaly meter oma opathy oscopy osis ostomy otomy pathic penia pexy phagia "
    "phasia plasty plegia ptosis rrhaphy rrhea scope sclerosis spasm stasis stenting tome tripsy "
    "trophy tropic uria"
)
_BRANDS = (
    "abra acti alo ami ari beva bori cabo cele clo dabi dexa doce elo enza epi eri fena fluo gali "
    "gada hydro ibu imi iso keto laco levo lina meto mito nefa nilo ola omni oxy pacli pemi pro "
    "quina rami ribo rosu sita sora tamo tica tria uro vala vera zole"
)
_LINKS = " la na ri to va"
_ENDS = (
    "bicin cillin citabine cycline dipine dronate fenac floxacin gliptin lukast mab micin nib olol "
    "oxetine parin platin prazole pril ridone sartan setron statin taxel terol tidine triptan vec "
    "versol vir vist xaban zepam zole zumab"
)
_NAME_HEADS = (
    "Ander Bar Ben Berg Black Brad Brand Carl Cart Chand Church Cole Craw Dal Dick Dob Ed Ellis Fair "
    "Far Fitz Gar Gold Good Graf Green Hal Har Hart Hol Hut Jack Jen John Kauf Ken Lang Law Lind Mad "
    "Mar Mc Mid Mor New Nor Oak Ols Par Pat Pem Pet Rich Rob Ros Rut San Schul Sher Sim Stan Stein "
    "Suther Swan Tal Thom Under Val Wal War Web Wes White Wil Win Wood York Zim"
)
_NAME_ENDS = (
    "aker berg borough bridge burn by combe dale den der don fer field ford gate ham hurst kin land "
    "ley ling low ly man mann meyer mond more nell ner quist ridge row sell sen shaw smith son stead "
    "stone ton tree vale wald way well wick witz wood worth"
)

_WORDS = 26_000
_NAMES = 2_400
_EXPONENT = 1.02
_OFFSET = 40.0
_FIELDS = 9


def _build(parts: tuple[str, ...], count: int, seed: int, taken: set[str]) -> list[str]:
    """Join one piece of each part to words that are not taken; a leading blank offers an empty piece."""
    rng = Random(seed)
    choices = [part.split(" ") for part in parts]
    words: list[str] = []
    while len(words) < count:
        word = "".join(rng.choice(choice) for choice in choices)
        if word.lower() not in taken:
            taken.add(word.lower())
            words.append(word)
    return words


class Tail:
    """Words in order of rank, drawn with probability proportional to 1 / (rank + offset) ** exponent."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.cumulative = list(accumulate((rank + _OFFSET) ** -_EXPONENT for rank in range(len(words))))

    def draw(self, rng: Random) -> str:
        """Return one word."""
        return self.words[bisect_right(self.cumulative, rng.random() * self.cumulative[-1])]


@cache
def tail_words(field: int = 0) -> Tail:
    """Return the tail of medical words of one field of medicine, 1 to 8; field 0 is common to all."""
    return Tail(_all_words()[field::_FIELDS])


@cache
def _all_words() -> list[str]:
    taken = {word for name in read_names() for word in name.split()}
    terms = _build((_HEADS, _MIDDLES, _TAILS), _WORDS * 9 // 10, 1, taken)
    brands = _build((_BRANDS, _LINKS, _ENDS), _WORDS - len(terms), 2, taken)
    words = terms + brands
    Random(3).shuffle(words)
    return words


@cache
def tail_names() -> Tail:
    """Return the tail of family names; a few have letters beyond ASCII."""
    names = _build((_NAME_HEADS, _NAME_ENDS), _NAMES, 4, set())
    names[7::40] = [name.replace("o", "ö").replace("a", "á") for name in names[7::40]]
    return Tail(names)
