"""Captions as the COCO caption toolkit tokenizes them, without Java.

The toolkit runs Stanford's PTBTokenizer (CoreNLP 3.4.1, -preserveLines -lowerCase) over all captions at once and drops
punctuation. The rules below were found by giving that program texts and reading its output; nothing of it is copied.
At every place the longest match counts, of equally long ones the first rule. All captions are read as one text, one per
line, because abbreviations look at what follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

# Kept: "?!", "!!!" and lower-cased brackets ("-lrb-") are not in the toolkit's list, so they stay. [caption_metrics]
PUNCTUATION = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)
BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
REWRITTEN = {
    **{"£": "#", "€": "$", "\x80": "$", "₠": "$", "¤": "$", "¢": "cents", "½": "1/2", "¼": "1/4", "¾": "3/4"},
    **{"⅓": "1/3", "⅔": "2/3", "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": "''", "&nbsp;": "", "…": "..."},
    **dict.fromkeys(("–", "—", "―", "\x96", "\x97", "&mdash;", "&ndash;", "&MD;"), "--"),
    **dict.fromkeys(('"', "“", "”", "«", "»", "\x93", "\x94"), "''"),
    **dict.fromkeys(("‘", "’", "‛", "‹", "›", "\x91", "\x92", "&apos;"), "'"),
}
# Abbreviations that keep their full stop; those of the second list only with a capital, of the third before a digit.
_ABBREVIATIONS = """
    adj adm adv al ala alex apr ariz assn assoc asst atty aug ave bldg blvd brig bros calif capt cf cmdr co col colo
    conn corp cos cpl ct dak dec dept det dr drs esq est etc ext feb fla fri ft ga gen gov hon inc ind insp intl jan jr
    jul jun kan kans ky lieut lt ltd maj mar md messrs mich minn mlle mme mo mon mont mr mrs ms mt natl neb nev nov oct
    okla penn pfc ph plc pres prof pvt rd rep rev rt sen sep sept sgt sq sr st ste supt tel tenn thu thurs treas tue
    tues univ va vs vt wed wis wisc wyo ph.d mfg pty
"""
CAPITALISED = ("ark", "az", "del", "ill", "la", "mass", "miss", "ore", "pa", "tex", "wash")
NUMBERED = ("art", "ca", "fig", "figs", "no", "nos", "op", "pp", "prop")
# A single letter with a full stop ends a sentence when one of these follows, otherwise it is an initial.
_STARTERS = """
    a about according additionally after an as at but earlier he her here however if in it last many more now once one
    other our she since so some such that the their then there these they this we what when while yet you
"""
_FILE_SUFFIXES = """
    bat bmp c cgi class cpp dll doc docx exe gif gz h htm html jar java jpeg jpg mov mp3 pdf php pl png ppt ps py sql
    tar txt wav x xml zip
"""

_LETTER = (
    "A-Za-zªµº\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02c1\u0300-\u0374\u0376-\u037d\u0386\u0388-\u03f5\u03f7-\u0481"
    "\u048a-\u0556\u0561-\u0587\u05d0-\u05ea\u0620-\u0669\u066e-\u06d3\u06d5-\u06dc\u06e5-\u06fc\u0900-\u0963"
    "\u0966-\u096f\u0985-\u0df2\u0e01-\u0e3a\u0e40-\u0e4e\u0e50-\u0e59\u10a0-\u10ff\u1100-\u167f"
    "\u1d00-\u1dbf\u1e00-\u1fbc"
    "\u1fc2-\u1fcc\u1fd0-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ffc\u3005\u3041-\u3096\u309d-\u30fa\u30fc-\u312d\u3400-\u4db5"
    "\u4e00-\u9fcc\uac00-\ud7a3\uf900-\ufa6d\ufb00-\ufb28"
    "\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff66-\uffdc\u00ad"
)
_APOS = r"(?:['\u2019\x92]|&apos;)"
_NUM = r"(?:[0-9]*(?:[.:,\u00ad][0-9]+)+|[0-9]+)"
_WORD = rf"[{_LETTER}][{_LETTER}0-9]*(?:[.!?][{_LETTER}][{_LETTER}0-9]*)*"
_THING = r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"
_SHORT = rf"{_APOS}(?:[msdMSD]|[rR][eE]|[vV][eE]|[lL][lL])"
_HYPHEN = "[-\u2010\u2011]"

# What is made of a match: its end, and the tokens of the matched text.
_Made = tuple[int, list[str]]


def tokenize(captions: Sequence[str]) -> list[str]:
    """Captions -> the same number of lower-cased texts, tokens separated by blanks, without punctuation.

    Changed: a caption's own line breaks of any kind become blanks; the toolkit would lose track of its captions.
    """
    lines = [re.sub(r"[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", " ", caption) for caption in captions]
    text = "\n".join(lines) + "\n"
    done: list[list[str]] = [[]]
    place = 0
    while place < len(text):
        plain = _PLAIN.match(text, place)
        if plain is not None:
            done[-1] += plain[0].lower().split(" ")
            place = plain.end()
            continue
        if text[place] == "\n":
            done.append([])
            place += 1
            continue
        place, tokens = _next(text, place)
        done[-1] += [token.lower() for token in tokens]
    return [" ".join(token for token in line if token and token not in PUNCTUATION) for line in done[:-1]]


def _next(text: str, place: int) -> _Made:
    """The tokens at `place`, and where they end; (.., []) for blanks and for what is no token.

    What a rule only looks at counts for the length of its match too.
    """
    best: tuple[int, re.Match[str], Callable[[re.Match[str]], _Made]] | None = None
    for pattern, make in _RULES:
        match = pattern.match(text, place)
        if match is not None and (best is None or match.end() > best[0]):
            best = match.end(), match, make
    return best[2](best[1]) if best is not None else (place + 1, [])


def _whole(match: re.Match[str]) -> _Made:
    token = match[0].replace("\u00ad", "")
    token = REWRITTEN.get(token, BRACKETS.get(token, token)).replace("&amp;", "&")
    return match.end(), [token.replace("(", "-lrb-").replace(")", "-rrb-")]


def _joined(match: re.Match[str]) -> _Made:
    """Blanks inside the token become no-break spaces, so that it stays one token."""
    end, [token] = _whole(match)
    return end, [token.replace(" ", "\u00a0")]


def _dropped(match: re.Match[str]) -> _Made:
    return match.end(), []


def _first_group(match: re.Match[str]) -> _Made:
    """Only the group counts; what follows was looked at."""
    return match.end(1), [match[1].replace("\u00ad", "")]


def _plain_quotes(match: re.Match[str]) -> _Made:
    return match.end(1), [re.sub("[\u2018\u201b\x91]", "`", re.sub("[\u2019\x92]|&apos;", "'", match[1]))]


def _written(match: re.Match[str], *, as_: str) -> _Made:
    return match.end(), [as_]


def _any_case(words: Sequence[str]) -> str:
    return "(?i:" + "|".join(map(re.escape, sorted(words, key=len, reverse=True))) + ")"


def _capital(words: Sequence[str]) -> str:
    """With a capital first letter, the rest in any case."""
    return "(?:" + "|".join(f"{word[0].upper()}(?i:{word[1:]})" for word in words) + ")"


# Words of a line that need no rule: letters only, a blank or the line's end after them.
_SPECIAL = r"(?!(?i:cannot|gonna|gotta|lemme|gimme|wanna)[ \n])"
_PLAIN = re.compile(rf"{_SPECIAL}[A-Za-z]+(?: {_SPECIAL}[A-Za-z]+(?=[ \n]))*(?=[ \n])")

_RULES: list[tuple[re.Pattern[str], Callable[[re.Match[str]], _Made]]] = [
    (re.compile(pattern), make)
    for pattern, make in (
        # Two words written as one: the second half is read again.
        (r"((?i:can))(?i:not)", _first_group),
        (r"((?i:gon|wan))(?i:na)", _first_group),
        (r"((?i:got))(?i:ta)", _first_group),
        (r"((?i:lem|gim))(?i:me)", _first_group),
        (r"('[tT])(?i:is|was)", _first_group),
        # Tags, entities.
        (r"<(?:[!?][A-Za-z-][^>\n]*|/?[A-Za-z][A-Za-z0-9_:.-]*(?: +[^>\n]*)?/?)>", _joined),
        (r"&(?:amp|lt|gt|quot|apos|mdash|ndash|MD);", _whole),
        (r"&nbsp;", _dropped),
        (r"&(?:#[0-9]+|[A-Z]{2}|[aeiouAEIOU](?:acute|grave|uml));", _whole),
        # Words before 's and n't.
        (rf"({_WORD}){_SHORT}(?![A-Za-z])", _first_group),
        (rf"([A-Za-z]*[A-MO-Za-mo-z])[nN](?:{_APOS}|[`\u2018\u201b\x91])[tT]", _first_group),
        (_WORD, _whole),
        # Words with an apostrophe of their own.
        (rf"{_APOS}n{_APOS}|\u2019n|{_APOS}n(?![A-Za-z])|[dDjJlLyY]{_APOS}(?=[A-Za-z])", _whole),
        (rf"(?i:ol|dunkin|somethin){_APOS}", _whole),
        (rf"{_APOS}(?i:em|cause|till?|[2-9]0s)(?![A-Za-z])", _whole),
        (rf"(?i:c{_APOS}mon|e{_APOS}er|s{_APOS}mores|ev{_APOS}ry|li{_APOS}l|nat{_APOS}l|nor{_APOS}easter)", _whole),
        (rf"[A-Za-z]+[aeiouyAEIOUY]{_APOS}[aeiouA-Z][A-Za-z]*", _whole),
        (rf"[dDoOlL]{_APOS}[{_LETTER}0-9]+|[A-HJ-XZn]{_APOS}[{_LETTER}]{{2,}}", _whole),
        # Addresses and names on the web.
        (r"https?://[^ \t\n\"<>|(){}]+[^ \t\n\"<>|.!?(){},-]", _whole),
        (
            r"(?:www\.(?:[^ \t\n\"<>|.!?(){},]+\.)+[a-zA-Z]{2,4}"
            r"|(?:[^ \t\n\"`'<>|.!?(){},_$/-]+\.)+(?:com|net|org|edu))"
            r"(?:/[^ \t\n\"<>|()]+[^ \t\n\"<>|.!?(){},-])?",
            _whole,
        ),
        (r"[a-zA-Z0-9][^ \t\n\"<>|(){}\u00a0]*@(?:[^ \t\n\"<>|(){}.\u00a0]+\.)*[^ \t\n\"<>|(){}.\u00a0]+", _whole),
        (r"@[A-Za-z_][A-Za-z_0-9]*|#[A-Za-z]+", _whole),
        # The short forms themselves.
        (rf"((?!'){_SHORT}|{_SHORT}(?![A-Za-z]))", _plain_quotes),
        (rf"([nN](?:{_APOS}|[`\u2018\u201b\x91])[tT])(?![A-Za-z])", _plain_quotes),
        # Numbers.
        (rf"[-+]?{_NUM}", _whole),
        (r"(?:[0-9]{1,4}[- \u00a0])?[0-9]{1,4}\\?/[0-9]{1,4}", _joined),
        (r"[\u207a\u207b\u208a\u208b]?(?:[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+|[\u2080-\u2089]+)", _whole),
        (r"[½¼¾⅓⅔\u2155-\u215e]", _whole),
        (
            r"(?:\([0-9]{2,3}\)[ \u00a0]?|(?:\+\+?)?(?:[0-9]{2,4}[- \u00a0])?[0-9]{2,4}[- \u00a0])"
            r"[0-9]{3,4}[- \u00a0]?[0-9]{3,5}",
            _joined,
        ),
        (r"'[0-9]{2}(?=[ \t\n])", _whole),
        # Words joined by hyphens, slashes, underscores.
        (r"(?i:pro|anti)-", _whole),
        (rf"{_THING}(?:\\?/{_THING}){{1,2}}", _whole),
        (rf"[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*|[{_LETTER}0-9]+(?:_[{_LETTER}0-9]+)+", _whole),
        (rf"[{_LETTER}0-9][{_LETTER}0-9.,]*(?:{_HYPHEN}(?:[A-Za-z](?:\.[A-Za-z])+\.|[{_LETTER}0-9]+))+", _whole),
        (r"[A-Z]*\$|#+|<<|>>|[A-Za-z]\+\+", _whole),
        (r"[A-Z]+(?:(?:&|&amp;|\+)[A-Z]+)+", _whole),
        # Full stops that belong to the word.
        (rf"{_any_case(_ABBREVIATIONS.split())}\.", _whole),
        (rf"{_capital(CAPITALISED)}\.", _whole),
        (rf"({_any_case(NUMBERED)}\.)[ \n]?[0-9]", _first_group),
        (rf"([A-Za-z])\.[ \n]+(?:{_capital(_STARTERS.split())}[ \n]|(?i:mr|ms)\.|<[A-Za-z])", _first_group),
        (r"[A-Za-z](?:\.[A-Za-z])*\.", _whole),
        (rf"[{_LETTER}0-9]+(?:\.[{_LETTER}0-9]+)*\.{_any_case(_FILE_SUFFIXES.split())}(?=[ \n.?!,\"'<()])", _whole),
        (rf"([{_LETTER}0-9]+(?:[.!?][{_LETTER}0-9]+)*\.)[,;:\u3001]", _first_group),
        # Signs.
        (r"\.{3,5}|(?:\.[ \u00a0]){2,4}\.|…", partial(_written, as_="...")),
        (r"([<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]])(?![A-Za-z0-9])", _whole),
        (r"[-^x=~<>'][_.][-^x=~<>']|\([-^x=~<>'][_.]?[-^x=~<>']\)", _whole),
        (r"-{2,4}(?!-)", partial(_written, as_="--")),
        (r"[?!]+|\*+|_+|-{5,}", _whole),
        (r"``|''", _whole),
        (r"[!-/:-@\[-`{-~]", _whole),
        (
            r"[\x80\x91-\x97¡-¬®-¿×÷\u02c2-\u02ff\u2013-\u2023\u2026\u2030-\u203b\u203e-\u2042\u2044\u2070-\u208e€₠₤"
            r"\u2100-\u214f\u2190-\u2bff\u3001\u3002\u3012\u30fb\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]",
            _whole,
        ),
    )
]
