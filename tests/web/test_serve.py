"""trader serve: every path answers what it says, to whom it may, and nothing can be changed from there."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.commands.test_schemas import PINNED, SCHEMAS
from tests.conftest import ROOT, Trader
from tests.ledgers import grow, ledger_at, plain, rows, sha256
from tests.tools.test_migrations import with_steps
from tests.web.conftest import ENV, Served, served
from trader_cli.tools import migrations
from trader_cli.tools.clock import wall_now
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.sql import read_only
from trader_cli.web.proof import Prover
from trader_cli.web.server import MOST_AT_ONCE

PATHS = (
    *("/", "/cycles", "/traces/last", "/static/style.css", "/static/live.js", "/healthz", "/metrics", "/openapi.json"),
    *("/api/status", "/api/limits", "/api/cycles", "/api/trades", "/api/orders", "/api/portfolio", "/api/decisions"),
    *("/api/equity", "/api/memory", "/api/costs", "/api/traces/last"),
)
DOCUMENTS = [path for path in PATHS if path.startswith("/api/")]


# ---------------------------------------------------------------- what is answered


@pytest.mark.parametrize("steps", range(1, len(migrations.STEPS)))
def test_a_ledger_of_an_older_program_is_shown_as_it_is(steps: int, tmp_path: Path) -> None:
    with with_steps(steps):
        grow(tmp_path / "a.db", 6)
    with served(tmp_path, "--db", "a.db", "--docs", **PINNED) as site:
        for path in PATHS:
            came = site.ask(path)
            assert came.status == 200, (path, came.text)


@pytest.mark.parametrize("path", PATHS)
def test_every_path_answers_and_lets_nobody_frame_sniff_or_store_it(path: str, site: Served) -> None:
    came = site.ask(path)
    assert came.status == 200, came.text
    policy = came.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert came.headers["x-content-type-options"] == "nosniff"
    assert came.headers["x-frame-options"] == "DENY"
    assert came.headers["cache-control"] == "no-cache, private"
    assert not {"server", "access-control-allow-origin", "set-cookie"} & came.headers.keys()


@pytest.mark.parametrize("path", DOCUMENTS)
def test_every_document_keeps_the_schema_it_names(path: str, site: Served) -> None:
    document = site.ask(path).document
    assert next(iter(document)) == "schema"
    schema = SCHEMAS[f"{document['schema'].replace('/', '.')}.json"]
    assert [one.message for one in Draft202012Validator(schema).iter_errors(document)] == []
    assert any(document[key] for key in document if key != "schema") or path == "/api/costs"


def test_the_documents_are_those_of_the_commands(site: Served, folder: Path, trader: Trader) -> None:
    db = str(folder / "data" / "agent.db")
    for path, words in (
        ("/api/cycles?limit=20", ["ledger", "show"]),
        ("/api/memory", ["memory", "show"]),
        ("/api/traces/last", ["ledger", "trace", "last"]),
    ):
        assert site.ask(path).document == json.loads(trader(*words, "--json", "--db", db, env=PINNED).stdout)


@pytest.mark.parametrize("what", ["cycles", "decisions", "trades", "orders", "portfolio"])
def test_pages_follow_each_other_to_the_end_without_a_gap(what: str, site: Served, folder: Path) -> None:
    seen: list[int] = []
    path: str | None = f"/api/{what}?limit=7"
    while path is not None:
        came = site.ask(path)
        seen += [row["plan_id" if what == "cycles" else "id"] for row in came.document[what]]
        link = re.fullmatch(r'<(.+)>; rel="next"', came.headers.get("link", ""))
        path = link[1] if link else None
    table = {"cycles": "decisions WHERE agent = 'PLANNER'"}.get(what, what)
    sql = f"SELECT id FROM {table} ORDER BY id DESC"
    assert seen == [row_id for (row_id,) in rows(folder / "data" / "agent.db", sql)]


def test_what_somebody_has_is_not_sent_again(site: Served) -> None:
    for path in ("/api/cycles", "/api/equity", "/cycles", "/static/style.css"):
        first = site.ask(path)
        tag = first.headers["etag"]
        for known in (tag, f'W/{tag}, "x"', "*"):
            again = site.ask(path, headers={"If-None-Match": known})
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
        assert site.ask(path, headers={"If-None-Match": '"other"'}).status == 200


def test_head_says_what_get_would_without_a_body(site: Served) -> None:
    for path in ("/", "/api/cycles", "/nope"):
        got, head = site.ask(path), site.ask(path, "HEAD")
        assert (head.status, head.body) == (got.status, b"")
        if path == "/api/cycles":
            assert head.headers["content-length"] == str(len(got.body))


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nope", 404),
        ("/api/traces/beef", 404),
        ("/api/traces/be", 422),
        ("/api/cycles?limit=0", 422),
        ("/api/cycles?limit=501", 422),
        ("/api/cycles?before=x", 422),
        (f"/api/trades?before={2**64}", 422),
        ("/api/decisions?agent=NOBODY", 422),
        ("/api/costs?days=99", 422),
        ("/traces/%2e%2e%2f%2e%2e%2fetc%2fpasswd", 404),
        ("/traces/%3Cscript%3Ealert(1)%3C%2Fscript%3E", 404),
        ("/static/../app.py", 404),
    ],
)
def test_what_cannot_be_is_refused_in_words(path: str, status: int, site: Served) -> None:
    came = site.ask(path)
    assert came.status == status
    if path.startswith("/traces/"):
        assert came.headers["content-type"].startswith("text/html")
        assert "<h2>" in came.text
    else:
        assert Draft202012Validator(SCHEMAS["trader.error.1.json"]).is_valid(came.document)


def test_every_link_of_a_page_leads_somewhere(site: Served) -> None:
    for path in ("/", "/cycles", "/traces/last"):
        text = site.ask(path).text
        for target in set(re.findall(r'(?:href|src)="([^"#]+)"', text)):
            if not target.startswith("data:"):
                assert target.startswith("/"), f"{target} is somewhere else"
                assert site.ask(target.replace("&amp;", "&")).status == 200, target


# ---------------------------------------------------------------- who may ask


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW", "get"])
def test_nothing_but_reading(method: str, site: Served) -> None:
    for path in ("/", "/api/status", "/healthz"):
        assert site.ask(path, method).status in (400, 405)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:80",
        "127.0.0.1:x",
        "",
        "[::1",
        "169.254.1.1",
        "a,b",
        "[localhost",
        "[127.0.0.1]",
        "::1",
        "10.0.0.1",
    ],
)
def test_a_name_that_points_here_from_elsewhere_is_refused(host: str, site: Served) -> None:
    assert site.ask("/api/status", headers={"Host": host}).status in (400, 421)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "LOCALHOST:8000", "[::1]:8000", "[::1]", "127.0.0.2", "127.0.0.1:", "[0:0::1]"]
)
def test_names_of_this_machine_are_ours(host: str, site: Served) -> None:
    assert site.ask("/api/status", headers={"Host": host}).status == 200


def test_a_request_with_two_names_or_none_is_refused(site: Served) -> None:
    for head in ("Host: 127.0.0.1\r\nHost: evil.example\r\n", ""):
        with socket.create_connection(("127.0.0.1", site.port), 10) as line:
            line.sendall(f"GET /api/status HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode())
            assert line.recv(20)[9:12] in (b"400", b"421")


def test_a_name_that_could_never_match_is_refused_at_once(trader: Trader, tmp_path: Path) -> None:
    for words in ("trader.example:8443", "", "a b", "http://x"):
        done = trader("serve", "--port", "0", "--allow-host", words)
        assert done.code == 2, words
        assert "without a port" in done.stderr
    ledger_at(tmp_path / "a.db", 1)
    with served(
        tmp_path, "--db", "a.db", "--allow-host", "FD00:0::2", "--allow-host", "Dot.Example.", **PINNED
    ) as site:
        for host in ("[fd00::2]:80", "dot.example", "DOT.example.:80"):
            assert site.ask("/api/status", headers={"Host": host}).status == 200, host
        assert "--allow-host" in site.ask("/api/status", headers={"Host": "evil.example"}).document["error"]["hint"]


def test_everywhere_is_any_address_and_no_name_and_says_what_others_can_read(tmp_path: Path) -> None:
    ledger_at(tmp_path / "a.db", 1)
    (tmp_path / "token").write_text("canaryToken-0123456789abcdef", encoding="utf-8")
    (tmp_path / "token").chmod(0o644)
    words = ("--db", "a.db", "--host", "0.0.0.0", "--token-file", "token")  # noqa: S104 - with a token
    with served(tmp_path, *words, **PINNED) as site:
        known = {"Authorization": "Bearer canaryToken-0123456789abcdef"}
        for host, status in (("192.168.7.7:8000", 200), ("[fd00::9]", 200), ("evil.example", 421)):
            assert site.ask("/api/status", headers={**known, "Host": host}).status == status, host
    said = "".join(site.said)
    for words_said in ("chmod 600", "Not encrypted", "--allow-host"):
        assert words_said in said


def test_beyond_loopback_nothing_is_served_without_a_token(trader: Trader, tmp_path: Path) -> None:
    done = trader("serve", "--host", "0.0.0.0", "--port", "0")  # noqa: S104 - refused
    assert done.code == 2
    assert "--token-file" in done.stderr
    for words in ("short", "two words that are long enough", "", "ü" * 40):
        (tmp_path / "token").write_text(words, encoding="utf-8")
        assert trader("serve", "--port", "0", "--token-file", "token").code == 2, words
    assert trader("serve", "--token-file", "nothing").code == 3
    assert trader("serve", "--host", "999.1.1.1").code == 2


def test_with_a_token_only_who_knows_it(folder: Path, tmp_path: Path) -> None:
    token = "canaryToken-0123456789abcdef"
    (tmp_path / "token").write_text(token + "\n", encoding="utf-8")
    (tmp_path / "token").chmod(0o600)
    words = ("--token-file", str(tmp_path / "token"), "--allow-host", "trader.example")
    with served(folder, *words, **PINNED) as site:
        refused = site.ask("/")
        assert refused.status == 401
        assert refused.headers["www-authenticate"].startswith("Basic ")
        basic = base64.b64encode(f"me:{token}".encode()).decode()
        for value in (f"Bearer {token}", f"bearer  {token}", f"Basic {basic}"):
            for path in PATHS:
                if path != "/openapi.json":
                    assert site.ask(path, headers={"Authorization": value}).status == 200, path
        wrong = base64.b64encode(b"me:canaryToken").decode()
        for value in ("Bearer x", f"Bearer {token}x", "Basic %%%", f"Basic {wrong}", f"Digest {token}", "", token):
            for path in PATHS:
                if path != "/healthz":
                    assert site.ask(path, headers={"Authorization": value}).status == 401, (value, path)
        assert site.ask("/healthz").status == 200
        known = {"Authorization": f"Bearer {token}"}
        assert site.ask("/", headers={**known, "Host": "trader.example:8443"}).status == 200
        assert site.ask("/", headers={**known, "Host": "evil.example"}).status == 421
        assert token not in site.ask("/", headers=known).text + "".join(site.said)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "GE T", "\x7f"]) | st.text("ABCDEFGHIJ", min_size=1, max_size=9),
    path=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60).map(lambda words: f"/{words}"),
    name=st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12),
    value=st.binary(max_size=60).map(lambda octets: octets.replace(b"\r", b" ").replace(b"\n", b" ")),
)
def test_whatever_is_asked_is_answered_and_breaks_nothing(
    method: str, path: str, name: str, value: bytes, site: Served
) -> None:
    with socket.create_connection(("127.0.0.1", site.port), 10) as line:
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{name}: ".encode() + value
        line.sendall(head + b"\r\n\r\n")
        status = int(line.recv(20)[9:12])
    assert status in (200, 304, 400, 404, 405, 421, 422), (method, path, status)
    assert not site.said


def test_the_api_is_as_it_describes_itself(site: Served) -> None:
    schema = schemathesis.openapi.from_dict(site.ask("/openapi.json").document)
    schema.config.update(base_url=site.url)
    paths = set()
    for found in schema.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]  # a broken path breaks the test
        paths.add(operation.path)

        @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def keeps(case: Any) -> None:
            case.call_and_validate()

        keeps()
    assert paths == {re.sub("last$", "{trace_id}", path) for path in DOCUMENTS}


# ---------------------------------------------------------------- read-only


def test_a_served_connection_refuses_everything_that_writes_attaches_or_makes_a_file(tmp_path: Path) -> None:
    db = ledger_at(tmp_path / "a.db", 2)
    before = sha256(db)
    ledger = Ledger.open_reader(db, wall_now)
    read_only(ledger.db)
    for sql in (
        f"ATTACH '{tmp_path}/other.db' AS other",
        "INSERT INTO meta (key, value) VALUES ('x', 'y')",
        "UPDATE portfolio SET equity_usdt = '1'",
        "DELETE FROM events",
        "CREATE TABLE t (x)",
        "CREATE TEMP TABLE t (x)",
        "DROP TABLE meta",
        f"VACUUM INTO '{tmp_path}/copy.db'",
        "PRAGMA user_version = 99",
        "PRAGMA writable_schema = ON",
        "PRAGMA query_only = OFF",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "SELECT load_extension('x')",
        "REINDEX",
        "ANALYZE",
    ):
        with pytest.raises(sqlite3.DatabaseError):
            ledger.db.execute(sql).fetchall()
    with ledger.steady():
        assert ledger.db.execute("SELECT count(*) FROM portfolio").fetchone() == (2,)
    ledger.close()
    assert sha256(db) == before
    assert {path.name for path in tmp_path.iterdir()} <= {"a.db", "a.db-wal", "a.db-shm"}


def test_all_of_it_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    db = ledger_at(tmp_path / "a.db")
    before = sha256(db)
    with served(tmp_path, "--db", "a.db", **PINNED) as site:
        for path in PATHS:
            site.ask(path)
    assert sha256(db) == before
    assert {path.name for path in tmp_path.iterdir()} <= {"a.db", "a.db-wal", "a.db-shm"}


# ---------------------------------------------------------------- ledgers of every kind


def test_before_there_is_a_ledger_it_waits_for_one_and_then_shows_it(tmp_path: Path) -> None:
    with served(tmp_path, "--db", "a.db", **PINNED) as site:
        page = site.ask("/")
        assert page.status == 200
        assert "no ledger at" in page.text
        assert site.ask("/api/status").status == 404
        grow(tmp_path / "a.db", 2)
        assert site.ask("/api/status").document["cycles"] == 2
        assert "cycles" in site.ask("/").text


def test_a_ledger_without_a_cycle_and_a_damaged_one(tmp_path: Path, trader: Trader) -> None:
    assert trader("stop", "--db", "a.db").code == 0
    assert trader("snapshot", "--db", "a.db").code == 0
    with served(tmp_path, "--db", "a.db") as site:
        page = site.ask("/").text
        assert "STOPPED" in page
        assert "No cycles yet" in page
        for path in DOCUMENTS:
            assert site.ask(path).status == (404 if path.endswith("last") else 200), path
        (tmp_path / "a.db").write_bytes(b"junk" * 2_000)
        for name in ("a.db-wal", "a.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        assert site.ask("/").status == 503
        assert site.ask("/api/status").status == 503
        assert site.ask("/healthz").status == 503


def test_hostile_words_reach_a_page_as_words(tmp_path: Path) -> None:
    db = ledger_at(tmp_path / "a.db")
    words = """</td><script>alert(1)</script><img src=x onerror=alert(1)>"'&\\u202e\x1b[2J"""
    with plain(db) as raw:
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        raw.execute(
            "UPDATE decisions SET payload_json = json_set(payload_json, '$.hypothesis', ?) WHERE agent = 'TRADER'",
            (words,),
        )
        raw.execute("UPDATE decisions SET cause = ? WHERE cause IS NOT NULL", (words,))
        raw.execute("UPDATE model_calls SET reply = ?, model = ?", (words, words))
        raw.execute("UPDATE events SET data_json = json_object('reason', ?) WHERE kind = 'NOT_SENT'", (words,))
        raw.commit()
    with served(tmp_path, "--db", "a.db", **PINNED) as site:
        for path in ("/", "/cycles", "/traces/last"):
            page = site.ask(path)
            assert page.status == 200, page.text
            assert "<script>alert" not in page.text
            assert "<img" not in page.text
            assert "\x1b" not in page.text
            assert page.text.count("<script") == 1
        assert "&lt;script&gt;alert(1)" in site.ask("/").text


def test_a_loop_that_writes_meanwhile_is_followed(tmp_path: Path) -> None:
    db = ledger_at(tmp_path / "a.db", 5)
    words = [
        sys.executable,
        "-m",
        "trader_cli.main",
        "loop",
        "--cycles",
        "150",
        "--speed",
        "fast",
        "-q",
        "--db",
        "a.db",
    ]
    with served(tmp_path, "--db", "a.db", **PINNED) as site:
        with subprocess.Popen(words, cwd=tmp_path, env={**ENV, **PINNED}) as running:
            counts = []
            deadline = time.monotonic() + 60
            while running.poll() is None and time.monotonic() < deadline:
                status, page = site.ask("/api/status"), site.ask("/")
                assert (status.status, page.status) == (200, 200)
                counts.append(status.document["cycles"])
            assert running.wait(60) == 0
        assert counts == sorted(counts)
        assert site.ask("/api/status").document["cycles"] == 155
        last = site.ask("/api/equity").document["points"][-1]
        (newest,) = rows(db, "SELECT ts_utc FROM portfolio ORDER BY id DESC LIMIT 1")[0]
        assert last["ts_utc"] == newest


# ---------------------------------------------------------------- its life


def test_a_port_that_is_taken_is_busy_and_another_is_named(trader: Trader) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = trader("serve", "--port", str(taken.getsockname()[1]))
    assert done.code == 7
    assert re.search(r"--port \d+", done.stderr)


def test_without_the_extra_it_says_what_to_install(clean_env: dict[str, str], tmp_path: Path) -> None:
    script = "import sys; sys.modules['fastapi'] = None; from trader_cli.main import run; sys.exit(run(['serve']))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=clean_env,
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert 'pip install "trader-cli[serve]"' in done.stderr


def _broken(db: Path, *statements: str) -> None:
    """Change rows as a stranger does."""
    with plain(db) as raw:
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            raw.execute(statement)
        raw.commit()


def test_rows_that_are_none_of_ours_are_told_as_damage(tmp_path: Path) -> None:
    db = ledger_at(tmp_path / "a.db", 2)
    _broken(db, "UPDATE portfolio SET equity_usdt = 'canary', ts_utc = 'canary' WHERE id = 2")
    with served(tmp_path, "--db", "a.db", **PINNED) as site:
        for path in ("/api/status", "/api/equity", "/"):
            came = site.ask(path)
            assert came.status == 503, path
            assert "Traceback" not in came.text
            assert "trader ledger verify" in came.text
        assert site.ask("/api/equity").document["error"]["exit"] == 6
        assert site.ask("/healthz").status == 503


def test_what_broke_is_told_who_started_it_and_not_who_asked(tmp_path: Path) -> None:
    ledger_at(tmp_path / "a.db", 2)
    _soon(tmp_path, "import trader_cli.looks as looks", "looks.memory = lambda ledger: 1 / 0")
    with served(tmp_path, "--db", "a.db", **PINNED, PYTHONPATH=_with(tmp_path)) as site:
        came = site.ask("/api/memory")
        assert came.status == 500
        assert came.document["error"]["name"] == "FAILURE"
        assert "ZeroDivisionError" not in came.text
        assert "content-security-policy" in came.headers
        assert site.ask("/api/status").status == 200
    assert any("/api/memory broke: ZeroDivisionError" in line for line in site.said), site.said


def _await(site: Served, words: str) -> None:
    """Ask for the first page until it says so."""
    deadline = time.monotonic() + 60
    while words not in (text := site.ask("/").text):
        assert time.monotonic() < deadline, text
        time.sleep(0.1)


def test_the_whole_ledger_is_proved_beside_it_and_another_in_its_place_anew(tmp_path: Path) -> None:
    ledger_at(tmp_path / "a.db", 5)
    with served(tmp_path, "--db", "a.db", "--verify-every", "1h", **PINNED) as site:
        _await(site, "checks passed")
        other = ledger_at(tmp_path / "b.db", 3)
        _broken(other, "DELETE FROM trades")
        other.replace(tmp_path / "a.db")
        assert "checks passed" not in site.ask("/").text
        _await(site, "FAILED")


def test_what_cannot_be_proved_says_why(tmp_path: Path) -> None:
    with Prover(tmp_path / "none.db", 3600, lambda: "whose") as prover:
        deadline = time.monotonic() + 60
        while (found := prover.of("whose")) is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert found.trouble is not None
    assert "no ledger at" in found.trouble
    assert prover.of("another") is None


def test_idle_lines_do_not_keep_others_out(tmp_path: Path) -> None:
    ledger_at(tmp_path / "a.db", 1)
    _soon(tmp_path, "import trader_cli.web.server as server", "server.HEAD_SECS = 1.0")
    with (
        contextlib.ExitStack() as lines,
        served(tmp_path, "--db", "a.db", **PINNED, PYTHONPATH=_with(tmp_path)) as site,
    ):
        for number in range(MOST_AT_ONCE):
            line = lines.enter_context(socket.create_connection(("127.0.0.1", site.port), 10))
            line.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" if number % 2 else b"")
        deadline = time.monotonic() + 30
        while site.ask("/healthz").status != 200:
            assert time.monotonic() < deadline, "they are still waited for"
            time.sleep(0.1)


def _soon(folder: Path, *lines: str) -> None:
    """What a process of that folder does before anything else."""
    (folder / "sitecustomize.py").write_text("\n".join(lines), encoding="utf-8")


def _with(folder: Path) -> str:
    return f"{folder}:{ROOT}"


def test_a_killed_server_leaves_no_proof_at_work(tmp_path: Path) -> None:
    ledger_at(tmp_path / "a.db", 5)
    command = [sys.executable, "-m", "trader_cli.main", "--db", "a.db", "--json", "serve", "--port", "0"]
    process = subprocess.Popen(command, cwd=tmp_path, env={**ENV, **PINNED}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline()
    deadline = time.monotonic() + 20
    while not (children := _children(process.pid)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    process.stdout.close()
    while any(Path(f"/proc/{pid}").exists() for pid in children):
        assert time.monotonic() < deadline, "it is still at work"
        time.sleep(0.05)


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split() or [
        child
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for child in (thread / "children").read_text("ascii").split()
    ]
