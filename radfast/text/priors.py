"""Does a citation speak of the study at hand or of a prior one, and of which date.

The clause around a citation decides, not the whole sentence: in "compared with the CT of 3/4/2012, the nodule
(series 3, image 12) has grown" the image belongs to the present study. All text here is lower-case ASCII
bytes.
"""

from __future__ import annotations

import datetime
import re

_STUDY = (
    rb"(?:cta?|ctpa|mr[ia]?|pet(?:[/-]ct)?|spect|scans?|stud(?:y|ies)|exams?|examinations?|images?|imaging|"
    rb"radiographs?|films?|x-?rays?|cxr|ultrasounds?|sonograms?|mammograms?|angiograms?|tomograms?|tomography)"
)
_PRIOR = rb"(?:prior(?!\sto\s)|previous|earlier|older|old|outside|comparison(?!\s(?:with|to)\s)|preceding)"
_MONTHS = (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")
_MONTH = rb"(?:jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)[a-z]{0,6}"

DATE = (
    rb"(?:(?<![\d/])\d{1,2}[/-]\d{1,2}[/-](?:\d{4}|\d{2})(?![\d/])|(?<!\d)\d{4}[-/]\d{1,2}[-/]\d{1,2}(?!\d)|"
    rb"\b" + _MONTH + rb"\.?\s{1,2}\d{1,2}(?:st|nd|rd|th)?,?\s{1,2}\d{4}|"
    rb"(?<!\d)\d{1,2}(?:st|nd|rd|th)?\s{1,2}" + _MONTH + rb"\.?,?\s{1,2}\d{4})"
)
_DATE = re.compile(DATE)
_DATED = rb"(?:\s{1,2}(?:of|from|dated|on|performed|obtained|done|made)){1,2}\s{1,2}(?:the\s{1,2})?" + DATE

_BLANK = rb"\s{1,2}"
_WORDS = rb"(?:[a-z/-]{1,14}\s{1,2})"
_ARTICLE = rb"(?:(?:the|a|an|her|his|their|most|recent)\s{1,2})"
_END = rb"(?=\s{0,2}(?:[,.;:(\[]|$))"

# A study that is called prior, or one that is dated; the words before say how it is meant.
_CUE = re.compile(
    rb"(?<![a-z])(?:"
    + _PRIOR + _BLANK + _WORDS + rb"{0,3}?" + _STUDY + rb"(?![a-z])(?:" + _DATED + rb")?"
    + rb"|(?:prior|previous|comparison)(?:" + _DATED + rb"|" + _END + rb")"
    + rb"|" + DATE + _BLANK + rb"(?:" + _PRIOR + _BLANK + rb")?" + _STUDY + rb"(?![a-z])"
    + rb"|(?:compared\s(?:with|to)|since|than)" + _BLANK + rb"(?:the\s{1,2})?" + DATE
    + rb"|" + _PRIOR + _BLANK + _WORDS + rb"{0,2}?(?:of\s|from\s|dated\s)?" + DATE
    + rb"|" + _STUDY + _DATED
    + rb"|(?:previously|formerly)(?:" + _END
    + rb"|\s(?:measured|measuring|(?:(?:seen|noted|identified|described)\s)?(?:on|at|in|as|was|were))"
    + rb"(?![a-z])))"
)  # fmt: skip
_COMPARES = re.compile(
    rb"(?:compared|comparison|since|than|relative|unchanged|stable|change|changed|increased|decreased|from)"
    rb"(?:\s{1,2}(?:with|to|from|the|a|an|her|his|their|most|recent|of)){0,4}\s{0,2}$"
)
_PLACES = re.compile(
    rb"(?:^|[\s(\[])(?:on|in|at|of|per|from)(?:\s{1,2}(?:the|a|an|her|his|their|most|recent)){0,3}\s{0,2}$"
)
_NEW = re.compile(rb"(?<![a-z])(?:new|newly)(?![a-z])")
_CURRENT = re.compile(
    rb"(?<![a-z])(?:now|currently|presently|today|current|new|"
    rb"(?:this|present|today's)\s(?:[a-z]{1,12}\s)?" + _STUDY + rb")(?![a-z])"
)
_CALLED_PRIOR = (
    rb"(?:" + _PRIOR + rb"(?:(?=\s{0,2}(?:[)\].;,]|$))|"
    + _BLANK + _WORDS + rb"{0,2}?" + _STUDY + rb"(?![a-z])|"
    + _BLANK + rb"(?:of\s|from\s|dated\s)?" + DATE + rb")|" + _STUDY + _DATED + rb")"
)  # fmt: skip
_AFTER_INSIDE = re.compile(
    rb"\s{0,2}[,;]?\s{0,2}(?:(?:seen|as seen)\s)?(?:(?:on|in|of|from|at)\s{1,2})?"
    rb"(?:(?:the|a|an|her|his)\s{1,2})?(?:"
    + _CALLED_PRIOR
    + rb"|(?:of|from|dated|on)\s{1,2}"
    + DATE
    + rb"|"
    + DATE
    + rb"(?=\s{0,2}[)\]]))"
)
_AFTER_OUTSIDE = re.compile(
    rb"\s{0,2}[)\]]\s{0,2},?\s{0,2}(?:seen\s)?(?:on|in|of|at)\s{1,2}(?:(?:the|a|an|her|his)\s{1,2})?"
    + _CALLED_PRIOR
)
_WORD = re.compile(rb"[a-z]{2,}")
_DATE_REACH = 24  # bytes behind "(series 2, image 40 on prior CT of ..."
_REACH = 200  # bytes of the clause looked at


def parse_date(text: bytes) -> str:
    """Return the first date in lower-case `text` as YYYYMMDD, "" when none is valid.

    Numbers are read month/day/year, the order of American reports, and day/month/year where only that is a
    date.
    """
    found = _DATE.search(text)
    if found is None:
        return ""
    words = re.findall(rb"\d+|[a-z]{3}", found[0])
    months = [word for word in words if word in _MONTHS]
    numbers = [int(word) for word in words if word.isdigit()]
    if months:
        day, year = numbers[0], numbers[-1]
        choices = [(year, _MONTHS.index(months[0]) + 1, day)]
    elif len(words[0]) == 4:
        choices = [(numbers[0], numbers[1], numbers[2])]
    else:
        first, second, year = numbers
        if len(words[2]) == 2:
            year += 2000 if year < 70 else 1900
        choices = [(year, first, second), (year, second, first)]
    for year, month, day in choices:
        try:
            return datetime.date(year, month, day).strftime("%Y%m%d")
        except ValueError:
            continue
    return ""


class Clause:
    """Follows one sentence from citation to citation and says of each whether it is a prior's."""

    def __init__(self, low: bytes, start: int, end: int) -> None:
        self._low, self._start, self._end = low, start, end
        self._cursor = start
        self._prior, self._date = False, ""
        self._holds = False  # "on the prior CT, ...": the rest of the sentence stays there

    def judge(self, start: int, end: int, following: int, joined: bool) -> tuple[bool, str]:
        """Say whether the citation at bytes [start, end) is of a prior study, and its date or "".

        `following` is the first byte of the next citation; `joined` says that only punctuation stands between
        this citation and the one before.
        """
        before = self._low[max(self._cursor, start - _REACH) : start]
        after = self._low[end : min(following, self._end, end + _REACH)]
        self._cursor = end
        verdict = self._read_before(before)
        tail = _AFTER_INSIDE.match(after) or _AFTER_OUTSIDE.match(after)
        named = "" if tail is None else parse_date(after[: tail.end() + _DATE_REACH])
        if verdict is not None:
            verdict = verdict[0], verdict[1] or (named if verdict[0] else "")
        elif tail is not None:
            verdict = True, named
        elif _CURRENT.search(before):
            verdict = False, ""
            self._holds = False
        elif joined or self._holds:
            verdict = self._prior, self._date
        else:
            verdict = False, ""
        self._prior, self._date = verdict
        return verdict

    def _read_before(self, before: bytes) -> tuple[bool, str] | None:
        """Judge by the last cue in the text before the citation; None when there is no cue."""
        cue = None
        for cue in _CUE.finditer(before):  # noqa: B007  (the last one is wanted)
            pass
        if cue is None:
            return None
        lead, rest = before[: cue.start()], before[cue.end() :]
        date = parse_date(cue[0])
        if (
            not date
            and (near := _DATE.search(rest[:40])) is not None
            and not _WORD.search(rest[: near.start()])
        ):
            date, rest = parse_date(near[0]), rest[near.end() :]
        self._holds = False
        if _CURRENT.search(rest) or b";" in rest:
            return False, ""
        words = len(_WORD.findall(rest))
        if _COMPARES.search(lead) and _NEW.search(lead):  # "new since the prior CT (series 3, image 12)"
            return False, ""
        if _COMPARES.search(lead) and words:
            return False, ""
        place = _PLACES.search(lead)
        opens = place is not None and not _WORD.search(lead[: place.start()])
        if opens and words:
            self._holds = True
        elif words > 6 or (b"," in rest and words):
            return False, ""
        return True, date
