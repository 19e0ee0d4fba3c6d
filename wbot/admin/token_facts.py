"""What an access token says of itself: its app, and the WhatsApp account of a number."""

import msgspec

from wbot.clients.whatsapp import PhoneNumberCredentials, WhatsApp
from wbot.domain import json_access
from wbot.domain.errors import WbotError
from wbot.domain.json_access import JsonObject

ACCOUNTS_MAX = 10
_SCOPES = frozenset({"whatsapp_business_management", "whatsapp_business_messaging"})


class TokenFacts(msgspec.Struct, frozen=True):
    """None for what Meta does not say to this token."""

    app_id: str | None = None
    account_id: str | None = None


async def facts_of(whatsapp: WhatsApp, credentials: PhoneNumberCredentials) -> TokenFacts:
    """Ask Meta about the token; a token that may not ask gets no facts."""
    try:
        answer = await whatsapp.look_up(
            credentials, "debug_token", input_token=credentials.access_token
        )
    except WbotError:
        return TokenFacts()
    data = json_access.mapping(answer, "data")
    accounts = [one for scope in _scopes(data) for one in json_access.items(scope, "target_ids")]
    for account in dict.fromkeys(str(one) for one in accounts[:ACCOUNTS_MAX]):
        if await _has_number(whatsapp, credentials, account):
            return TokenFacts(json_access.identifier(data, "app_id"), account)
    return TokenFacts(json_access.identifier(data, "app_id"))


def _scopes(data: JsonObject) -> list[JsonObject]:
    listed = json_access.mappings(data, "granular_scopes")
    return [one for one in listed if json_access.text(one, "scope") in _SCOPES]


async def _has_number(
    whatsapp: WhatsApp, credentials: PhoneNumberCredentials, account_id: str
) -> bool:
    try:
        answer = await whatsapp.look_up(credentials, f"{account_id}/phone_numbers", fields="id")
    except WbotError:
        return False
    numbers = [json_access.identifier(one, "id") for one in json_access.mappings(answer, "data")]
    return credentials.phone_number_id in numbers
