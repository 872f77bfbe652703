"""Words to a document, strictly: the JSON of RFC 8259, the wire schema, the specification's draft-07 schema.

NaN, duplicate keys, deep nesting, lone surrogates and megabytes are refused; a model's mistake
is never repaired, except that a note longer than the specification allows is cut.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

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
        json.dumps(document, ensure_ascii=False).encode("utf-8")
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
    """Raise UnreadableError when a document does not obey a schema; says where and why."""
    error = next(iter(_validator(schema).iter_errors(document)), None)
    if error is not None:
        place = "/".join(str(part) for part in error.absolute_path) or "the document"
        raise UnreadableError(f"{what}: {place}: {error.message}"[:200])


def cut(words: str) -> str:
    """A text at the specification's length."""
    return words if len(words) <= TEXT_CHARS else words[: TEXT_CHARS - 3] + "..."


_validators: dict[int, tuple[dict[str, Any], Any]] = {}
"""One validator a schema, by the schema's identity; the schema is kept so that its identity stays its own."""


def _validator(schema: dict[str, Any]) -> Any:
    if id(schema) not in _validators:
        import jsonschema  # loaded at the first reply, not at start-up

        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        _validators[id(schema)] = (schema, kind(schema))
    return _validators[id(schema)][1]


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
