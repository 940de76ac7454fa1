"""Groups of a citation: a keyword with its numbers, as in "series 3", "images 12, 84-7", "(3/12)".

All text here is lower-case ASCII bytes. Every repetition in the patterns is bounded, so time grows linearly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

MAX_RANGE = 512  # images; a longer range is a slip of the tongue

_UNIT = (
    rb"(?:mm|cm|mmol|ml|cc|mg|mcg|kg|gm|grams?|hz|mhz|kv|kvp|mas|tesla|hu|hounsfield|percent|degrees?|french|gauge|"
    rb"sec|secs|seconds?|min|mins|minutes?|hours?|hrs?|days?|weeks?|wks?|months?|mos|years?|yrs?|views?|"
    rb"millimet[a-z]{2,5}|centimet[a-z]{2,5}|a\.?m\.|p\.?m\.|o'clock)"
)
_NOUN = (
    rb"(?:other|others|additional|more|new|small|smaller|tiny|large|larger|further|separate|similar|discrete|subcentimeter|"
    rb"nodules?|lesions?|mass|masses|cysts?|foc(?:us|i)|stones?|calculi|fractures?|lymph|nodes|areas?|levels?|"
    rb"vessels?|ribs?|vertebra[a-z]{0,2}|clips|surgical|metastas[ei]s|granulomas?|left|right|of\s(?:which|them|these|those))"
)
# What may follow a number that counts images: no decimal, letter, percent, unit, measure or date.
_GUARD = (
    rb"(?!\d|%|\.\d|'\d|[a-hj-z]|i(?!m)|[/-]\d{1,2}[/-](?:19|20)\d\d(?!\d)|\s?x\s?\d|"
    rb"[\s-]{0,2}" + _UNIT + rb"(?![a-z])|\s?(?:-|to)\s?\d{1,3}(?:\.\d)?\s?(?:mm|cm|m?hz|hu)(?![a-z]))"
)
_NUMBER = rb"\#?\s?\d{1,5}" + _GUARD
_TO = rb"\s{0,2}(?:--?|(?:to|through|thru|till|until)(?=[\s\#]))\s{0,2}"
_AGAIN = rb"(?:(?:images?|imgs?|im)(?![a-z])\s{0,2})?"
_ITEM = _NUMBER + rb"(?:" + _TO + _AGAIN + _NUMBER + rb")?"
_NO_NOUN = rb"(?!\s{0,4}\#?\s?\d{1,5}\s{1,3}" + _NOUN + rb"(?![a-z]))"
_REMARK = (
    rb"(?:\s{0,2}\((?![^()]{0,24}(?<![a-z])ser?)[^()]{1,24}\)(?=\s{0,4}(?:,|and\s)))?"  # "12 (5 mm) and 14"
)
_AND = _REMARK + rb"(?:\s{0,4}[,&+/]\s{0,4}(?:(?:and|or|&)\s{1,3})?|\s{1,4}(?:and|or|and/or)\s{1,4})"
_LIST = _ITEM + rb"(?:" + _AND + _NO_NOUN + _ITEM + rb"){0,400}"
_PLAIN = _NUMBER + rb"(?:" + _TO + _NUMBER + rb")?"  # "series 3 - image 5" is no range
_SERIES_LIST = _PLAIN + rb"(?:(?:" + _AND + rb"|:)" + _PLAIN + rb"){0,20}"
_NAMED = rb"(?:\(s\))?\.?\s{0,4}(?:(?:numbers?|nos?|num|nr)(?![a-z])\.?)?\s{0,2}[:=.]?\s{0,4}[(\[]?"

# "image 5:41" is series 5, image 41; in a list a number alone is of the series before it.
_COLON = rb"[1-9]\d{0,3}:[1-9]\d{0,4}(?:\s?-\s?\d{1,5})?" + _GUARD + rb"(?!\s?[ap]m(?![a-z]))"
_OR_COLON = rb"(?:[1-9]\d{0,3}:)?[1-9]\d{0,4}(?:\s?-\s?\d{1,5})?" + _GUARD
_COLON_AND = rb"(?:\s{0,4}[,;&]\s{0,4}(?:(?:and|or)\s{1,4})?|\s{1,4}(?:and|or)\s{1,4})"
_COLONS = _COLON + rb"(?:" + _COLON_AND + _NO_NOUN + _OR_COLON + rb"){0,100}"
_PLANE = rb"(?:(?:axial|coronal|sagittal)\s{1,3})?"

_GROUP = re.compile(
    rb"(?:(?=[si])(?<![a-z])(?<!per )(?:"
    rb"(?P<series>series|ser|se)(?![a-z])" + _NAMED + rb"(?P<numbers>" + _SERIES_LIST + rb")|"
    rb"(?:series|ser|se)\s?[/:&-]\s?(?:images?|imgs?|im)(?![a-z])" + _NAMED
    + rb"(?P<first>\d{1,5})\s?[/:]\s?(?P<rest>" + _LIST + rb")|"
    rb"(?:images?|imgs?|ima|ims?)(?![a-z])" + _NAMED + rb"(?P<colon>" + _COLONS + rb")|"
    rb"(?P<image>images?|imgs?|ima|ims?|slices?)(?![a-z])"
    + _NAMED + rb"(?P<list>" + _LIST + rb")(?:\s{1,3}of\s{1,3}\d{1,5}(?![\d.]))?)"
    rb"|[(\[]\s{0,3}(?:s[\s:]?(?P<s>\d{1,4})[\s,;/:-]{0,3}i[\s:]?(?P<i>" + _LIST + rb")|"
    + _PLANE
    + rb"(?P<pair>\d{1,4}\s?[/:]\s?\d{1,5}(?:\s{0,2}(?:[-,;/&:]|and\s)\s{0,2}\d{1,5}){0,100}))\s{0,3}[)\]])"
)  # fmt: skip
_ELEMENT = re.compile(rb"(\d+)(?:" + _TO + _AGAIN + rb"\#?\s?(\d+))?")
_BRACKETS = re.compile(rb"\([^()]*\)")
_PAIR_ITEM = re.compile(rb"\s*(?:(\d+)\s?[/:]\s?)?(\d+)(?:\s?-\s?(\d+))?\s*")
_PAIR_SPLIT = re.compile(rb"[,;&](?:\s*(?:and|or)\s)?|(?:and|or)\s")

# "(3/12)" is also a strength, a score, a count, a time or a day of the year.
_NOT_A_PAIR = re.compile(
    rb"strength|power|motor|muscle|reflex|pulse|murmur|scor|scale|gleason|stage|apgar|pain|vision|acuity|involved|"
    rb"(?<![-a-z])(?<!high )(?<!low )grade|"  # "high-grade stenosis" grades no pair
    rb"positive|ratio|pressure|\bbp\b|biops|cores|profile|\bgcs\b|orient|flexor|extensor|flexion|extension|abduct|"
    rb"\bdate|\bdays?\b|\bat\s*$|\btime|hours?\b|\ba\.?m\b|\bp\.?m\b|odds|normal\s*$|sensation|quadriceps|biceps|triceps"
)
_SEQUENCE = re.compile(rb"(?<![a-z])(?:tr|te|t[12][a-z]?|flair|stir|echo)(?![a-z])")
_DATED_STUDY = re.compile(
    rb"(?:prior|previous|comparison|study|exam|examination|scan|ct|mri?|film|x-?ray|radiograph|ultrasound|dated|last)\s*$"
)


class Group(NamedTuple):
    """A keyword with its numbers; offsets are bytes."""

    kind: str  # "series", "image", or "pair": series and images at once
    start: int
    end: int
    samples: tuple[tuple[int, int], ...]
    doubtful: bool
    weak: bool  # a short or common keyword that needs company
    series: tuple[int, ...] = ()


def expand_sample(first: int, last: int) -> Sequence[int]:
    """Return the images from `first` to `last`; of more than `MAX_RANGE` only these two."""
    return range(first, last + 1) if last - first < MAX_RANGE else (first, last)


def scan(low: bytes) -> list[Group]:
    """Find all groups of the text; a pair becomes one group per series."""
    groups: list[Group] = []
    for found in _GROUP.finditer(low):
        start, end = found.span()
        if found["pair"] is not None:
            if low[end : end + 1] != b":":  # "CHIEF COMPLAINT (1/1):" counts pages
                groups += _read_bare_pairs(low, found["pair"], found.start("pair"))
        elif found["colon"] is not None:
            pairs = _read_pairs(low, found["colon"], found.start("colon"))
            groups += [pair._replace(start=start) if pair is pairs[0] else pair for pair in pairs]
        elif found["s"] is not None:
            samples, doubtful = read_list(found["i"])
            groups.append(Group("pair", start + 1, end - 1, samples, doubtful, False, (int(found["s"]),)))
        elif found["first"] is not None:
            samples, doubtful = read_list(found["rest"])
            groups.append(Group("pair", start, end, samples, doubtful, False, (int(found["first"]),)))
        elif found["series"] is not None:
            samples, doubtful = read_list(found["numbers"])
            groups.append(
                Group("series", start, _with_bracket(low, found, "numbers"), samples, doubtful, False)
            )
        else:
            samples, doubtful = read_list(found["list"])
            weak = not found["image"].startswith((b"image", b"img"))
            groups.append(Group("image", start, _with_bracket(low, found, "list"), samples, doubtful, weak))
    return groups


def _with_bracket(low: bytes, found: re.Match[bytes], numbers: str) -> int:
    """Return the end of a group, with the bracket that closes "images (5-7)"."""
    end = found.end()
    opened = low[found.start(numbers) - 1 : found.start(numbers)]
    return end + 1 if opened in (b"(", b"[") and low[end : end + 1] in (b")", b"]") else end


def read_list(text: bytes) -> tuple[tuple[tuple[int, int], ...], bool]:
    """Read "55, 60, 84-7" as ((55, 55), (60, 60), (84, 87)) and say whether it is doubtful."""
    samples = []
    doubtful = False
    for first, last in _ELEMENT.findall(_BRACKETS.sub(b"", text)):
        low = high = int(first)
        if last:
            high = int(last)
            if high < low and len(last) < len(first):  # 101-4 is 101 to 104
                high = int(first[: len(first) - len(last)] + last)
            if high < low or high - low >= MAX_RANGE:
                doubtful = True
                low, high = min(low, high), max(low, high)
        samples.append((low, high))
    return tuple(samples), doubtful


def _read_bare_pairs(low: bytes, text: bytes, start: int) -> list[Group]:
    """Read the inside of "(3/12, 15; 4/7)" as pairs; empty when the clause says it is something else."""
    clause = low[max(0, start - 60) : start - 1]
    if _SEQUENCE.search(clause) and text[:3].isdigit():  # "T2 axial (500/15)" is repetition and echo time
        return []
    if _NOT_A_PAIR.search(clause) or _DATED_STUDY.search(clause):
        return []
    groups = _read_pairs(low, text, start)
    return [] if _are_months(groups) else groups


def _read_pairs(low: bytes, text: bytes, start: int) -> list[Group]:
    """Read "3/12, 15; 4/7" or "3:12, 15" as pairs; empty when it is no list of them."""
    groups: list[Group] = []
    at = start
    for part in _PAIR_SPLIT.split(text):
        at = low.index(part, at)
        item = _PAIR_ITEM.fullmatch(part)
        if item is None or (item[1] is None and not groups) or (item[1] or item[2]).startswith(b"0"):
            return []
        samples, doubtful = read_list(item[2] + (b"-" + item[3] if item[3] else b""))
        begin, end = at + len(part) - len(part.lstrip()), at + len(part.rstrip())
        if item[1] is None:
            last = groups.pop()
            groups.append(
                last._replace(end=end, samples=last.samples + samples, doubtful=last.doubtful or doubtful)
            )
        else:
            groups.append(Group("pair", begin, end, samples, doubtful, False, (int(item[1]),)))
        at += len(part)
    return groups


def _are_months(groups: list[Group]) -> bool:
    """Say whether pairs can only be month/year: "(1/1997)", "(3/92, 6/92)"."""
    years = {group.samples[0][0] for group in groups}
    months = all(group.series[0] <= 12 and len(group.samples) == 1 for group in groups)
    return months and len(years) == 1 and (len(groups) > 1 or 1900 <= max(years) < 2100)


def numbers_of(group: Group) -> tuple[int, ...]:
    """Return the series numbers that a series group may mean."""
    return tuple(
        number
        for first, last in group.samples
        for number in (range(first, last + 1) if last - first < 9 else (first, last))
    )
