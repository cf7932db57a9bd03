"""The cleaning of captions with which LlamaGen's text-to-image models were trained.

EditAR was trained on instructions as written, which are not cleaned.

Source: LlamaGen's release code, which applies the rules of DeepFloyd IF twice. The package ftfy
repairs wrong encodings; without ftfy, only accents are composed.
"""

import functools
import html.parser
import logging
import re
import unicodedata
import urllib.parse
from collections.abc import Callable

log = logging.getLogger(__name__)

_ABC = "a-zA-Z"
_FILE = "(?:png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4)"
_SITE = rf"[{_ABC}0-9.-]+\.(?:com|co|ru|net|org|edu|gov|it)[\w/-]*\b/?(?!@)"
_DASHES = (
    r"\-\u058a\u05be\u1400\u1806\u2010-\u2015\u2e17\u2e1a\u2e3a\u2e3b\u2e40\u301c\u3030\u30a0"
    r"\ufe31\ufe32\ufe58\ufe63\uff0d"
)
Rules = tuple[tuple[str, str], ...]  # (regular expression, replacement), in order

_ADDRESSES: Rules = (
    ("<person>", "person"),
    (rf"\b(?:https?:(?:/{{1,3}}|[{_ABC}0-9%])|{_SITE})", ""),
    (rf"\b(?:www:(?:/{{1,3}}|[{_ABC}0-9%])|{_SITE})", ""),
)
_SIGNS: Rules = (
    (r"@\w+\b", ""),  # nicknames
    ("[\u31c0-\u9fff]+", ""),  # Chinese characters and their relatives
    (f"[{_DASHES}]+", "-"),
    ("[`´«»“”¨]", '"'),
    ("[‘’]", "'"),
    ("&quot;?|&amp", ""),
    (r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}", " "),  # network addresses
    (r"\d:\d\d\s+$", ""),
    (r"\\n", " "),
    (r"#\d{1,3}\b|#\d{5,}\b|\b\d{6,}\b", ""),
    (rf"\S+\.{_FILE}", ""),
    ("[\"']{2,}", '"'),
    (r"\.{2,}", " "),
    (r"[#®•©™&@·º½¾¿¡§~()\[\]{}|\\/*]+", " "),
    (r"\s+\.\s+", " "),
)
_CODES: Rules = (
    (rf"\b[{_ABC}]{{1,3}}\d{{3,15}}\b", ""),
    (rf"\b[{_ABC}]+\d+[{_ABC}]+\b", ""),
    (rf"\b\d+[{_ABC}]+\d+\b", ""),
    (r"(?:worldwide\s+)?(?:free\s+)?shipping", ""),
    (r"(?:free\s)?download(?:\sfree)?", ""),
    (r"\bclick\b\s(?:for|on)\s\w+", ""),
    (rf"\b{_FILE}(?:\simages?)?", ""),
    (r"\bpage\s+\d+\b", ""),
    (rf"\b\d*[{_ABC}]+\d+[{_ABC}]+\d+[{_ABC}\d]*\b", " "),
    (r"\b\d+\.?\d*[x\u0445×]\d+\.?\d*\b", ""),  # sizes; the second x is Cyrillic
    (r"\b\s+:\s+", ": "),
    (r"(\D[,./])\b", r"\1 "),
    (r"\s+", " "),
    ("^[\"']([\\w\\W]+)[\"']$", r"\1"),
    (r"^['_,\-:;]", ""),
    (r"['_,\-:+]$", ""),
    (r"^\.\S+$", ""),
)


def clean_caption(caption: str) -> str:
    """Return the caption as LlamaGen's text encoder reads it.

    The result is lower case, without addresses, markup, Chinese characters, file names and article
    numbers, and with plain dashes and quotes.
    """
    return _clean_once(_clean_once(caption))


def _clean_once(text: str) -> str:
    text = urllib.parse.unquote_plus(text).strip().lower()
    text = _apply(_SIGNS, _without_markup(_apply(_ADDRESSES, text)))
    if len(re.findall("[-_]", text)) > 3:
        text = re.sub("[-_]", " ", text)
    text = html.unescape(html.unescape(_repair()(text)))
    return _apply(_CODES, text.strip()).strip()


@functools.cache
def _repair() -> Callable[[str], str]:
    """Return the function that repairs wrong encodings, and log once which function it is."""
    try:
        import ftfy
    except ImportError:
        log.info("captions: ftfy is not installed: wrong encodings are not repaired")
        return functools.partial(unicodedata.normalize, "NFC")
    log.info("captions: wrong encodings are repaired by ftfy %s", ftfy.__version__)
    return ftfy.fix_text


def _apply(rules: Rules, text: str) -> str:
    for pattern, replacement in rules:
        text = re.sub(pattern, replacement, text)
    return text


class _Text(html.parser.HTMLParser):
    """A parser that collects the text between tags, without scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        if self.cdata_elem is None:
            self.parts.append(data)


def _without_markup(text: str) -> str:
    parser = _Text()
    parser.feed(text)
    parser.close()
    return "".join(parser.parts)
