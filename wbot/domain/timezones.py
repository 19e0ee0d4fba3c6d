"""The time zone of a business: the one it names, else that of its number's country."""

from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from wbot.domain.errors import MalformedError

UTC = "UTC"

# Calling codes of the countries in which all clocks show the same time (tzdata's zone.tab; ITU-T
# E.164). Where a country or a code has several times, such as 1, 7, 34, 52, 55 and 61, it is UTC.
_CODES = """
20=Africa/Cairo 211=Africa/Juba 212=Africa/Casablanca 213=Africa/Algiers 216=Africa/Tunis
218=Africa/Tripoli 220=Africa/Banjul 221=Africa/Dakar 222=Africa/Nouakchott 223=Africa/Bamako
224=Africa/Conakry 225=Africa/Abidjan 226=Africa/Ouagadougou 227=Africa/Niamey 228=Africa/Lome
229=Africa/Porto-Novo 230=Indian/Mauritius 231=Africa/Monrovia 232=Africa/Freetown
233=Africa/Accra 234=Africa/Lagos 235=Africa/Ndjamena 236=Africa/Bangui 237=Africa/Douala
238=Atlantic/Cape_Verde 239=Africa/Sao_Tome 240=Africa/Malabo 241=Africa/Libreville
242=Africa/Brazzaville 244=Africa/Luanda 245=Africa/Bissau 248=Indian/Mahe 249=Africa/Khartoum
250=Africa/Kigali 251=Africa/Addis_Ababa 252=Africa/Mogadishu 253=Africa/Djibouti
254=Africa/Nairobi 255=Africa/Dar_es_Salaam 256=Africa/Kampala 257=Africa/Bujumbura
258=Africa/Maputo 260=Africa/Lusaka 261=Indian/Antananarivo 263=Africa/Harare
264=Africa/Windhoek 265=Africa/Blantyre 266=Africa/Maseru 267=Africa/Gaborone
268=Africa/Mbabane 269=Indian/Comoro 27=Africa/Johannesburg 291=Africa/Asmara
297=America/Aruba 298=Atlantic/Faroe 30=Europe/Athens 31=Europe/Amsterdam 32=Europe/Brussels
33=Europe/Paris 350=Europe/Gibraltar 352=Europe/Luxembourg 353=Europe/Dublin
354=Atlantic/Reykjavik 355=Europe/Tirane 356=Europe/Malta 357=Asia/Nicosia 358=Europe/Helsinki
359=Europe/Sofia 36=Europe/Budapest 370=Europe/Vilnius 371=Europe/Riga 372=Europe/Tallinn
373=Europe/Chisinau 374=Asia/Yerevan 375=Europe/Minsk 376=Europe/Andorra 377=Europe/Monaco
378=Europe/San_Marino 380=Europe/Kyiv 381=Europe/Belgrade 382=Europe/Podgorica
383=Europe/Belgrade 385=Europe/Zagreb 386=Europe/Ljubljana 387=Europe/Sarajevo
389=Europe/Skopje 39=Europe/Rome 40=Europe/Bucharest 41=Europe/Zurich 420=Europe/Prague
421=Europe/Bratislava 423=Europe/Vaduz 43=Europe/Vienna 44=Europe/London 45=Europe/Copenhagen
46=Europe/Stockholm 47=Europe/Oslo 48=Europe/Warsaw 49=Europe/Berlin 501=America/Belize
502=America/Guatemala 503=America/El_Salvador 504=America/Tegucigalpa 505=America/Managua
506=America/Costa_Rica 507=America/Panama 509=America/Port-au-Prince 51=America/Lima
53=America/Havana 54=America/Argentina/Buenos_Aires 57=America/Bogota 58=America/Caracas
591=America/La_Paz 592=America/Guyana 595=America/Asuncion 597=America/Paramaribo
598=America/Montevideo 60=Asia/Kuala_Lumpur 63=Asia/Manila 65=Asia/Singapore 66=Asia/Bangkok
670=Asia/Dili 673=Asia/Brunei 674=Pacific/Nauru 676=Pacific/Tongatapu 677=Pacific/Guadalcanal
678=Pacific/Efate 679=Pacific/Fiji 680=Pacific/Palau 682=Pacific/Rarotonga 685=Pacific/Apia
687=Pacific/Noumea 688=Pacific/Funafuti 81=Asia/Tokyo 82=Asia/Seoul 84=Asia/Ho_Chi_Minh
850=Asia/Pyongyang 852=Asia/Hong_Kong 853=Asia/Macau 855=Asia/Phnom_Penh 856=Asia/Vientiane
86=Asia/Shanghai 880=Asia/Dhaka 886=Asia/Taipei 90=Europe/Istanbul 91=Asia/Kolkata
92=Asia/Karachi 93=Asia/Kabul 94=Asia/Colombo 95=Asia/Yangon 960=Indian/Maldives
961=Asia/Beirut 962=Asia/Amman 963=Asia/Damascus 964=Asia/Baghdad 965=Asia/Kuwait
966=Asia/Riyadh 967=Asia/Aden 968=Asia/Muscat 970=Asia/Hebron 971=Asia/Dubai
972=Asia/Jerusalem 973=Asia/Bahrain 974=Asia/Qatar 975=Asia/Thimphu 977=Asia/Kathmandu
98=Asia/Tehran 992=Asia/Dushanbe 993=Asia/Ashgabat 994=Asia/Baku 995=Asia/Tbilisi
996=Asia/Bishkek 998=Asia/Tashkent
"""
_BY_CODE = dict(pair.split("=") for pair in _CODES.split())


def zone_of_number(number: str | None) -> str:
    """The zone of a number's country, by its digits; UTC without a number or with several zones."""
    digits = number or ""
    codes = (digits[:length] for length in (3, 2))
    return next((_BY_CODE[code] for code in codes if code in _BY_CODE), UTC)


def checked_zone(name: str) -> str:
    """The IANA name of a zone, as it is spelled; raises MalformedError for any other text."""
    found = _spellings().get(name.strip().casefold())
    if found is None:
        raise MalformedError(
            f"{name[:40]!r} is not a time zone; write an IANA name such as Europe/London, "
            "Asia/Kolkata or UTC."
        )
    return found


def zone(name: str) -> ZoneInfo:
    """The zone of this name."""
    return ZoneInfo(name)


@cache
def _spellings() -> dict[str, str]:
    return {name.casefold(): name for name in available_timezones()}
