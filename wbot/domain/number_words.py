"""Words that multiply a number: thousand, lakh, juta, 万, mil, k.

After Unicode's CLDR 47 (compact decimal forms) and the everyday words of the languages. A word that
is a thousand in one country and a million in another has both factors, except where the country of
the currency leaves no doubt. Billions are left out: half the world means a thousand millions.
"""

import unicodedata

_FACTORS = {
    10**3: """
        k thousand thousands grand mil mila mille tausend tsd tusen duizend tys tysiąc tysiące
        tysięcy mii bin elfu libo rb ribu nghìn ngàn тыс тысяч тысяча тысячи тис тисяч тисяча тисячі
        千 천 พัน हज़ार हजार হাজার ہزار هزار ألف الف آلاف אלף
    """,
    10**4: "万 萬 만 หมื่น",
    10**5: "lakh lakhs lac lacs laki แสน लाख লাখ লক্ষ لاکھ",
    10**6: """
        million millions mln mio millón millones milhão milhões milione milioni miljon miljoner
        miljoen milyon milioane milion miliony milionów juta jt triệu млн миллион
        миллиона миллионов мільйон мільйонів ล้าน مليون ملايين میلیون מיליון
    """,
    10**7: "crore crores करोड़ করোড় কোটি کروڑ",
    10**8: "億 亿 억",
}
_LOCAL = {
    "luca": (10**3, {"CLP", "ARS", "COP", "UYU"}),
    "lucas": (10**3, {"CLP", "ARS", "COP", "UYU"}),
    "palo": (10**6, {"CLP", "ARS", "UYU"}),
    "palos": (10**6, {"CLP", "ARS", "UYU"}),
    "mi": (10**6, {"BRL"}),
    "tr": (10**6, {"VND"}),
    "lk": (10**5, {"INR", "PKR", "BDT", "NPR", "LKR"}),
    "cr": (10**7, {"INR", "PKR", "BDT", "NPR", "LKR"}),
}

# In Spanish and Portuguese a thousand; in English slang a million.
_MIL = "mil"
_MIL_IS_A_THOUSAND = frozenset(
    {"ARS", "BOB", "BRL", "CLP", "COP", "CRC", "CUP", "DOP", "GTQ", "HNL", "MXN", "NIO", "PAB"}
    | {"PEN", "PYG", "UYU", "VES", "AOA", "CVE", "MZN", "STN"}
)

_SCALES = {
    word: factor
    for factor, words in _FACTORS.items()
    for word in unicodedata.normalize("NFC", words).split()
}

SCALE_WORDS = frozenset(_SCALES) | frozenset(_LOCAL)
"""Every word that may multiply a number, in lower case."""


def factors_of(word: str, code: str) -> tuple[int, ...]:
    """What a word in lower case may multiply an amount of this currency by; empty for no such word.

    More than one factor is a doubt that only the writer can end.
    """
    word = word.removesuffix(".")
    if word == _MIL:
        return (10**3,) if code in _MIL_IS_A_THOUSAND else (10**3, 10**6)
    if word in _LOCAL:
        factor, codes = _LOCAL[word]
        return (factor,) if code in codes else ()
    return (_SCALES[word],) if word in _SCALES else ()
