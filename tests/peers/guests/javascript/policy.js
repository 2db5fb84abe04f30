// The scope policy of keyward, in JavaScript: may this key do this?
//
// The same answers as the built-in `keyward:scope`, from the same settings.

import request from "keyward:policy/request@0.1.0";

const SCHEMA = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  additionalProperties: false,
  properties: {
    implies: {
      description: "A granted action also grants these; transitive, without cycles.",
      type: "object",
      maxProperties: 64,
      additionalProperties: { type: "array", maxItems: 32, items: { type: "string" } },
      default: { admin: ["read", "write", "delete"], write: ["read"] },
    },
    read_only_actions: {
      description: "What a key under the read-only mask may still do, if it is granted.",
      type: "array",
      maxItems: 64,
      items: { type: "string" },
      default: ["read", "list"],
    },
  },
};

const DESCRIPTOR = {
  name: "example:scope-js",
  version: "0.1.0",
  summary: "Allows what a grant of the key covers, and under the read-only mask only reading",
  needs: [],
  reasons: [
    {
      code: "scope.unmapped",
      text: "no route maps this operation to a scope",
      remedy: "check method and path, or ask the gateway's operator to map the operation",
    },
    {
      code: "scope.malformed",
      text: "the route requires `{required}`, which is not a scope",
      remedy: "ask the gateway's operator to correct the scope in the route table",
    },
    {
      code: "scope.read-only",
      text: "the key is limited to reading for now, and `{action}` is more than that",
      remedy: "ask the key's manager to lift the mask once the reason for it is settled",
    },
    {
      code: "scope.missing",
      text: "no grant of the key covers `{required}`",
      remedy: "ask the key's manager for a key with this scope, if it is needed",
    },
    {
      code: "scope.granted",
      text: "the grant `{grant}` covers this operation",
      remedy: "nothing to do",
    },
  ],
  signals: ["unmapped-route", "excessive-scope", "malformed-grant"],
  obligations: [],
  settingsSchema: JSON.stringify(SCHEMA),
};

const NAME = "[a-z0-9][a-z0-9_-]{0,63}";
const RESOURCE = `${NAME}(?:\\.${NAME})*`;
const ACTION = new RegExp(`^${NAME}$`);
const SCOPE = new RegExp(`^(${RESOURCE}):(${NAME})$`);
const GRANT = new RegExp(`^(?:\\*|(${RESOURCE})(\\.\\*)?):(\\*|${NAME})$`);
const SCOPE_MAX = 256;
const MALFORMED_GRANTS_MAX = 4;

// Set by `configure`, once, and never changed again.
let implied; // Map: action to the Set of all actions that it implies
let readOnlyActions;

function configure(json) {
  const defaults = {
    implies: SCHEMA.properties.implies.default,
    read_only_actions: SCHEMA.properties.read_only_actions.default,
  };
  const settings = { ...defaults, ...JSON.parse(json) };
  const direct = new Map(Object.entries(settings.implies));
  const malformed = [];
  const check = (name, ...path) => {
    if (!ACTION.test(name)) {
      const message =
        `\`${name}\` is not an action; write 1 to 64 of a-z, 0-9, \`_\` and \`-\`, ` +
        "beginning with a letter or digit";
      malformed.push({ path: pointer(...path), message });
    }
  };
  for (const [action, names] of direct) {
    check(action, "implies", action);
    names.forEach((name, i) => check(name, "implies", action, i));
  }
  settings.read_only_actions.forEach((name, i) => check(name, "read_only_actions", i));
  if (malformed.length > 0) throw malformed;

  implied = new Map([...direct.keys()].map((action) => [action, reach(direct, action)]));
  const cycles = [...implied.keys()].filter((action) => implied.get(action).has(action));
  if (cycles.length > 0) {
    throw cycles.map((action) => ({
      path: pointer("implies", action),
      message: `\`${action}\` implies itself; remove one step of the cycle`,
    }));
  }
  readOnlyActions = new Set(settings.read_only_actions);
}

/** All that an action implies, by however many steps. */
function reach(direct, action) {
  const reached = new Set();
  const follow = [action];
  while (follow.length > 0) {
    for (const next of direct.get(follow.pop()) ?? []) {
      if (!reached.has(next)) {
        reached.add(next);
        follow.push(next);
      }
    }
  }
  return reached;
}

/** An RFC 6901 JSON pointer. */
function pointer(...path) {
  return path.map((step) => `/${String(step).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

function evaluate() {
  const required = request.requiredScope();
  if (required === null) {
    const method = clip(request.method(), 64);
    const path = clip(request.path(), 1024);
    return deny("scope.unmapped", {}, [named("unmapped-route", { method, path })]);
  }
  const scope = required.length <= SCOPE_MAX && required.match(SCOPE);
  if (!scope) {
    return deny("scope.malformed", { required: clip(required, SCOPE_MAX) });
  }
  const [, resource, action] = scope;
  const excessive = named("excessive-scope", { required });
  if (request.keyReadOnly() && !readOnlyActions.has(action)) {
    return deny("scope.read-only", { action }, [excessive]);
  }

  let covering = null;
  const malformed = [];
  for (const text of request.keyScopes()) {
    const grant = text.length <= SCOPE_MAX && text.match(GRANT);
    if (!grant) {
      malformed.push(named("malformed-grant", { grant: clip(text, SCOPE_MAX) }));
    } else if (covering === null && covers(grant, resource, action)) {
      covering = text;
    }
  }
  malformed.splice(MALFORMED_GRANTS_MAX);
  return covering === null
    ? deny("scope.missing", { required }, [excessive, ...malformed])
    : verdict("allow", "scope.granted", { grant: covering }, malformed);
}

/** Whether a match of GRANT covers the scope. */
function covers([, granted, below, actions], resource, action) {
  const resources =
    granted === undefined || // `*`
    (below === undefined ? resource === granted : resource.startsWith(`${granted}.`));
  return (
    resources && (actions === "*" || actions === action || implied.get(actions)?.has(action) === true)
  );
}

function deny(code, params, signals = []) {
  return verdict("deny", code, params, signals);
}

function verdict(effect, code, params, signals) {
  return { effect, reason: { code, params: Object.entries(params) }, signals, obligations: [] };
}

function named(name, params) {
  return { name, params: Object.entries(params) };
}

/** At most `max` bytes of UTF-8; what was left out is marked. */
function clip(text, max) {
  // Nearly always ASCII: a character is a byte, and nothing has to be counted.
  if (/^[\0-\x7f]*$/.test(text)) return text.length <= max ? text : `${text.slice(0, max)}…`;
  let bytes = 0;
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i);
    const surrogate = (unit & 0xf800) === 0xd800; // half of a character of 4 bytes
    bytes += unit < 0x80 ? 1 : unit < 0x800 || surrogate ? 2 : 3;
    if (bytes > max) return `${text.slice(0, (unit & 0xfc00) === 0xdc00 ? i - 1 : i)}…`;
  }
  return text;
}

export const decide = { describe: () => DESCRIPTOR, configure, evaluate };
