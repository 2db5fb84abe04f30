//! The host's own reasons: what its gate, the combination and the log deny with.
//!
//! Stable codes, as `spec`ified for the gate: never renamed, never reused.

/// One of the host's reasons, with what it means for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostReason {
    /// The code.
    pub code: &'static str,
    /// What happened.
    pub text: &'static str,
    /// What the key's owner can do about it.
    pub remedy: &'static str,
}

/// Every reason of the host's own, the gate's in the order of its checks.
pub const HOST_REASONS: &[HostReason] = &[
    HostReason {
        code: "key.missing",
        text: "the request carried no credential",
        remedy: "present the key; in a file of requests that is the member `credential`",
    },
    HostReason {
        code: "key.ambiguous",
        text: "the request carried more than one credential",
        remedy: "send the key exactly once",
    },
    HostReason {
        code: "key.malformed",
        text: "the credential is not a keyward key: its prefix, length, alphabet or checksum is wrong",
        remedy: "copy the whole key again, without `Bearer`; a single wrong character is noticed",
    },
    HostReason {
        code: "registry.stale",
        text: "the host has not heard from its registry for too long to know whether the key is good",
        remedy: "tell the operator; the registry file cannot be read, or the log not written",
    },
    HostReason {
        code: "key.unknown",
        text: "there is no such key, or its secret is wrong",
        remedy: "check that it is the right key, or have a new one issued",
    },
    HostReason {
        code: "key.revoked",
        text: "the key has been revoked",
        remedy: "have a new key issued; a revoked one never comes back",
    },
    HostReason {
        code: "key.suspended",
        text: "the key is suspended",
        remedy: "ask whoever suspended it; a suspension can be lifted",
    },
    HostReason {
        code: "request.malformed",
        text: "the request has no usable path, or the gateway did not say all of it",
        remedy: "send a path that starts with `/` and has at most 8 KiB; see to it that the gateway \
                 sends what its profile needs",
    },
    HostReason {
        code: "request.path-ambiguous",
        text: "two servers could read the path differently",
        remedy: "send the path without encoded slashes or dot segments, backslashes, empty segments \
                 and `;` parameters",
    },
    HostReason {
        code: "policy.failed",
        text: "a policy failed to answer, and what cannot be decided is denied",
        remedy: "tell the operator; the policy's own part of the explanation says how it failed",
    },
    HostReason {
        code: "policy.none-allowed",
        text: "no policy allowed the request",
        remedy: "ask the operator whether a policy should cover this operation",
    },
    HostReason {
        code: "log.record-too-large",
        text: "the record of the decision would be larger than the log takes",
        remedy: "send smaller headers and attributes",
    },
    HostReason {
        code: "log.unavailable",
        text: "the decision could not be recorded, and what is not recorded is denied",
        remedy: "tell the operator; the log's disk is full or failing",
    },
];

/// Whether the host denies with this reason by itself, without what a policy said.
#[must_use]
pub fn is_refusal(code: &str) -> bool {
    let by_itself = code.starts_with("key.") || code.starts_with("request.");
    (by_itself && host_reason(code).is_some())
        || matches!(code, "log.record-too-large" | "registry.stale")
}

/// The host's reason of a code.
#[must_use]
pub fn host_reason(code: &str) -> Option<&'static HostReason> {
    HOST_REASONS.iter().find(|reason| reason.code == code)
}
