"""The `trader` command: what commands there are, loaded only when they run, and the one error boundary.

A module under `commands/` is imported when its command runs or shows its own help. Whatever goes
wrong becomes one message on stderr and one exit code here, and nowhere else.
"""

from __future__ import annotations

import decimal
import errno
import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from trader_cli import __version__
from trader_cli.commands.options import flag, group
from trader_cli.core.decimals import MONEY
from trader_cli.core.errors import MEANING, ExitCode, LedgerError, TraderError, UsageError
from trader_cli.tools import logs
from trader_cli.views.output import Output, OutputClosedError, report, screened, trace


class Entry(NamedTuple):
    """A command: its words, the module and function that do it, its panel in the help, and what it does."""

    words: str
    target: str
    panel: str
    summary: str


COMMANDS = (
    Entry("cycle", "cycle:cycle", "Run", "One whole cycle: recover, plan, propose, judge, execute, snapshot."),
    Entry("loop", "loop:loop", "Run", "Cycle after cycle, asleep until the plan's next wake-up."),
    Entry("backtest", "backtest:backtest", "Run", "The same cycles over recorded or simulated bars; once or many."),
    Entry(
        "replay", "replay:replay", "Run", "Every step again from the ledger, byte for byte; or asked of another model."
    ),
    Entry("plan", "plan:plan", "One step", "Ask the planner: trade or observe, and with which policies."),
    Entry("propose", "propose:propose", "One step", "Ask the trader for one order under the newest plan."),
    Entry("judge", "judge:judge", "One step", "Hold the newest proposal against the law and the judge."),
    Entry("execute", "execute:execute", "One step", "Carry out the newest verdict: at most one order, ever."),
    Entry("snapshot", "snapshot:snapshot", "One step", "Value the book at the market and record it."),
    Entry("recover", "recover:recover", "One step", "Find out what became of orders that are not settled."),
    Entry("status", "status:status", "Look", "Where we stand: state, position, equity, next wake-up."),
    Entry("why", "why:why", "Look", "Why a trade was made, or why not; what came of it and what was learnt."),
    Entry("report", "report:report", "Look", "What trading came to, beside holding, cash and chance."),
    Entry("memory show", "memory:show", "Look", "What is believed of each policy, and how well confidence was stated."),
    Entry("models", "models:models", "Look", "Which models think, what they cost, until when they exist."),
    Entry("serve", "serve:serve", "Look", "A dashboard and an HTTP API in the browser, read-only."),
    Entry("metrics", "metrics:metrics", "Look", "Figures for Prometheus, from the ledger."),
    Entry("ledger show", "ledger:show", "Look", "The newest cycles, one line each."),
    Entry("ledger tail", "tail:tail", "Look", "The newest cycles, oldest first; -f follows."),
    Entry("ledger trace", "trace:trace", "Look", "Everything about one cycle."),
    Entry("ledger export", "export:export", "Look", "Rows for other programs: csv, jsonl or json."),
    Entry("ledger query", "query:query", "Look", "One SELECT of your own, read-only."),
    Entry("ledger stats", "stats:stats", "Look", "Rows, size, growth, who decided, what it cost."),
    Entry("ledger path", "path:path", "Look", "The ledger's file."),
    Entry("ledger verify", "verify:verify", "Safety", "Prove that the ledger is whole and unaltered."),
    Entry("ledger backup", "backup:backup", "Safety", "A checked copy of the ledger, also while it is in use."),
    Entry("ledger restore", "backup:restore", "Safety", "Put a backup in the ledger's place."),
    Entry("ledger anchor", "anchor:anchor", "Safety", "Note the audit chain's head elsewhere."),
    Entry("stop", "stop:stop", "Safety", "No new orders from now on."),
    Entry("resume", "resume:resume", "Safety", "Allow orders again after a stop, with a reason."),
    Entry("doctor", "doctor:doctor", "Safety", "Look at everything that must hold for trading to be safe."),
    Entry("health", "doctor:health", "Safety", "One line for monitors: 0 or 1, without a network."),
    Entry("gate test", "gate:test", "Safety", "Prove that every limit fires, with your own settings."),
    Entry("init", "init:init", "Set up", "Write a .env file and make the ledger's folder."),
    Entry("config show", "config:show", "Set up", "Every setting, its value, and where it came from."),
    Entry("config check", "config:check", "Set up", "Check all settings; every problem at once."),
    Entry("config example", "config:example", "Set up", "A commented .env file with all settings."),
)

GROUPS = {
    "ledger": ("Look", "What happened: list cycles, explain one, export, query, prove the ledger."),
    "memory": ("Look", "What trading has taught: show."),
    "config": ("Set up", "The settings: show, check, example."),
    "gate": ("Safety", "The law that every order must pass: test."),
}


_MEANT = {
    "help": "--help",
    "version": "--version",
    "run": "loop",
    "start": "loop",
    "once": "cycle",
    "logs": "ledger tail -f",
    "performance": "report",
    **{entry.words.split()[1]: entry.words for entry in COMMANDS if entry.words.startswith("ledger ")},
}
"""What somebody means who types a word that is no command."""


class Asked(NamedTuple):
    """What the error boundary must know before, and even if, the arguments can be parsed."""

    json: bool
    quiet: bool
    verbose: int


class _Plain:
    """Says nothing of the type of a switch, as our own options do."""

    def get_params(self, ctx: Any) -> Any:
        params = super().get_params(ctx)  # type: ignore[misc]  # a command's
        for one in params:
            if one.name in ("help", "install_completion", "show_completion"):
                one.metavar = ""
        return params


class _Command(_Plain, TyperCommand):
    """A command of ours."""


class _Group(_Plain, TyperGroup):
    """A group of them."""


def _lazy(entry: Entry) -> type[TyperCommand]:
    """A command that imports its module when it is called."""

    class Lazy(TyperCommand):
        def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
            return _load(entry).make_context(info_name, args, parent=parent, **extra)

    return Lazy


def _load(entry: Entry) -> Any:
    module, _, attribute = entry.target.partition(":")
    body = getattr(importlib.import_module(f"trader_cli.commands.{module}"), attribute)
    alone = typer.Typer(add_completion=False)
    alone.command(entry.words.split()[-1], cls=_Command, help=_unwrapped(inspect.getdoc(body) or entry.summary))(body)
    return typer.main.get_command(alone)


def _unwrapped(words: str) -> str:
    """A docstring with a line a paragraph, for a terminal of any width; what is indented stays as it is."""
    parts = words.split("\n\n")
    return "\n\n".join(part if "\n " in part else part.replace("\n", " ") for part in parts)


def _epilog() -> str:
    rows = [f"  {int(code):>3}  {meaning}" for code, meaning in MEANING.items()]
    return "\n".join(["Exit codes:", *rows])


def _build() -> typer.Typer:
    """The whole tree of commands, without any of their modules."""
    settings = {"help_option_names": ["-h", "--help"]}
    root = typer.Typer(cls=_Group, no_args_is_help=True, context_settings=settings, epilog=_epilog())
    root.callback(invoke_without_command=True)(group(_root))
    groups: dict[str, typer.Typer] = {}
    for entry in COMMANDS:
        *prefix, name = entry.words.split()
        place = root
        if prefix and prefix[0] not in groups:
            panel, summary = GROUPS[prefix[0]]
            groups[prefix[0]] = typer.Typer(cls=_Group, no_args_is_help=True, help=summary)
            groups[prefix[0]].callback(invoke_without_command=True)(group(_subgroup))
            root.add_typer(groups[prefix[0]], name=prefix[0], rich_help_panel=panel)
        if prefix:
            place = groups[prefix[0]]
        place.command(name, cls=_lazy(entry), help=entry.summary, rich_help_panel=None if prefix else entry.panel)(
            _not_loaded
        )
    return root


def _not_loaded() -> None:
    """Stands in the tree for a command that is not loaded."""


def _version(ctx: typer.Context, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    asked = ctx.obj if isinstance(ctx.obj, Asked) else Asked(False, False, 0)
    lines, doc = [f"trader {__version__}"], {"schema": "trader.version/1", "version": __version__}
    if asked.verbose:
        doc["python"] = ".".join(map(str, sys.version_info[:3]))
        doc["sqlite"] = importlib.import_module("sqlite3").sqlite_version  # only its number: no door is opened
        lines += [f"python {doc['python']}", f"sqlite {doc['sqlite']}"]
    Output(json=asked.json).record(doc, lines)
    raise typer.Exit


def _root(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_version, is_eager=True, metavar="", help="Show the version; -v: more."
        ),
    ] = False,
) -> None:
    """A language model proposes trades in one symbol; code decides. Paper money unless you say otherwise.

    Start with: trader init, trader cycle, trader ledger show
    """
    _subgroup(ctx)


def _subgroup(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        ctx.fail("Missing command.")


app = _build()


# ---------------------------------------------------------------- the error boundary


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: the console script's entry."""
    words = list(sys.argv[1:] if argv is None else argv)
    decimal.setcontext(MONEY.copy())
    _mend_streams()
    asked = _asked(words)
    with screened():
        try:
            code = _guarded(lambda: _call(words, asked), asked)
        finally:
            logs.detach()
    return _flushed(code)


def _call(words: list[str], asked: Asked) -> Any:
    if "--no-color" in words:
        os.environ["NO_COLOR"] = "1"  # help is drawn by Typer, which looks there
    return typer.main.get_command(app)(words, prog_name="trader", standalone_mode=False, obj=asked)


def _guarded(call: Callable[[], Any], asked: Asked) -> int:
    """The exit code of `call`, after saying what went wrong if something did."""
    try:
        result = call()
    except OutputClosedError:
        return ExitCode.OK
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except SystemExit as leaving:
        # Typer makes exit 1 of a closed stdout (`trader --help | head`), which is nobody's failure.
        if leaving.code is None or isinstance(leaving.__context__, BrokenPipeError):
            return ExitCode.OK
        return leaving.code if isinstance(leaving.code, int) else ExitCode.FAILURE
    except typer.Abort as left:
        cause = left.__cause__
        if isinstance(cause, EOFError) and cause.args:  # a file was cut short: no prompt, whose EOFError says nothing
            return _failed(cause, asked)
        report(TraderError("aborted"), as_json=asked.json)
        return ExitCode.FAILURE
    except Exception as error:  # noqa: BLE001 - the boundary: whatever it is, one message and one code
        return _failed(error, asked)
    return int(result) if isinstance(result, int) else ExitCode.OK


def _failed(error: Exception, asked: Asked) -> int:
    known = _known(error)
    if known is None:
        known = TraderError(f"{type(error).__name__}: {error}", _how_to_see())
        loud = asked.verbose >= 2 or os.environ.get("TRADER_DEBUG") == "1"
        if loud:
            trace("".join(traceback.format_exception(error)))
            known.hint = None
        facts: dict[str, object] = {"exit": int(known.code)}
        logs.OURS.critical("%s", known.message, exc_info=error, extra={"facts": facts, "said": True})
        report(known, name="Bug", as_json=asked.json)
    elif type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(known.message, nl=bool(known.message))  # drawn already, unless Rich is switched off
    elif not (asked.quiet and known.code == ExitCode.BUSY):  # cron's next turn: not worth a mail
        report(known, as_json=asked.json)
        facts = {"exit": int(known.code), "hint": known.hint}
        logs.OURS.error("%s: %s", known.code.name, known.message, extra={"facts": facts, "said": True})
    return known.code


def _how_to_see() -> str:
    return "for the traceback run it again with -vv (or TRADER_DEBUG=1), and report it: trader is wrong, not you"


def _known(error: Exception) -> TraderError | None:
    """`error` as one of ours, if it is an expected one: also Typer's own, and a disk that is full."""
    if isinstance(error, TraderError):
        return error
    if isinstance(error, typer.TyperException):
        path = getattr(getattr(error, "ctx", None), "command_path", "trader")
        message = error.format_message()
        word = re.match(r"No such command '(\w+)'", message)
        if word is not None and path == "trader" and word[1] in _MEANT:
            return UsageError(message.partition(" Did you mean")[0], f"trader {_MEANT[word[1]]}")
        return UsageError(message, f"{path} --help")
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
    if full or (type(error).__module__ == "sqlite3" and re.search(r"disk is full|readonly", str(error))):
        return LedgerError(
            f"the disk does not take what must be written: {error}", "Free or unlock the disk, try again."
        )
    return None


def _asked(words: Sequence[str]) -> Asked:
    """Look for --json, -q and -v among the arguments, whether or not they can be parsed."""
    words = words[: words.index("--")] if "--" in words else words
    short = "".join(word for word in words if re.fullmatch(r"-[hqvV]+", word))
    try:
        from_environment = flag("TRADER_JSON", os.environ)
    except UsageError:
        from_environment = False
    return Asked(
        json="--json" in words or from_environment,
        quiet="--quiet" in words or "q" in short,
        verbose=short.count("v") + sum(word == "--verbose" for word in words),
    )


def _mend_streams() -> None:
    """Text in any locale, and no file of ours in the place of a closed stdin, stdout or stderr."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _flushed(code: int) -> int:
    """Flush stdout now, so that the interpreter does not complain of a closed pipe at its end."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return int(code)


if __name__ == "__main__":
    sys.exit(run())
