"""The scope policy of keyward, in Python: may this key do this?

The same answers as the built-in `keyward:scope`, from the same settings.
"""

# Imports have to stand up here, where the build runs them: in keyward there are no files.
import json
import re

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.decide import Descriptor, ReasonTemplate, SettingError
from wit_world.imports import request
from wit_world.imports.types import Effect, Reason, Signal, Verdict

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "implies": {
            "description": "A granted action also grants these; transitive, without cycles.",
            "type": "object",
            "maxProperties": 64,
            "additionalProperties": {"type": "array", "maxItems": 32, "items": {"type": "string"}},
            "default": {"admin": ["read", "write", "delete"], "write": ["read"]},
        },
        "read_only_actions": {
            "description": "What a key under the read-only mask may still do, if it is granted.",
            "type": "array",
            "maxItems": 64,
            "items": {"type": "string"},
            "default": ["read", "list"],
        },
    },
}

DESCRIPTOR = Descriptor(
    name="example:scope-python",
    version="0.1.0",
    summary="Allows what a grant of the key covers, and under the read-only mask only reading",
    needs=[],
    reasons=[
        ReasonTemplate(
            code="scope.unmapped",
            text="no route maps this operation to a scope",
            remedy="check method and path, or ask the gateway's operator to map the operation",
        ),
        ReasonTemplate(
            code="scope.malformed",
            text="the route requires `{required}`, which is not a scope",
            remedy="ask the gateway's operator to correct the scope in the route table",
        ),
        ReasonTemplate(
            code="scope.read-only",
            text="the key is limited to reading for now, and `{action}` is more than that",
            remedy="ask the key's manager to lift the mask once the reason for it is settled",
        ),
        ReasonTemplate(
            code="scope.missing",
            text="no grant of the key covers `{required}`",
            remedy="ask the key's manager for a key with this scope, if it is needed",
        ),
        ReasonTemplate(
            code="scope.granted",
            text="the grant `{grant}` covers this operation",
            remedy="nothing to do",
        ),
    ],
    signals=["unmapped-route", "excessive-scope", "malformed-grant"],
    obligations=[],
    settings_schema=json.dumps(SCHEMA),
)

NAME = "[a-z0-9][a-z0-9_-]{0,63}"
RESOURCE = rf"{NAME}(?:\.{NAME})*"
# Compiled when the component is built.
ACTION = re.compile(NAME)
SCOPE = re.compile(f"({RESOURCE}):({NAME})")
GRANT = re.compile(rf"(?:\*|({RESOURCE})(\.\*)?):(\*|{NAME})")
SCOPE_MAX = 256
MALFORMED_GRANTS_MAX = 4

# Set by `configure`, once, and never changed again.
implied: dict[str, set[str]] = {}
read_only_actions: set[str] = set()


class Decide(exports.Decide):
    """The exports of the world `policy`."""

    def describe(self) -> Descriptor:
        return DESCRIPTOR

    def configure(self, settings: str) -> None:
        global implied, read_only_actions
        given = json.loads(settings)
        default = {name: schema["default"] for name, schema in SCHEMA["properties"].items()}
        direct = given.get("implies", default["implies"])
        read_only = given.get("read_only_actions", default["read_only_actions"])

        named = []  # every name of an action, with its place
        for action, names in direct.items():
            place = "/implies/" + action.replace("~", "~0").replace("/", "~1")
            named.append((place, action))
            named += [(f"{place}/{i}", name) for i, name in enumerate(names)]
        named += [(f"/read_only_actions/{i}", name) for i, name in enumerate(read_only)]
        malformed = [
            SettingError(
                path,
                f"`{name}` is not an action; write 1 to 64 of a-z, 0-9, `_` and `-`, "
                "beginning with a letter or digit",
            )
            for path, name in named
            if not ACTION.fullmatch(name)
        ]
        if malformed:
            raise Err(malformed)

        implied = {action: reach(direct, action) for action in direct}
        cycles = [action for action in implied if action in implied[action]]
        if cycles:
            message = "`{}` implies itself; remove one step of the cycle"
            raise Err([SettingError(f"/implies/{a}", message.format(a)) for a in cycles])
        read_only_actions = set(read_only)

    def evaluate(self) -> Verdict:
        required = request.required_scope()
        if required is None:
            method, path = clip(request.method(), 64), clip(request.path(), 1024)
            signal = Signal("unmapped-route", [("method", method), ("path", path)])
            return deny("scope.unmapped", [], [signal])
        scope = len(required) <= SCOPE_MAX and SCOPE.fullmatch(required)
        if not scope:
            return deny("scope.malformed", [("required", clip(required, SCOPE_MAX))], [])
        resource, action = scope.groups()
        excessive = Signal("excessive-scope", [("required", required)])
        if request.key_read_only() and action not in read_only_actions:
            return deny("scope.read-only", [("action", action)], [excessive])

        covering = None
        malformed = []
        for text in request.key_scopes():
            grant = len(text) <= SCOPE_MAX and GRANT.fullmatch(text)
            if not grant:
                malformed.append(Signal("malformed-grant", [("grant", clip(text, SCOPE_MAX))]))
            elif covering is None and covers(grant, resource, action):
                covering = text
        malformed = malformed[:MALFORMED_GRANTS_MAX]
        if covering is None:
            return deny("scope.missing", [("required", required)], [excessive, *malformed])
        reason = Reason("scope.granted", [("grant", covering)])
        return Verdict(Effect.ALLOW, reason, malformed, [])


def reach(direct: dict[str, list[str]], action: str) -> set[str]:
    """All that an action implies, by however many steps."""
    reached: set[str] = set()
    follow = [action]
    while follow:
        for implied_action in direct.get(follow.pop(), []):
            if implied_action not in reached:
                reached.add(implied_action)
                follow.append(implied_action)
    return reached


def covers(grant: re.Match[str], resource: str, action: str) -> bool:
    """Whether a match of GRANT covers the scope."""
    granted, below, actions = grant.groups()
    if granted is None:  # `*`
        resources = True
    elif below:
        resources = resource.startswith(granted + ".")
    else:
        resources = resource == granted
    return resources and (actions in ("*", action) or action in implied.get(actions, ()))


def deny(code: str, params: list[tuple[str, str]], signals: list[Signal]) -> Verdict:
    return Verdict(Effect.DENY, Reason(code, params), signals, [])


def clip(text: str, most: int) -> str:
    """At most so many bytes of UTF-8; what was left out is marked."""
    encoded = text.encode()
    return text if len(encoded) <= most else encoded[:most].decode(errors="ignore") + "…"
