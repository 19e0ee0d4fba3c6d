"""Names that look alike: a compact table of letters of other alphabets that look like Latin ones.

The letters are single ones of Unicode's confusables.txt (UTS #39) in Latin, Greek, Cyrillic,
Armenian, Cherokee, Coptic and Lisu; small Cyrillic and Greek letters in the shape of capitals are
added. Full-width and mathematical letters need no table: they have compatibility forms.
"""

import re
import unicodedata
from collections.abc import Iterable

from wbot.domain.names import seen

_LIKE = {
    "a": "ɑαаΑАᎪꓮ",
    "b": "ƄЬᏏꞴΒВᏴꓐв",
    "c": "ᴄϲⲥсꮯϹⲤСᏟꓚ",
    "d": "ԁᏧꓒᎠꓓ",
    "e": "ꬲеҽΕЕᎬꓰε",
    "f": "ꬵꞙẝքꞘϜꓝ",
    "g": "ɡᶃƍցԌᏀᏳꓖ",
    "h": "һհᏂΗⲎНᎻꓧн",
    "i": "ıɪɩιιіꙇӏꭵᎥ",
    "j": "ϳјꞲͿЈᎫꓙ",
    "k": "ΚⲔКᏦꓗкκ",
    "l": "ƖǀΙⲒІӀꓲⳐᏞꓡ",
    "m": "ΜϺⲘМᎷꓟм",
    "n": "ոռΝⲚꓠη",
    "o": "ᴏᴑꬽοσⲟоօΟⲞОՕꓳ",
    "p": "ρϱⲣрΡⲢРᏢꓑ",
    "q": "ԛգզ",
    "r": "ꭇꭈᴦⲅгꮁƦᎡᏒꓣ",
    "s": "ꜱƽѕꮪЅՏᏕᏚꓢ",
    "t": "ΤⲦТᎢꓔтτ",
    "u": "ꞟᴜꭎꭒʋυսՍꓴ",
    "v": "ᴠνѵꮩѴᏙꓦ",
    "w": "ɯᴡѡԝաꮃԜᎳᏔꓪ",
    "x": "хꞳΧⲬХꓫ",
    "y": "ɣᶌʏỿꭚγуүΥϒⲨУҮᎩᎽꓬ",
    "z": "ᴢꮓΖᏃꓜ",
}
_LATIN = str.maketrans({c: latin for latin, letters in _LIKE.items() for c in letters})
# Above and below Latin letters; the vowels of other scripts are marks too, but part of the name.
_ACCENTS = re.compile("[\u0300-\u036f]")
# 0 and O, 1 and l and I; two letters that run together.
_BY_CASE = str.maketrans({"I": "l"})
_DIGITS = str.maketrans({"0": "o", "1": "l"})
_RUN_TOGETHER = (("rn", "m"), ("vv", "w"))


def look_alike(name: str, known: Iterable[str]) -> str | None:
    """The known name that this one looks like, in whatever case it may be shown; None for none."""
    shape = _shape(name)
    if not shape:
        return None
    return next(
        (one for one in known if shape in {_shape(one), _shape(one.upper()), _shape(one.lower())}),
        None,
    )


def _shape(name: str) -> str:
    """What a reader sees at a glance: Latin letters without marks, case, spaces and signs."""
    letters = unicodedata.normalize("NFKD", seen(name)).translate(_BY_CASE).translate(_LATIN)
    plain = "".join(
        str(unicodedata.decimal(c, c))
        for c in letters.casefold().translate(_LATIN)
        if unicodedata.category(c)[0] in "LMN" and not _ACCENTS.match(c)
    ).translate(_DIGITS)
    for pair, letter in _RUN_TOGETHER:
        plain = plain.replace(pair, letter)
    return plain
