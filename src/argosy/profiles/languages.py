"""What is counted of language models: their reference profile, which is the same for all and says in which cells, not
how often; and which language a text is in, by its script, and where that is shared by the small words that each
language repeats. Pure; as good as monitoring needs it, from a sentence on."""

import re

from argosy.packaging.package import Package
from argosy.packaging.profile import Categories, Feature, Numbers, Profile

SCRIPTS = {
    "ja": "\u3040-\u30ff",
    "ko": "\uac00-\ud7af\u1100-\u11ff",
    "zh": "\u3400-\u4dbf\u4e00-\u9fff",
    "ru": "\u0400-\u04ff",
    "el": "\u0370-\u03ff",
    "he": "\u0590-\u05ff",
    "ar": "\u0600-\u06ff",
    "hi": "\u0900-\u097f",
    "bn": "\u0980-\u09ff",
    "ta": "\u0b80-\u0bff",
    "th": "\u0e00-\u0e7f",
}
"""The first that has a share of a text decides: Japanese is written with Chinese characters, too."""
WORDS = {
    "en": "the of and to in is that it for was with as you are this be have what not from",
    "de": "der die das und ist nicht ich ein eine zu mit den auf für von dem wie sie was auch",
    "fr": "le la les de des et est un une que dans pour pas qui sur avec vous je ce au",
    "es": "el la los las de que y en un una es por para con no se del como lo qué",
    "it": "il la che di e un una per non con del sono è come gli della nel si ho questo",
    "pt": "o a os as de que e em um uma para com não por do da como mais se é",
    "nl": "de het een van en is dat niet ik te op voor met zijn wat aan er maar hoe ook",
    "sv": "och att det är en ett som på av för med inte jag den till har vad om kan du",
    "pl": "i w na nie się z do jest to że co jak o ale po od za dla czy tak",
    "tr": "ve bir bu da de için ile ne çok mi olarak daha gibi ben var nasıl kadar en o ama",
    "id": "yang dan di ini itu dengan untuk tidak dari dalam saya apa ke pada adalah bisa akan juga atau ada",
    "vi": "là và của có không được cho một các với này trong những người tôi thế nào để đã khi",
}
OTHER = "other"
LANGUAGES = (*SCRIPTS, *WORDS, OTHER)
MOST = 4000
"""Characters that are looked at."""
SCRIPT_SHARE = 0.2
_SCRIPTS = {name: re.compile(f"[{spans}]") for name, spans in SCRIPTS.items()}
_SMALL = {name: frozenset(words.split()) for name, words in WORDS.items()}
_WORD = re.compile(r"[^\W\d_]+")


def language(text: str) -> str:
    """One of `LANGUAGES`; empty for a text without letters."""
    words = _WORD.findall(text[:MOST].lower())
    letters = sum(map(len, words))
    if not letters:
        return ""
    joined = "".join(words)
    for name, script in _SCRIPTS.items():
        if len(script.findall(joined)) >= SCRIPT_SHARE * letters:
            return name
    hits = {name: sum(word in small for word in words) for name, small in _SMALL.items()}
    best = max(hits, key=lambda name: hits[name])
    return best if hits[best] and list(hits.values()).count(hits[best]) == 1 else OTHER


LENGTHS = tuple(sorted({round(2 ** (half / 2)) for half in range(41)}))
"""Where the cells of lengths begin: each is about 1.4 times the one before, up to a million."""
FINISHES = ("stop", "length", "tool_calls", "content_filter", "function_call")


def _lengths(tensor: str) -> Feature:
    edges = tuple(map(float, LENGTHS))
    ones = (1,) * (len(edges) - 1)
    return Feature(tensor=tensor, numbers=Numbers(count=len(ones), missing=0, min=1, edges=edges, counts=ones))


def _values(tensor: str, values: tuple[str, ...]) -> Feature:
    listed = Categories(count=len(values), missing=0, categories=dict.fromkeys(values, 1), distinct=len(values))
    return Feature(tensor=tensor, categories=listed)


REFERENCE = Profile(
    rows=len(LENGTHS) - 1,
    inputs=(_lengths("characters"), _lengths("tokens"), _values("language", LANGUAGES)),
    outputs=(_lengths("characters"), _lengths("tokens"), _values("finish", FINISHES)),
)


def reference(package: Package) -> Profile | None:
    """What the requests to a model are counted by: its own profile, or that of all language models."""
    return REFERENCE if package.manifest.generates else package.profile()
