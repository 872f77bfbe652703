"""Global options, valid before and after a command's name, and the option types that commands share.

A command's body is `@command def plan(g: Globals, dry_run: DryRun = False) -> ExitCode | None`.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, TypeVar

import typer

from trader_cli.commands.completion import traces
from trader_cli.core.errors import ExitCode, UsageError
from trader_cli.tools import logs
from trader_cli.views.output import Output, OutputClosedError

if TYPE_CHECKING:
    from trader_cli.config import Loaded, Settings

P = ParamSpec("P")
R = TypeVar("R")

PANEL = "Global options, before or after the command"
ENV_FILE = Path(".env")
MOST_ROWS = 1_000_000_000
"""More than any ledger has, and few enough for SQLite to count."""

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would happen; write nothing, send nothing.", metavar="")
]
DryRunAsks = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Show what would happen: no order, nothing written. A model behind a key is asked, and paid.",
        metavar="",
    ),
]
ShowPrompt = Annotated[
    bool,
    typer.Option(
        "--show-prompt", help="Print the exact request to the model; send nothing, write nothing.", metavar=""
    ),
]
Rows = Annotated[int, typer.Option("-n", "--rows", help="How many rows; 0 for all.", min=0, max=MOST_ROWS, metavar="N")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded.", metavar="TEXT")]
TraceId = Annotated[
    str,
    typer.Argument(
        help="A trace id, the first 4 or more of its characters, or last.", metavar="TRACE", autocompletion=traces
    ),
]


@dataclass(frozen=True, slots=True)
class Globals:
    """What the global options ask for.

    Attributes:
        db: the ledger named with --db, as given.
        env_file: the settings file named, "none", or None for .env if there is one.
        may_ask: a person is there to answer, and did not forbid questions.
        verbose: how many times -v was given.
        out: where the command prints.
    """

    db: Path | None
    env_file: str | None
    json: bool
    quiet: bool
    verbose: int
    color: bool
    may_ask: bool
    out: Output

    def settings(self) -> Settings:
        """The settings: command options over environment over .env over defaults. Raises ConfigError.

        From the first time on log lines go where they say.
        """
        found = self.loaded().settings
        self._log(found)
        return found

    def _log(self, settings: Settings) -> None:
        if logs.attached():
            return
        if settings.log_file is not None:
            logs.attach(logs.log_file(settings.log_file, settings.db_path), settings.log_level)
        level = "INFO" if self.verbose == 1 else "DEBUG"
        if not self.verbose:  # a setting asks for them on stderr where no file has them and nobody wants silence
            if self.quiet or settings.log_file is not None or "log_level" not in settings.model_fields_set:
                return
            level = settings.log_level
        if sys.stderr is not None and sys.stderr.isatty():
            from trader_cli.views.loglines import terminal_lines

            handler = terminal_lines(self.out, logs.Unwaiting(), logs.trace_of)
        else:
            handler = logs.stderr_lines()
        handler.addFilter(logs.not_said)
        logs.attach(handler, level)

    def loaded(self) -> Loaded:
        """The settings, and where each came from. Raises ConfigError."""
        from trader_cli.config import load_settings

        options = {} if self.db is None else {"DB_PATH": str(self.db)}
        return load_settings(self.settings_file(), os.environ, options)

    def settings_file(self) -> Path | None:
        """The .env file to read: the one named (which must exist), or the usual one if there is one."""
        if self.env_file is not None:
            return None if self.env_file == "none" else Path(self.env_file)
        return ENV_FILE if ENV_FILE.exists() else None


def _global_options(
    db: Annotated[
        Path | None, typer.Option("--db", metavar="PATH", help="The ledger (DB_PATH).", rich_help_panel=PANEL)
    ] = None,
    env_file: Annotated[
        str | None,
        typer.Option(
            "--env-file",
            metavar="PATH",
            help="The settings file, or none (TRADER_ENV_FILE).",
            rich_help_panel=PANEL,
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", metavar="", help="Results as JSON (TRADER_JSON=1).", rich_help_panel=PANEL)
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", metavar="", help="Print nothing on success.", rich_help_panel=PANEL),
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            metavar="",
            show_default=False,
            help="Log lines on stderr; -vv: all of them, and tracebacks.",
            rich_help_panel=PANEL,
        ),
    ] = 0,
    no_color: Annotated[
        bool, typer.Option("--no-color", metavar="", help="No colours (NO_COLOR).", rich_help_panel=PANEL)
    ] = False,
    no_input: Annotated[
        bool,
        typer.Option("--no-input", metavar="", help="Never ask (TRADER_NO_INPUT=1).", rich_help_panel=PANEL),
    ] = False,
) -> None:
    """The one place where the global options are declared."""


_GLOBAL = tuple(inspect.signature(_global_options, eval_str=True).parameters.values())


def command(body: Callable[Concatenate[Globals, P], R]) -> Callable[..., R | ExitCode]:
    """Make a Typer command of `body`: its own options, then the global ones, which arrive as its first argument."""
    own = tuple(inspect.signature(body, eval_str=True).parameters.values())[1:]

    @functools.wraps(body)
    def run(ctx: typer.Context, **given: Any) -> R | ExitCode:
        g = None
        try:
            g = globals_of(ctx)
            code = body(g, **{param.name: given[param.name] for param in own})  # type: ignore[call-arg]
            if g.out.failed and not code:
                return ExitCode.FAILURE
            return code
        except OutputClosedError:
            if g is not None and g.out.failed:
                return ExitCode.FAILURE
            raise
        except BrokenPipeError as error:
            # stdout is Output's business; Typer would take any other pipe for it and end with success.
            raise RuntimeError(f"a connection broke: {error}") from error

    _sign(run, own)
    return run


def group(body: Callable[Concatenate[typer.Context, P], None]) -> Callable[..., None]:
    """Make the callback of a group of commands that takes the global options too."""
    own = tuple(inspect.signature(body, eval_str=True).parameters.values())[1:]

    @functools.wraps(body)
    def run(ctx: typer.Context, **given: Any) -> None:
        body(ctx, **{param.name: given[param.name] for param in own})  # type: ignore[call-arg]

    _sign(run, own)
    return run


def _sign(run: Callable[..., Any], own: tuple[inspect.Parameter, ...]) -> None:
    """Give `run` the signature that Typer shall see."""
    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    shown = [param.replace(kind=inspect.Parameter.KEYWORD_ONLY) for param in (*own, *_GLOBAL)]
    run.__signature__ = inspect.Signature([context, *shown])  # type: ignore[attr-defined]
    run.__annotations__ = {param.name: param.annotation for param in (context, *shown)}


def globals_of(ctx: typer.Context) -> Globals:
    """Merge what was given before and after the command; the value nearest to the command wins."""
    levels: list[dict[str, Any]] = []
    here: Any = ctx
    while here is not None:
        levels.append(here.params)
        here = here.parent

    def first(name: str) -> Any:
        return next((level[name] for level in levels if level.get(name) is not None), None)

    def switch(name: str, *also: str) -> bool:
        return any(level.get(name) for level in levels) or any(flag(name, os.environ) for name in also)

    as_json, quiet = switch("json", "TRADER_JSON"), switch("quiet")
    color = not (switch("no_color") or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb")
    return Globals(
        db=first("db"),
        env_file=first("env_file") or os.environ.get("TRADER_ENV_FILE") or None,
        json=as_json,
        quiet=quiet,
        verbose=sum(level.get("verbose") or 0 for level in levels),
        color=color,
        may_ask=not switch("no_input", "TRADER_NO_INPUT") and sys.stdin is not None and sys.stdin.isatty(),
        out=Output(json=as_json, quiet=quiet, color=color),
    )


def flag(name: str, environ: Mapping[str, str]) -> bool:
    """A switch in the environment: 1 or 0, true or false, yes or no. Raises UsageError for other words."""
    word = environ.get(name, "").lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("", "0", "false", "no", "off"):
        return False
    raise UsageError(f'{name} must be 1 or 0, was "{environ[name]}" (from the environment)', f"unset {name}")
