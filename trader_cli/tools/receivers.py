"""Who hears the news: a webhook, and the services behind apprise's addresses. Each says what went wrong, or None.

No address is ever in what they say, for it may hold a secret.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from typing import Any

from trader_cli.core.errors import ConfigError
from trader_cli.schemas.news import News

TIMEOUT_SECS = 5.0

_BETWEEN = re.compile(r"[,\s]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")
"""What stands between two addresses: a comma may be part of one."""

Receiver = Callable[[News, str, dict[str, str]], str | None]
"""Takes news, its words and what it is about; returns what went wrong."""


def webhook(url: str) -> Receiver:
    """One POST a piece of news: JSON that chats understand (`text` for Slack, `content` for Discord)."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import HTTPRedirectHandler, Request, build_opener  # most runs tell nobody

    class NoRedirect(HTTPRedirectHandler):
        def redirect_request(self, *args: Any) -> None:
            del args

    opener = build_opener(NoRedirect)

    def post(news: News, said: str, about: dict[str, str]) -> str | None:
        document = {"schema": "trader.news/1", "kind": news.kind, "trace_id": news.trace_id, **about}
        request = Request(  # noqa: S310 - the setting takes http(s) only
            url,
            json.dumps({**document, "text": said, "content": said}).encode("ascii"),
            {"Content-Type": "application/json", "User-Agent": "trader"},
            method="POST",
        )
        try:
            with opener.open(request, timeout=TIMEOUT_SECS) as answer:
                answer.read(1000)
        except HTTPError as error:
            error.close()
            return f"status {error.code}"
        except (OSError, HTTPException, ValueError) as error:
            return type(error).__name__
        return None

    return post


def services(addresses: str) -> dict[str, Receiver]:
    """What apprise knows to reach, by addresses with commas or blanks between them. Raises ConfigError.

    By a name that can be told.
    """
    try:
        import apprise
    except ImportError:
        raise ConfigError(
            "NOTIFY_URLS needs the package apprise, which is not installed",
            'Install it: pip install "trader-cli[notify]". WEBHOOK_URL needs nothing.',
        ) from None
    told = logging.getLogger("apprise")  # it repeats tokens that it does not like
    told.setLevel(logging.CRITICAL + 1)
    told.propagate = False
    asset = apprise.AppriseAsset(app_id="trader", async_mode=False, secure_logging=True)
    reached: dict[str, Receiver] = {}
    for number, address in enumerate(_BETWEEN.split(addresses.strip(", \t\r\n")), 1):
        service = apprise.Apprise.instantiate(address, asset=asset)
        if service is None:
            raise ConfigError(
                f"NOTIFY_URLS: address {number} is none that apprise understands", "See its list of services."
            )
        service.socket_connect_timeout = service.socket_read_timeout = TIMEOUT_SECS
        service.redirects = False
        reached[f"NOTIFY_URLS {number} ({service.service_name})"] = _notifying(service)
    return reached


def _notifying(service: Any) -> Receiver:
    def notify(news: News, said: str, about: dict[str, str]) -> str | None:
        del news, about
        title, _, body = said.partition(": ")
        return None if service.notify(body=body, title=title) else "it was not delivered"

    return notify
