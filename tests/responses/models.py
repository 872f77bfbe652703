"""The models the loopback server knows: which efforts they take, and when a temperature.

The 5, 5.4, 5.6 and 6 families are as the service answered in 2026; 4.1 stands for models that do not reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.responses.refusal import RefusedError

OLD = ("minimal", "low", "medium", "high")
NEW = ("none", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class ModelRules:
    """`efforts` is empty for a model that does not reason; `samples_at_none` is whether it then takes a temperature."""

    efforts: tuple[str, ...]
    default_effort: str
    samples_at_none: bool
    phases: bool
    snapshot: str | None = None
    shutdown_date: str | None = None

    def effort(self, body: dict[str, Any]) -> str:
        """The effort that is in force for a request: `none` where the model does not reason."""
        if not self.efforts:
            return "none"
        given = (body.get("reasoning") or {}).get("effort")
        return str(given) if given is not None else self.default_effort


def _old(snapshot: str) -> ModelRules:
    return ModelRules(OLD, "medium", False, False, snapshot, "2026-12-11")


_FULL = ModelRules(NEW, "medium", True, True)
_MINI = ModelRules(NEW[:-1], "none", True, True)
_PLAIN = ModelRules((), "none", True, False)

MODELS: dict[str, ModelRules] = {
    **{name: _old(f"{name}-2025-08-07") for name in ("gpt-5", "gpt-5-mini", "gpt-5-nano")},
    **{f"{name}-2025-08-07": _old(f"{name}-2025-08-07") for name in ("gpt-5", "gpt-5-mini", "gpt-5-nano")},
    "gpt-5.4-mini": _MINI,
    "gpt-5.4-mini-2026-03-17": _MINI,
    "gpt-5.6-sol": _FULL,
    "gpt-5.6-terra": _FULL,
    "gpt-5.6-luna": _FULL,
    "gpt-6-sol": _FULL,
    "gpt-6-luna": _FULL,
    "gpt-6-astra": ModelRules(NEW[1:], "medium", False, True),
    "gpt-4.1": _PLAIN,
    "gpt-4.1-mini": _PLAIN,
}


def rules_of(name: str) -> ModelRules:
    """A model's rules; one that only a compatible server knows does not reason."""
    return MODELS.get(name, _PLAIN)


def check_model(body: dict[str, Any]) -> None:
    """Refuse a model nobody knows, an effort it does not have, a temperature it does not take. Raises RefusedError."""
    name = body["model"]
    if name not in MODELS:
        raise RefusedError(f"The requested model '{name}' does not exist.", "model_not_found", "model")
    rules = MODELS[name]
    _check_effort(name, rules, body.get("reasoning") or {})
    samples = rules.samples_at_none and rules.effort(body) == "none"
    for key in ("temperature", "top_p", "top_logprobs"):
        if body.get(key) is not None and not samples:
            raise RefusedError(f"Unsupported parameter: '{key}' is not supported with this model.", None, key)
    if not rules.efforts:
        _check_plain(name, body)


def _check_effort(name: str, rules: ModelRules, reasoning: dict[str, Any]) -> None:
    effort = reasoning.get("effort")
    if not rules.efforts:
        for key, value in reasoning.items():
            if value is not None:
                place = f"reasoning.{key}"
                message = f"Unsupported parameter: '{place}' is not supported with this model."
                raise RefusedError(message, "unsupported_parameter", place)
    elif effort is not None and effort not in rules.efforts:
        raise unsupported_value(effort, name, rules.efforts, "reasoning.effort")


def _check_plain(name: str, body: dict[str, Any]) -> None:
    """What only reasoning models take."""
    verbosity = (body.get("text") or {}).get("verbosity")
    if verbosity not in (None, "medium"):
        raise unsupported_value(verbosity, name, ("medium",), "text.verbosity")
    if "reasoning.encrypted_content" in (body.get("include") or ()):
        raise RefusedError("Encrypted content is not supported with this model.", None, "include")


def unsupported_value(value: object, model: str, values: tuple[str, ...], param: str) -> RefusedError:
    """A value that another model would take."""
    listed = _listed(values)
    message = f"Unsupported value: '{value}' is not supported with the '{model}' model. Supported values are: {listed}."
    return RefusedError(message, "unsupported_value", param)


def invalid_value(value: object, values: tuple[str, ...], param: str) -> RefusedError:
    """A value that is none."""
    return RefusedError(f"Invalid value: '{value}'. Supported values are: {_listed(values)}.", "invalid_value", param)


def _listed(values: tuple[str, ...]) -> str:
    quoted = [f"'{value}'" for value in values]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + f", and {quoted[-1]}"
