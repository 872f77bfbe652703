"""Words to a document, strictly: the JSON of RFC 8259, the wire schema, the specification's draft-07 schema.

NaN, duplicate keys, deep nesting, lone surrogates and megabytes are refused; a model's mistake
is never repaired, except that a note longer than the specification allows is cut.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn

from trader_cli.core.redaction import redact

MAX_REPLY_CHARS = 65_536
MAX_DEPTH = 20
TEXT_CHARS = 120
"""The specification's maxLength of `hypothesis` and `notes`."""


class UnreadableError(ValueError):
    """Why a reply cannot be used."""


def parse(words: str) -> Any:
    """A reply's one JSON value. Raises UnreadableError."""
    if len(words) > MAX_REPLY_CHARS:
        raise UnreadableError(f"the reply has {len(words)} characters, at most {MAX_REPLY_CHARS} are read")
    try:
        document = json.loads(words, object_pairs_hook=_object, parse_constant=_constant)
        if "\\u" in words or not words.isascii():
            spelled = json.dumps(document, ensure_ascii=False)
            spelled.encode("utf-8")
            if redact(spelled) != spelled:
                raise UnreadableError("the reply holds something like a key, in disguise")
    except UnreadableError:
        raise
    except UnicodeEncodeError:
        raise UnreadableError("the reply holds a lone surrogate") from None
    except RecursionError:
        raise UnreadableError("the reply is nested too deeply") from None
    except ValueError as error:
        raise UnreadableError(f"the reply is not JSON: {error}"[:200]) from None
    if _depth(document) > MAX_DEPTH:
        raise UnreadableError(f"the reply is nested deeper than {MAX_DEPTH}")
    return document


def check(document: Any, schema: dict[str, Any], what: str) -> None:
    """Raise UnreadableError when a document does not obey a schema; says where and why.

    The compiled schema decides, at a fiftieth of the time; what it refuses, jsonschema explains.
    """
    if id(schema) not in _compiled:
        import fastjsonschema  # loaded at the first reply, not at start-up

        _compiled[id(schema)] = (schema, fastjsonschema.compile(schema, use_default=False))
    try:
        _compiled[id(schema)][1](document)
    except ValueError as refusal:  # fastjsonschema's own exception is one
        raise UnreadableError(f"{what}: {_explained(document, schema) or refusal}"[:200]) from None


def _explained(document: Any, schema: dict[str, Any]) -> str | None:
    """What jsonschema says of the first fault it finds."""
    import jsonschema  # loaded when there is something to explain

    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    error = next(iter(kind(schema).iter_errors(document)), None)
    if error is None:
        return None
    place = "/".join(str(part) for part in error.absolute_path) or "the document"
    return f"{place}: {error.message}"


def cut(words: str) -> str:
    """A text at the specification's length."""
    return words if len(words) <= TEXT_CHARS else words[: TEXT_CHARS - 3] + "..."


_compiled: dict[int, tuple[dict[str, Any], Callable[[Any], Any]]] = {}
"""Each schema as a function, by the schema's identity; the schema is kept so that its identity stays its own."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise UnreadableError("the reply names a key twice")
    return document


def _constant(name: str) -> NoReturn:
    raise UnreadableError(f"the reply holds {name}, which is not JSON")


def _depth(document: Any) -> int:
    depth, level = 0, [document]
    while level:
        depth += 1
        level = [
            child
            for one in level
            if isinstance(one, dict | list)
            for child in (one.values() if isinstance(one, dict) else one)
        ]
    return depth
