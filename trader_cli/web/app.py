"""The application: every path, what it answers, and nothing that writes."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from trader_cli import __version__, checkups, looks
from trader_cli.config import Loaded
from trader_cli.core.errors import BusyError, NotFoundError, TraderError, UsageError
from trader_cli.core.moments import DAY_MS, day_start
from trader_cli.schemas.question import Agent
from trader_cli.schemas.vital import Level
from trader_cli.tools import queries, reasons
from trader_cli.tools.clock import wall_now
from trader_cli.tools.ledger import Ledger
from trader_cli.views import dashboard
from trader_cli.views.html import PAGE_STYLE
from trader_cli.views.metrics import exposition
from trader_cli.views.output import as_json
from trader_cli.views.svg import STYLE
from trader_cli.views.why import why_lines
from trader_cli.web.errors import told
from trader_cli.web.guard import BROKEN
from trader_cli.web.ledgers import COST_DAYS, Looking
from trader_cli.web.openapi import answers, described
from trader_cli.web.proof import Prover

MOST_ROWS = 500
LINES = 100
"""How wide the screen of a trace is, in characters."""
SHOWN = 20
"""So many cycles stand on the first page."""
HEALTH_SECS = 2.0
"""So long an answer about health stands: it is dear, and anybody may ask."""

Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="How many rows.")]
Before = Annotated[
    int | None,
    Query(ge=1, le=2**63 - 1, description="Only rows with an id below this one: the page after one that ends with it."),
]
_DESCRIPTION = "A ledger, read-only: documents as `trader ... --json` prints them. Pages follow each other by `Link`."


def make_app(loaded: Loaded, looking: Looking, prover: Prover, docs: bool = False) -> FastAPI:
    """The paths over a ledger; `docs`: with its OpenAPI document at /openapi.json."""
    threading.Thread(target=looking.warm, name="reading", daemon=True).start()
    app = FastAPI(
        title="trader",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if docs else None,
        redirect_slashes=False,  # a redirection would name the scheme and host that a proxy hides
    )
    _api(app, looking)
    _pages(app, looking, prover)
    _for_machines(app, looking, loaded)
    _errors(app)
    made = app.openapi
    app.openapi = lambda: described(made())  # type: ignore[method-assign]  # the documented way
    return app


# --- the API ---------------------------------------------------------------------------------


def _api(app: FastAPI, looking: Looking) -> None:
    """Documents of the whole ledger, its lists page by page, and one trace."""
    for path, schema, summary, read in (
        ("status", "trader.status/1", "Where we stand.", looking.status),
        ("limits", "trader.limits/1", "The limits, and how near each is.", looking.limits),
        ("equity", "trader.equity/1", "Equity and holding, for a chart.", looking.equity),
        ("memory", "trader.memory/1", "What is believed of each policy.", looking.memory),
    ):
        _whole(app, looking, f"/api/{path}", answers(schema, 404), summary, read)
    for what, about in (
        ("cycles", "Cycles, newest first; `before` is the id of a plan."),
        ("trades", "Trades, newest first."),
        ("orders", "Orders with their newest state, newest first."),
        ("portfolio", "The book after each cycle, newest first."),
    ):
        _paged(app, looking, what, about)
    _decisions(app, looking)
    _costs(app, looking)
    _trace(app, looking)


def _whole(
    app: FastAPI, looking: Looking, path: str, responses: Any, summary: str, read: Callable[[Ledger], Mapping[str, Any]]
) -> None:
    @app.get(path, responses=responses, summary=summary, name=path.rpartition("/")[2])
    def whole(request: Request) -> Response:
        with looking.ledger() as ledger:
            return _document(request, read(ledger))


def _decisions(app: FastAPI, looking: Looking) -> None:
    @app.get("/api/decisions", responses=answers("trader.decisions/1", 404, 422), summary="Decisions, newest first.")
    def decisions(
        request: Request,
        limit: Limit = 50,
        before: Before = None,
        agent: Annotated[Literal["PLANNER", "TRADER", "JUDGE"] | None, Query(description="Whose.")] = None,
    ) -> Response:
        with looking.ledger() as ledger:
            rows = queries.page(ledger, "decisions", limit, before, None if agent is None else Agent(agent))
            return _page(request, "decisions", rows, limit)


def _costs(app: FastAPI, looking: Looking) -> None:
    @app.get("/api/costs", responses=answers("trader.costs/1", 404, 422), summary="What models cost, day by day (UTC).")
    def costs(
        request: Request, days: Annotated[int, Query(ge=1, le=COST_DAYS, description="How many days.")] = 7
    ) -> Response:
        with looking.ledger() as ledger:
            rows = looking.costs(ledger, day_start(wall_now()) + DAY_MS, days)
            return _document(request, {"schema": "trader.costs/1", "costs": rows})


def _trace(app: FastAPI, looking: Looking) -> None:
    @app.get("/api/traces/{trace_id}", responses=answers("trader.trace/1", 404, 422), summary="All rows of a cycle.")
    def trace(
        request: Request,
        trace_id: Annotated[
            str,
            Path(
                description="A trace's id, the first 4 or more of its characters, or `last`.",
                pattern="^(last|[0-9a-f]{4,32})$",
            ),
        ],
        prompts: Annotated[bool, Query(description="With prompts and raw replies.")] = False,
    ) -> Response:
        with looking.ledger() as ledger:
            return _document(request, looks.trace(ledger, queries.full_trace_id(ledger, trace_id), prompts))


def _paged(app: FastAPI, looking: Looking, what: str, about: str) -> None:
    @app.get(f"/api/{what}", responses=answers(f"trader.{what}/1", 404, 422), summary=about, name=what)
    def listed(request: Request, limit: Limit = 50, before: Before = None) -> Response:
        with looking.ledger() as ledger:
            return _page(request, what, queries.page(ledger, what, limit, before), limit)


def _page(request: Request, what: str, rows: list[queries.Row], limit: int) -> Response:
    """A page of rows, and where the next one is, if there may be one."""
    more = {}
    if len(rows) == limit:
        last = rows[-1]["plan_id" if what == "cycles" else "id"]
        following = request.url.include_query_params(before=last, limit=limit)
        more["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return _document(request, {"schema": f"trader.{what}/1", what: rows}, more)


def _document(request: Request, document: Mapping[str, Any], more: Mapping[str, str] | None = None) -> Response:
    return _tagged(request, as_json(document), "application/json", more)


def _tagged(request: Request, text: str, kind: str, more: Mapping[str, str] | None = None) -> Response:
    """A text with its ETag; 304 without it for whoever has it already (RFC 9110, section 13.1.2)."""
    body = text.encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, **(more or {})}
    known = request.headers.get("if-none-match", "")
    if known.strip() == "*" or tag in (one.strip().removeprefix("W/") for one in known.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=kind, headers=headers)


# --- the pages -------------------------------------------------------------------------------


def _pages(app: FastAPI, looking: Looking, prover: Prover) -> None:
    @app.get("/", include_in_schema=False)
    def first(request: Request) -> Response:
        try:
            with looking.ledger() as ledger:
                page = dashboard.first_page(_seen(looking, ledger, prover))
        except NotFoundError as error:
            page = dashboard.empty_page(error.message, error.hint or "")
        return _tagged(request, page, "text/html")

    @app.get("/cycles", include_in_schema=False)
    def cycles(request: Request, before: Before = None) -> Response:
        with looking.ledger() as ledger:
            rows = queries.page(ledger, "cycles", 100, before)
            mode, symbol = (ledger.identity().get(name, "") for name in ("mode", "symbol"))
        return _tagged(request, dashboard.cycles_page(rows, mode, symbol, 100), "text/html")

    @app.get("/traces/{trace_id}", include_in_schema=False)
    def trace(request: Request, trace_id: str) -> Response:
        with looking.ledger() as ledger:
            whole = looks.trace(ledger, queries.full_trace_id(ledger, trace_id), prompts=True)
            reason = looks.why(ledger, reasons.subject(ledger, whole["trace_id"]))
            lines = why_lines(reason, LINES)
        return _tagged(request, dashboard.trace_page(whole, lines), "text/html")

    _static(app, "style.css", "text/css", PAGE_STYLE + STYLE + _file("dashboard.css"))
    _static(app, "live.js", "text/javascript", _file("live.js"))


def _file(name: str) -> str:
    return resources.files("trader_cli.web").joinpath(name).read_text("utf-8")


def _static(app: FastAPI, name: str, kind: str, text: str) -> None:
    @app.get(f"/static/{name}", include_in_schema=False, name=name)
    def static(request: Request) -> Response:
        return _tagged(request, text, kind)


def _seen(looking: Looking, ledger: Ledger, prover: Prover) -> dashboard.Seen:
    """All that the first page shows."""
    now, ready = wall_now(), looking.is_warm()
    return dashboard.Seen(
        now=now,
        status=looking.status(ledger),
        ready=ready,
        marks=looking.marks(ledger) if ready else (),
        deals=looks.deals(ledger),
        cycles=queries.page(ledger, "cycles", SHOWN),
        policies=looking.memory_lately(ledger)["policies"] if ready else (),
        costs=looking.costs(ledger, day_start(now) + DAY_MS, 7),
        limits=looking.limits(ledger)["limits"] if ready else (),
        failures=list(queries.failures(ledger, 10)),
        proved=prover.of(looking.whose(ledger)),
        proves=prover.every_secs > 0,
    )


# --- for machines ----------------------------------------------------------------------------


def _for_machines(app: FastAPI, looking: Looking, loaded: Loaded) -> None:
    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        with looking.ledger() as ledger:
            return Response(exposition(looks.metrics(looking.settings, ledger)), media_type="text/plain; version=0.0.4")

    asking, kept = threading.Lock(), [(-HEALTH_SECS, False)]

    @app.get("/healthz", include_in_schema=False)
    def healthz() -> Response:
        with asking:
            if time.monotonic() - kept[0][0] >= HEALTH_SECS:
                patient = checkups.Patient(loaded, None, exposed=False, now=wall_now())
                found = checkups.vital(checkups.SEEN, patient)
                kept[0] = time.monotonic(), all(one.level is not Level.FAIL for one in found)
        well = kept[0][1]
        return JSONResponse({"status": "ok" if well else "fail"}, 200 if well else 503)


def _errors(app: FastAPI) -> None:
    def said(request: Request, status: int, words: str, hint: str | None = None) -> Response:
        body, kind = told(request.url.path, status, words, hint)
        return Response(body, status, media_type=kind)

    @app.exception_handler(TraderError)
    async def known(request: Request, error: TraderError) -> Response:
        status = 404 if isinstance(error, NotFoundError) else 422 if isinstance(error, UsageError) else 503
        answer = said(request, status, error.message, error.hint)
        if isinstance(error, BusyError):
            answer.headers["Retry-After"] = "1"
        return answer

    @app.exception_handler(RequestValidationError)
    async def unfit(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return said(request, 422, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}"[:300])

    @app.exception_handler(HTTPException)
    async def missing(request: Request, error: HTTPException) -> Response:
        return said(request, error.status_code, "there is no such page", "See: /")

    @app.exception_handler(Exception)
    async def broke(request: Request, _error: Exception) -> Response:  # the guard hears of it, too
        return said(request, 500, BROKEN)
