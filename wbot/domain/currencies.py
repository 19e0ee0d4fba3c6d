"""The currencies of ISO 4217 in one table: decimals, thousands marks, and what people call them.

One line a currency: code, decimals, thousands mark, English name; then other signs and words, an
underscore standing for a space. Codes and decimals are of ISO 4217 list one with amendment 180;
left out is what has no minor unit: metals, drawing rights, bond units, the codes for testing and
for no currency. Names, signs and thousands marks are after Unicode's CLDR 47, for the languages of
the country; everyday words are added. The thousands mark is

    ,  or  .   where the country's languages agree on it (of Canada and South Africa, English);
    0          where people use no decimals: CLDR has none, or none in cash and shop prices have
               none either, so a comma or dot before three digits can only mean thousands;
    ?          for all else: the euro, Switzerland, Poland; currencies with three decimals or four.
"""

import unicodedata

import msgspec

_TABLE = """
AED 2 , UAE dirham | dh dhs aed. د.إ درهم دراهم درهما
AFN 2 0 Afghan afghani | ؋ afs افغانی
ALL 2 0 Albanian lek | lekë leke
AMD 2 ? Armenian dram | ֏ դրամ драм драмов
AOA 2 ? Angolan kwanza | kz
ARS 2 . Argentine peso | $ ar$
AUD 2 , Australian dollar | $ a$ au$
AWG 2 ? Aruban florin | afl
AZN 2 ? Azerbaijani manat | ₼ манат манатов
BAM 2 . Bosnian mark | km marka marke maraka км марка
BBD 2 , Barbadian dollar | $ bds$
BDT 2 , Bangladeshi taka | ৳ tk টাকা
BHD 3 ? Bahraini dinar | bd د.ب دينار دنانير دينارا
BIF 0 0 Burundian franc | fbu
BMD 2 , Bermudan dollar | $ bd$
BND 2 ? Brunei dollar | $ b$ ringgit
BOB 2 . Bolivian boliviano | bs
BOV 2 . Bolivian mvdol |
BRL 2 . Brazilian real | r$ reais
BSD 2 , Bahamian dollar | $ b$
BTN 2 , Bhutanese ngultrum | nu
BWP 2 , Botswanan pula | p
BYN 2 ? Belarusian ruble | br rouble roubles рубль рубля рублей руб р рублёў
BZD 2 , Belize dollar | $ bz$
CAD 2 , Canadian dollar | $ ca$ c$
CDF 2 ? Congolese franc | fc
CHE 2 ? WIR euro |
CHF 2 ? Swiss franc | fr sfr franken frs franco franchi stutz
CHW 2 ? WIR franc |
CLF 4 ? Chilean unit_of_account | uf
CLP 0 0 Chilean peso | $ cl$
CNY 2 , Chinese yuan | cn¥ ¥ rmb renminbi kuai 元 块 塊 圆 人民币
COP 2 0 Colombian peso | $ co$ col$
COU 2 . Colombian real_value_unit |
CRC 2 0 Costa_Rican colón | ₡ ¢ colones
CUP 2 , Cuban peso | $ cu$ cup$
CVE 2 ? Cape_Verdean escudo |
CZK 2 ? Czech koruna | kč koruny korun korunas crown crowns
DJF 0 0 Djiboutian franc | fdj
DKK 2 . Danish krone | kr kroner crown crowns
DOP 2 , Dominican peso | $ rd$
DZD 2 ? Algerian dinar | da دج د.ج دينار دنانير دينارا
EGP 2 , Egyptian pound | le e£ ج.م جنيه جنيهات جنيها
ERN 2 , Eritrean nakfa | nfk
ETB 2 , Ethiopian birr | br ብር
EUR 2 ? European euro | € eiro eura euras eurot evro evra eurów евро ευρώ يورو यूरो ユーロ 유로 欧元
FJD 2 , Fijian dollar | $ fj$
FKP 2 , Falkland_Islands pound | £
GBP 2 , British pound | £ quid sterling pounds_sterling libra libras livre livres
GEL 2 ? Georgian lari | ₾ ლარი лари
GHS 2 , Ghanaian cedi | gh₵ ₵ gh¢
GIP 2 , Gibraltar pound | £
GMD 2 , Gambian dalasi | d
GNF 0 0 Guinean franc | fg
GTQ 2 , Guatemalan quetzal | q quetzales
GYD 2 0 Guyanese dollar | $ g$ gy$
HKD 2 , Hong_Kong dollar | $ hk$ 港元 港币 港幣 元
HNL 2 , Honduran lempira | l
HTG 2 ? Haitian gourde | g
HUF 2 0 Hungarian forint | ft forintot
IDR 2 0 Indonesian rupiah | rp
ILS 2 , Israeli shekel | ₪ nis new_shekel new_shekels sheqel sheqels שח ש"ח שקל שקלים شيكل
INR 2 , Indian rupee | ₹ rs ₨ रु रू रुपये रुपया रुपए रूपये ரூபாய் రూపాయలు টাকা રૂપિયા روپے روپیہ
IQD 3 ? Iraqi dinar | د.ع دينار دنانير دينارا
IRR 2 0 Iranian rial | riyal riyals ریال ريال ﷼
ISK 0 0 Icelandic króna | kr krónur krona kronur
JMD 2 , Jamaican dollar | $ j$ jm$
JOD 3 ? Jordanian dinar | jd د.أ دينار دنانير دينارا
JPY 0 0 Japanese yen | ¥ 円 えん 엔 日元
KES 2 , Kenyan shilling | ksh kshs sh shs shilingi bob
KGS 2 ? Kyrgyz som | сом сомов
KHR 2 , Cambodian riel | ៛ រៀល
KMF 0 0 Comorian franc | cf
KPW 2 0 North_Korean won | 원
KRW 0 0 South_Korean won | ₩ 원
KWD 3 ? Kuwaiti dinar | kd د.ك دينار دنانير دينارا
KYD 2 , Cayman_Islands dollar | $ ci$
KZT 2 ? Kazakhstani tenge | ₸ тенге тг теңге
LAK 2 0 Laotian kip | ₭ ກີບ
LBP 2 0 Lebanese pound | ll ل.ل lira liras ليرة ليرات
LKR 2 , Sri_Lankan rupee | rs ₨ රු රුපියල් ரூபாய்
LRD 2 , Liberian dollar | $ l$ ld$
LSL 2 , Lesotho loti | m maloti
LYD 3 ? Libyan dinar | ld د.ل دينار دنانير دينارا
MAD 2 ? Moroccan dirham | dh dhs د.م درهم دراهم درهما
MDL 2 ? Moldovan leu | lei лей леев
MGA 2 0 Malagasy ariary | ar
MKD 2 ? Macedonian denar | den ден денар денари
MMK 2 , Myanmar kyat | k ks ကျပ်
MNT 2 0 Mongolian tugrik | ₮ төгрөг
MOP 2 , Macanese pataca | mop$ 澳門元
MRU 2 ? Mauritanian ouguiya | um
MUR 2 , Mauritian rupee | rs ₨ roupie roupies
MVR 2 , Maldivian rufiyaa | rf
MWK 2 , Malawian kwacha | mk
MXN 2 , Mexican peso | $ mx$ m.n mn
MXV 2 , Mexican investment_unit | udi
MYR 2 , Malaysian ringgit | rm
MZN 2 ? Mozambican metical | mt mtn meticais
NAD 2 , Namibian dollar | $ n$
NGN 2 , Nigerian naira | ₦ n
NIO 2 , Nicaraguan córdoba | c$
NOK 2 ? Norwegian krone | kr kroner crown crowns
NPR 2 , Nepalese rupee | rs ₨ रु रू रुपैयाँ रूपैयाँ
NZD 2 , New_Zealand dollar | $ nz$
OMR 3 ? Omani rial | ro riyal riyals ر.ع ريال ريالات ﷼
PAB 2 , Panamanian balboa | b/. b/
PEN 2 , Peruvian sol | s/ s/. soles nuevos_soles
PGK 2 , Papua_New_Guinean kina | k
PHP 2 , Philippine peso | ₱ p piso
PKR 2 , Pakistani rupee | rs ₨ روپے روپیہ
PLN 2 ? Polish zloty | zł zl złoty złote złotych zlotych zlote
PYG 0 0 Paraguayan guarani | ₲ gs guaraní guaraníes
QAR 2 , Qatari riyal | qr rial rials ر.ق ريال ريالات ﷼
RON 2 . Romanian leu | lei ron.
RSD 2 0 Serbian dinar | din dinara динар динара дин
RUB 2 ? Russian ruble | ₽ руб р рубль рубля рублей rouble roubles
RWF 0 0 Rwandan franc | rf frw
SAR 2 , Saudi riyal | sr rial rials ر.س ريال ريالات ﷼ \u20c1
SBD 2 , Solomon_Islands dollar | $ si$
SCR 2 , Seychellois rupee | rs ₨ sr roupie roupies
SDG 2 , Sudanese pound | ج.س جنيه جنيهات
SEK 2 ? Swedish krona | kr kronor spänn crown crowns
SGD 2 , Singapore dollar | $ s$ sg$
SHP 2 , Saint_Helena pound | £
SLE 2 , Sierra_Leonean leone | le
SOS 2 0 Somali shilling | sh shs
SRD 2 . Surinamese dollar | $ sr$
SSP 2 , South_Sudanese pound | £
STN 2 ? São_Tomé dobra | db
SVC 2 , Salvadoran colón | ₡ ¢ colones
SYP 2 0 Syrian pound | £ ل.س lira liras ليرة ليرات
SZL 2 , Swazi lilangeni | e emalangeni
THB 2 , Thai baht | ฿ บาท
TJS 2 ? Tajik somoni | сомони
TMT 2 ? Turkmen manat | манат
TND 3 ? Tunisian dinar | dt د.ت دينار دنانير دينارا
TOP 2 , Tongan pa'anga | t$
TRY 2 . Turkish lira | ₺ tl lirası lirasi
TTD 2 , Trinidad_and_Tobago dollar | $ tt$
TWD 2 0 New_Taiwan dollar | $ nt$ nt 元 新台幣 台幣 塊
TZS 2 0 Tanzanian shilling | tsh tshs sh shs shilingi
UAH 2 ? Ukrainian hryvnia | ₴ грн гривня гривні гривень гривна гривны гривен
UGX 0 0 Ugandan shilling | ush ushs sh shs shilingi
USD 2 , US dollar | $ us$ u.s u.s$ buck bucks american_dollar american_dollars dólar dólares \
dollari dolari доллар доллара долларов دولار डॉलर ดอลลาร์ ドル 달러 美元 美金
USN 2 , US next-day_dollar |
UYI 0 0 Uruguayan indexed_unit |
UYU 2 . Uruguayan peso | $ uy$ $u
UYW 4 ? Uruguayan wage_unit |
UZS 2 0 Uzbek som | so'm soum сум сўм сумов
VED 2 . Venezuelan bolívar_digital | bs
VES 2 . Venezuelan bolívar | bs bs.s bs.f bolívares
VND 0 0 Vietnamese dong | ₫ đ đồng vnđ
VUV 0 0 Vanuatu vatu | vt
WST 2 , Samoan tala | ws$
XAD 2 , Arab_accounting dinar |
XAF 0 0 Central_African_CFA franc | fcfa cfa f
XCD 2 , East_Caribbean dollar | $ ec$
XCG 2 ? Caribbean guilder | cg guilders gulden
XOF 0 0 West_African_CFA franc | fcfa cfa f
XPF 0 0 CFP franc | fcfp f
YER 2 0 Yemeni rial | riyal riyals ر.ي ريال ريالات ﷼
ZAR 2 , South_African rand | r
ZMW 2 , Zambian kwacha | k
ZWG 2 , Zimbabwean gold | zig
"""

NO_DECIMALS = "0"
"""The thousands mark of a currency whose people write no decimals: whichever of dot and comma."""


class CurrencyFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table; `names` has every sign and word for it but its code, in lower case."""

    code: str
    exponent: int
    thousands: str
    nouns: frozenset[str]
    """Its English noun, singular and plural: "dollar", "dollars"."""
    names: frozenset[str]


def _facts_of(line: str) -> CurrencyFacts:
    head, _, words = line.partition("|")
    code, exponent, thousands, *name = (part.replace("_", " ") for part in head.split())
    noun = name[-1].lower()
    nouns = {noun, f"{noun}s"}
    full = {f"{' '.join(name[:-1])} {word}".lower() for word in nouns}
    names = nouns | full | {word.replace("_", " ") for word in words.split()}
    return CurrencyFacts(
        code=code,
        exponent=int(exponent),
        thousands=thousands,
        nouns=frozenset(nouns),
        names=frozenset(names | {without_accents(name) for name in names}),
    )


def without_accents(text: str) -> str:
    """The text without the marks above and below Latin letters: "dolares" for "dólares"."""
    parts = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(c for c in parts if not "\u0300" <= c <= "\u036f"))


_LINES = unicodedata.normalize("NFC", _TABLE).strip().split("\n")

CURRENCIES = {facts.code: facts for facts in map(_facts_of, _LINES)}
