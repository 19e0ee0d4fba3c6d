"""The Graph API's other objects: phone numbers, accounts with their subscriptions, media."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web

from wbot.clock import Clock
from wbot.ingress.bodies import check_headers, read_body
from wbot.simulator.faults.plan import Endpoint, Faults
from wbot.simulator.faults.server import FaultInjector
from wbot.simulator.graph.endpoints import VERSION, check_bearer, refusal
from wbot.simulator.graph.media import BODY_BYTES_MAX, FILE_MAX_BYTES, MediaFile, MediaStore
from wbot.simulator.graph.refusals import bad_parameter, no_such_business, no_such_object
from wbot.simulator.people import SimulatedBusiness

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

APP_ID, APP_NAME = "1015550100000", "wbot"
UPLOAD_TYPES = frozenset(
    {
        "audio/aac",
        "audio/amr",
        "audio/mpeg",
        "audio/mp4",
        "audio/ogg",
        "image/jpeg",
        "image/png",
        "image/webp",
        "video/mp4",
        "video/3gpp",
        "text/plain",
        "application/pdf",
        "application/msword",
        "application/vnd.ms-excel",
        "application/vnd.ms-powerpoint",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    }
)


class Lookups:
    """The objects that a call may read, and the files that it may download."""

    def __init__(
        self,
        *,
        clock: Clock,
        access_token: str,
        businesses: Sequence[SimulatedBusiness],
        media: MediaStore,
        faults: Faults,
        fault_injector: FaultInjector,
        webhook_url: Callable[[], str | None],
    ) -> None:
        self._clock = clock
        self._access_token = access_token
        self._businesses = tuple(businesses)
        self._media = media
        self._faults = faults
        self._fault_injector = fault_injector
        self._webhook_url = webhook_url
        self._subscribed = {one.waba_id for one in businesses if one.subscribed}

    def routes(self) -> list[web.RouteDef]:
        lookup, media = Endpoint.LOOKUP, Endpoint.MEDIA
        apps = VERSION + "/{id}/subscribed_apps"
        return [
            web.get(apps, self._guarded(lookup, self._list_apps)),
            web.post(apps, self._guarded(lookup, self._subscribe)),
            web.delete(apps, self._guarded(lookup, self._unsubscribe)),
            web.get(VERSION + "/{id:debug_token}", self._guarded(lookup, self._describe_token)),
            web.get(VERSION + "/{id}/phone_numbers", self._guarded(lookup, self._list_numbers)),
            web.post(VERSION + "/{id}/media", self._guarded(media, self._upload)),
            web.get("/lookaside/{id}", self._guarded(media, self._download)),
            web.get(VERSION + "/{id}", self._get),
            web.delete(VERSION + "/{id}", self._guarded(media, self._delete)),
        ]

    def is_subscribed(self, waba_id: str) -> bool:
        """Whether webhooks of this account are sent to the app."""
        return waba_id in self._subscribed

    def has_media(self, media_id: str, phone_number_id: str) -> bool:
        """Whether this number may send this file."""
        file = self._media.get(media_id)
        return file is not None and file.phone_number_id == phone_number_id

    def _guarded(self, endpoint: Endpoint, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            async def act() -> web.StreamResponse:
                check_bearer(request, self._access_token)
                return await handler(request)

            fault = self._faults.next_fault(endpoint, request.match_info["id"])
            return await self._fault_injector.answer(request, fault, act=act, refuse=refusal)

        return guarded

    async def _get(self, request: web.Request) -> web.StreamResponse:
        is_media = self._media.get(request.match_info["id"]) is not None
        endpoint = Endpoint.MEDIA if is_media else Endpoint.LOOKUP
        handler = self._resolve if is_media else self._describe
        return await self._guarded(endpoint, handler)(request)

    async def _describe(self, request: web.Request) -> web.Response:
        business = self._number(request.match_info["id"])
        if business is not None:
            return web.json_response(_chosen(request, self._number_fields(business)))
        account = self._account(request.match_info["id"])
        return web.json_response({"id": account.waba_id, "name": account.name})

    async def _describe_token(self, _: web.Request) -> web.Response:
        accounts = list(dict.fromkeys(one.waba_id for one in self._businesses))
        scope = {"scope": "whatsapp_business_management", "target_ids": accounts}
        return web.json_response({"data": {"app_id": APP_ID, "granular_scopes": [scope]}})

    async def _list_numbers(self, request: web.Request) -> web.Response:
        waba_id = self._account(request.match_info["id"]).waba_id
        numbers = [one for one in self._businesses if one.waba_id == waba_id]
        listed = [_chosen(request, self._number_fields(one)) for one in numbers]
        return web.json_response({"data": listed})

    async def _list_apps(self, request: web.Request) -> web.Response:
        waba_id = self._account(request.match_info["id"]).waba_id
        link = f"https://www.facebook.com/games/?app_id={APP_ID}"
        app = {"whatsapp_business_api_data": {"id": APP_ID, "link": link, "name": APP_NAME}}
        return web.json_response({"data": [app] if waba_id in self._subscribed else []})

    async def _subscribe(self, request: web.Request) -> web.Response:
        if await read_body(request, BODY_BYTES_MAX) not in {b"", b"{}"}:
            raise bad_parameter("Override callbacks are not simulated")
        self._subscribed.add(self._account(request.match_info["id"]).waba_id)
        return web.json_response({"success": True})

    async def _unsubscribe(self, request: web.Request) -> web.Response:
        self._subscribed.discard(self._account(request.match_info["id"]).waba_id)
        return web.json_response({"success": True})

    async def _resolve(self, request: web.Request) -> web.Response:
        file = self._file(request)
        wanted = request.query.get("phone_number_id", file.phone_number_id)
        if wanted != file.phone_number_id:
            raise no_such_object()
        url = self.download_url(file, base_url=str(request.url.origin()))
        body = {
            "messaging_product": "whatsapp",
            "url": url,
            "mime_type": file.mime_type,
            "sha256": file.sha256.hex(),
            "file_size": len(file.data),
            "id": file.id,
        }
        return web.json_response(body)

    def download_url(self, file: MediaFile, *, base_url: str) -> str:
        """A URL that works for five minutes, with the bearer."""
        return f"{base_url}/lookaside/{self._media.ticket_for(file, now=self._clock.now())}"

    async def _download(self, request: web.Request) -> web.Response:
        file = self._media.by_ticket(request.match_info["id"], now=self._clock.now())
        if file is None:
            raise web.HTTPNotFound
        return web.Response(body=file.data, headers={"Content-Type": file.mime_type})

    async def _delete(self, request: web.Request) -> web.Response:
        if not self._media.delete(request.match_info["id"]):
            raise no_such_object()
        return web.json_response({"success": True})

    async def _upload(self, request: web.Request) -> web.Response:
        business = self._number(request.match_info["id"])
        if business is None:
            raise no_such_business()
        check_headers(request, BODY_BYTES_MAX)
        form = await request.post()
        if form.get("messaging_product") != "whatsapp":
            raise bad_parameter("The parameter messaging_product is required.")
        upload = form.get("file")
        if not isinstance(upload, web.FileField):
            raise bad_parameter("The parameter file is required.")
        mime_type = str(form.get("type") or upload.content_type)
        if mime_type.partition(";")[0] not in UPLOAD_TYPES:
            raise bad_parameter(f"Param file cannot be of type {mime_type}")
        data = upload.file.read(FILE_MAX_BYTES + 1)
        if len(data) > FILE_MAX_BYTES:
            raise bad_parameter(f"Param file must be at most {FILE_MAX_BYTES} bytes")
        file = self._media.put(data, mime_type=mime_type, phone_number_id=business.phone_number_id)
        return web.json_response({"id": file.id})

    def _file(self, request: web.Request) -> MediaFile:
        file = self._media.get(request.match_info["id"])
        if file is None:
            raise no_such_object()
        return file

    def _number(self, phone_number_id: str) -> SimulatedBusiness | None:
        found = (one for one in self._businesses if one.phone_number_id == phone_number_id)
        return next(found, None)

    def _account(self, waba_id: str) -> SimulatedBusiness:
        """Any business of this account."""
        for business in self._businesses:
            if business.waba_id == waba_id:
                return business
        raise no_such_object()

    def _number_fields(self, business: SimulatedBusiness) -> dict[str, Any]:
        return {
            "verified_name": business.name,
            "code_verification_status": "VERIFIED",
            "display_phone_number": business.display_phone_number,
            "quality_rating": "GREEN",
            "platform_type": "CLOUD_API",
            "throughput": {"level": "STANDARD"},
            "webhook_configuration": {"application": self._webhook_url() or ""},
            "status": "CONNECTED",
            "name_status": "APPROVED",
            "id": business.phone_number_id,
        }


def _chosen(request: web.Request, fields: dict[str, Any]) -> dict[str, Any]:
    """The requested `fields`, always with the id; all of them if `fields` is not given."""
    names = [name.strip() for name in request.query.get("fields", "").split(",") if name.strip()]
    for name in names:
        if name not in fields:
            raise bad_parameter(f"Tried accessing nonexisting field ({name})")
    return {name: fields[name] for name in dict.fromkeys([*(names or fields), "id"])}
