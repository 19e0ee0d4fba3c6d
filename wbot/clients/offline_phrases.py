r"""The English that the built-in interpreter understands: one named pattern for each thing said.

Patterns are for text in its plain spelling (straight apostrophes, ordinary spaces, "\n" alone as
the line break); those that stand for a request are to match a whole clause.
"""

import re
from collections.abc import Iterable

from wbot.domain.amounts import UNITS
from wbot.domain.currencies import CURRENCIES
from wbot.domain.number_words import SCALE_WORDS


def _form(pattern: str) -> re.Pattern[str]:
    r"""A pattern in any case, where a space stands for one or more (a single one is \x20)."""
    return re.compile(pattern.replace(" ", "[ ]+"), re.IGNORECASE)


# Around a request -----------------------------------------------------------------------------

# Polite phrases, which change nothing about a request.
BEFORE = _form(
    r"(?:(?:hi|hello|hey|hiya|good (?:morning|afternoon|evening|day))(?: there| bot)?"
    r"|please|pls|plz|kindly|ok|okay|yes|yeah|sure|great|perfect|thanks|thank you|oops|sorry"
    r"|and|then|also|plus|so|now|just|actually|quickly|go ahead and|let's"
    r"|(?:can|could|would|will) (?:you|u)|i(?: want|'d like| would like| need)(?: you)? to"
    r"|(?:can|could|may) i(?= (?:see|get|have|check|know|view)\b)"
    r"|(?:no|wait)(?=[\x20,.!]+(?:(?:wait|stop|oops|please)[\x20,.!]+)*"
    r"(?:cancel|undo|reverse|stop|take)\b))[\x20,.!:\n]+"
)
AFTER = _form(
    r"(?:[\x20,.!\n]++(?:please|pls|plz|thanks|thank you|thx|ty|cheers|ok|okay|now|right now|today"
    r"|right away|immediately|asap|for me|:-?\)))?"
    r"[\x20.,;:!?…\n\u2600-\u27bf\ufe0f\u200d\U0001f000-\U0001faff]*+$"
)

# Words that withdraw, postpone or question what is said beside them.
DOUBT = _form(
    r"\b(?:\w+n't|dont|doesnt|didnt|wont|cant|shouldnt|wouldnt|cannot|not|never|no|nor|without|if"
    r"|unless|until|till|when|whenever|once|whether|why|how|do i|did|does|should|shall|might|maybe"
    r"|perhaps|was|were|have you|wait|but|except|instead|cancel|joking|kidding|suppose)\b"
)
ASKED_OF_US = _form(r"\b(?:can|could|would|will) (?:you|u)\b")

# What a message is about that is not understood as a whole.
SPEAKS_OF_MOVING = _form(
    r"\b(?:transfer|transferred|send|sent|pay|paid|give|gave|wire|wired|make a payment)\b"
)
SPEAKS_OF_CANCELLING = _form(r"\b(?:cancel|cancelled|undo|reverse|revoke|stop|refund)\b")
SPEAKS_OF_BALANCE = _form(r"\bbalance\b|\bhow much (?:money )?(?:do i have|have i)\b")
SPEAKS_OF_STATEMENT = _form(r"\b(?:statement|history|transactions)\b")

# Sending money --------------------------------------------------------------------------------


_SIGN_LENGTH_MAX = 4


# A unit of money: a code, a sign, or an everyday name; behind the figure also lakh, juta, 万.
def _one_of(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


# Before it are signs and codes, behind it words too.
_UNIT = _one_of({unit for unit in UNITS if len(unit) <= _SIGN_LENGTH_MAX})
_AFTER = _one_of({unit for unit in UNITS if " " not in unit} | SCALE_WORDS)
# An amount as written, whole: 5, $5, -5, .50, 1e9, 5k. What is none is for the tool to refuse;
# reading only a part of it as the amount would be the worst possible mistake.
_FIGURE = r"(?!\+)[^\s\w\"]{0,2}[a-z]{0,3}[^\s\w\"]{0,2}\d(?:\S*[^\s,;:!?.])?"
# Groups set apart by spaces: 1 000,00.
_GROUPED = r"[^\s\w]?\d{1,3}(?: \d{3})+(?:[.,]\d+)?(?!\S*\d)"
_AMOUNT = rf"(?:(?:{_UNIT})\.? )?(?:{_GROUPED}|{_FIGURE})(?: (?:{_AFTER})(?!\w)\.?){{0,2}}"

# The dot in "Rs. 500" ends no sentence.
SIGN_BEFORE_FIGURE = re.compile(rf"(?<!\d )(?<!\w)(?:{_UNIT})\. +\d\Z", re.IGNORECASE)

# A word of a name. A dot ends it, except after a title or an initial.
_WORD = (
    r"(?:(?:mr|mrs|ms|dr|st|prof)\.|(?:[^\W\d_]\.)+"
    r"|[^\W\d_][^\s.,;:!?…\"“”()\[\]{}<>/\\|=+*%$#@~^]*)"
)
_NAME = rf"{_WORD}(?: {_WORD}){{0,3}}?"
# A phone number, with spaces only where a + and a country code begin it.
_PHONE = r"\+[0-9]{1,3}(?:(?: |[.-])\(?[0-9]{2,5}\)?){2,5}|\+[0-9]{5,20}|[0-9]{7,20}"
_PAYEE = rf"(?P<to>{_PHONE}|{_NAME})"

_VERB = (
    r"(?:(?:transfer|send|pay|give|wire)(?: over)?"
    r"|make an? (?:transfer|payment) of|send an? payment of)"
)
_MEMO = r"(?:,? (?:for|re|memo|note|with (?:(?:the|a) )?(?:memo|note|message)):? (?P<memo>.+))?"
_OWN_ACCOUNT = r"(?: from my (?:account|balance|wallet))?"

# send $5 to Ann Lee for lunch
_AMOUNT_FIRST = rf"{_VERB} (?P<amount>{_AMOUNT}){_OWN_ACCOUNT} to {_PAYEE}{_MEMO}"
# pay Ann Lee 5 dollars for lunch
_PAYEE_FIRST = rf"{_VERB}(?: to)? {_PAYEE} (?P<amount>{_AMOUNT}){_MEMO}"
TRANSFERS = (_form(_AMOUNT_FIRST), _form(_PAYEE_FIRST))
# ... and 6 to Bob for the taxi: only after another transfer.
TRANSFER_GOING_ON = _form(rf"(?P<amount>{_AMOUNT}) to {_PAYEE}{_MEMO}")

NOTHING_NAMED = _form(rf"{_VERB}(?: (?:some )?(?:money|cash|funds))?")
NO_PAYEE = _form(rf"{_VERB} {_AMOUNT}(?: to)?(?: for .+)?")
NO_AMOUNT = _form(rf"{_VERB}(?:(?: [a-z]+){{0,4}}? to)? {_PAYEE}{_MEMO}")

# A memo that goes on with another payment, which was not understood: it must not be lost in there.
MORE_IN_MEMO = _form(r"(?:\b(?:and|then|plus|also)|[,;.&]) [^\s\w]{0,3}\d")

PRONOUNS = re.compile(
    r"(?:me|myself|him|her|them|us|it|you|(?:some|every)(?:one|body))", re.IGNORECASE
)
# No name has these words; a payee with such a word in it is a misread sentence.
_NOT_IN_NAMES = """
    to from for by via with using on at in into as and or also then than so because that this
    which who whom whose what i he she we they is are be been am has have had do will would can
    could must may again twice back later tomorrow tonight yesterday next last every each daily
    weekly monthly soon before after send pay transfer give wire money cash some half plus minus
"""
_MONEY_WORDS = {code.lower() for code in CURRENCIES} | {
    noun for facts in CURRENCIES.values() for noun in facts.nouns
}
# Bob and Ron are people, although BOB and RON are currencies; so are Mark, Sol and Colón.
_NAMES_TOO = {"bob", "ron", "mark", "marks", "sol", "colón", "leone", "real", "rand", "gold"}
NOT_IN_NAMES = frozenset(_NOT_IN_NAMES.split()) | (_MONEY_WORDS - _NAMES_TOO)

# Cancelling -----------------------------------------------------------------------------------

_CANCEL_VERB = r"(?:cancel|undo|reverse|revoke)"
_TRANSFER_NOUN = r"(?:transfer|payment|transaction)"
# cancel, undo that
_CANCEL_THAT = (
    rf"{_CANCEL_VERB}(?: (?:that|this|it))?|stop (?:that|this|it)"
    r"|take (?:that|this|it) back|take back (?:that|this|it)"
)
# cancel my last payment, stop the transfer
_CANCEL_LATEST = (
    rf"(?:{_CANCEL_VERB}|stop|take back) (?:(?:that|this|the|my) )?"
    rf"(?:(?:last|latest|previous|most recent) )?(?:{_TRANSFER_NOUN}|one)"
)
# cancel T12, cancel transfer number 12
_CANCEL_NAMED = (
    rf"(?:{_CANCEL_VERB}|stop) (?:(?:the|my) )?"
    rf"(?:(?:{_TRANSFER_NOUN} )?(?P<reference>T-?[0-9]{{1,18}})"
    rf"|{_TRANSFER_NOUN} (?:(?:number|no\.?) )?#?(?P<number>[0-9]{{1,18}}))"
)
CANCELS = tuple(_form(pattern) for pattern in (_CANCEL_THAT, _CANCEL_LATEST, _CANCEL_NAMED))

# Balance and statement ------------------------------------------------------------------------

_SHOW = (
    r"(?:(?:(?:show|tell|give|send|get|see|check|view|know|have|list)(?: me)?"
    r"|what's|what is|whats|what (?:was|were)) )?"
)
_MY_BALANCE = (
    rf"{_SHOW}(?:(?:my|the) )?(?:(?:current|account|available|remaining) )*balance(?: left)?"
)
_HOW_MUCH_LEFT = (
    r"how much(?: (?:money|cash))? (?:do i have|have i got|have i|is left|is there"
    r"|is in my account|can i spend|can i send)(?: (?:left|available|in (?:my|the) account))*"
)
_WHAT_LEFT = r"what(?:'s| is) in my account|what(?:'s| is) left|what do i have(?: left)?"
BALANCES = (_form(_MY_BALANCE), _form(_HOW_MUCH_LEFT), _form(_WHAT_LEFT))

_MY_STATEMENT = (
    rf"{_SHOW}(?:(?:my|the|a|all) )*(?:(?:account|bank|mini|transaction|payment|transfer) )*"
    r"(?:statement|history|activity|transactions|transfers|payments)"
)
# my last 5 transactions
_MY_LAST = (
    rf"{_SHOW}(?:(?:my|the) )*(?:last|latest|recent|past|previous) "
    rf"(?:(?:(?P<limit>[1-9][0-9]{{0,2}})|[a-z]+) )?(?:{_TRANSFER_NOUN}s?|entries|activity)"
)
# what did I spend this week
_WHAT_SPENT = (
    r"(?:what|who|whom|where|how much) (?:did|have) i"
    r" (?:spend|spent|pay|paid|send|sent|buy|bought|transfer|transferred)(?: .+)?"
    r"|where did (?:all )?(?:of )?my money go"
)
STATEMENTS = (_form(_MY_STATEMENT), _form(_MY_LAST), _form(_WHAT_SPENT))

# Small talk -----------------------------------------------------------------------------------

GREETING = _form(
    r"(?:hi+|hello+|hey+|hiya|howdy|yo|greetings|good (?:morning|afternoon|evening|day))"
    r"(?:,? (?:there|bot|all|again|how are you(?: doing)?(?: today)?))*"
)
THANKS = _form(
    r"(?:ok(?:ay)?,? |great,? |perfect,? |many )*(?:thanks|thank you|thankyou|thx|ty|cheers)"
    r"(?: (?:so|very) much| a lot| again|,? that's all|,? bot)*"
)
FAREWELL = _form(
    r"(?:ok(?:ay)?,? |thanks,? |thank you,? )*(?:good(?: )?bye|bye(?: bye)?|see you|good night)"
)
YES_OR_NO = _form(
    r"(?:yes|y|yeah|yep|yup|ok|okay|k|sure|confirm|confirmed|i confirm|agreed|correct|right"
    r"|do it|go ahead|no|n|nope|nah|never mind|nevermind|great|perfect|cool|good|fine|nice)"
    r"(?:,? (?:please|do it|go ahead|confirm|thanks|thank you))*"
)
HELP = _form(
    r"/?help(?: me)?|/?start|menu|commands?|options|what can (?:you|i) do(?: here| for me)?"
    r"|what do you do|who are you|what (?:are you|is this)|how can you help(?: me)?"
    r"|how (?:does|do) (?:this|it|you) work|how (?:do|can) i .+"
)

# How the service words a contact card that the customer shares.
CARD = _form(r"contact card: [^\n]*?(?P<number>\+[0-9]{5,20})")

# From one request to the next -----------------------------------------------------------------

_AND = r"(?:and|then|also|plus|&)"
NEXT = _form(
    rf"(?:(?:[,;.!?]++[\x20\n]++|\n[\x20\n]*+)(?:{_AND} )*| (?:{_AND} )+)"
    rf"(?=(?:please )?(?:{_VERB}|{_CANCEL_VERB}|show|tell me|check|what's|what is|how much"
    r"|(?:my )?(?:last|balance|statement|history|transactions))\b"
    rf"|{_AMOUNT} to )"
)
