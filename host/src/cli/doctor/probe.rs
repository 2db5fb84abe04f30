//! What a gateway is sent, probe by probe.

use zeroize::Zeroizing;

use super::kit::{Expect, Kit, Probe};
use super::paths::odd_targets;
use super::smuggle;

/// What keyward tells the upstream.
pub(super) const IDENTITY: [&str; 5] = [
    "X-Keyward-Key-Id",
    "X-Keyward-Subject",
    "X-Keyward-Scopes",
    "X-Keyward-Decision",
    "X-Keyward-Warning",
];
/// The same as upstreams read it that make variables of names.
const ALIASES: [&str; 12] = [
    "X_Keyward_Subject",
    "x_keyward_key_id",
    "X_KEYWARD_SCOPES",
    "X.Keyward.Subject",
    "x.keyward.key.id",
    "X-Keyward_Subject",
    "X_Keyward-Key-Id",
    "X-Keyward.Key_Id",
    "X!Keyward!Subject",
    "X~Keyward~Subject",
    "x-KEYWARD_decision",
    "X.Keyward-Scopes",
];
/// What gateways and proxies say about where a request came from.
const FORWARDED: [&str; 12] = [
    "X-Forwarded-For",
    "X-Real-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Client-IP",
    "Client-IP",
    "X-Cluster-Client-IP",
    "X-Envoy-External-Address",
    "X-Original-Forwarded-For",
    "X_Forwarded_For",
    "X.Forwarded.For",
    "Fastly-Client-IP",
];
/// What gateways tell keyward about the path, and what some upstreams obey.
const PATH_HEADERS: [&str; 9] = [
    "X-Original-URI",
    "X-Original-URL",
    "X-Forwarded-Uri",
    "X-Forwarded-Path",
    "X-Rewrite-URL",
    "X-Envoy-Original-Path",
    "X-Forwarded-Prefix",
    "X_Forwarded_Uri",
    "X_Original_URI",
];
/// The same about the method.
const METHOD_HEADERS: [&str; 5] = [
    "X-Original-Method",
    "X-Forwarded-Method",
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
];

impl Kit {
    /// Everything that is tried.
    pub(super) fn probes(&mut self) -> Vec<Probe> {
        let mut probes = vec![
            self.forged_names(),
            self.aliases(),
            self.hop_by_hop(),
            self.two_credentials(),
            self.spoofed_address(),
            self.odd_paths(),
            self.overridden(),
            self.methods(),
            self.connect(),
            self.credential_passed(),
            self.overrides_passed(),
            self.upgrade(),
        ];
        probes.extend(smuggle::probes(self));
        probes.push(self.check_service());
        probes
    }

    fn forged_names(&mut self) -> Probe {
        let forged = self.forged();
        let each = IDENTITY.map(|name| self.keyed().with(name, &forged).shown(name));
        let upper = self
            .keyed()
            .with("X-KEYWARD-SUBJECT", &forged)
            .shown("X-KEYWARD-SUBJECT");
        let twice = self.keyed().with("x-keyward-subject", &forged);
        let twice = twice
            .with("X-Keyward-Subject", &forged)
            .shown("X-Keyward-Subject, twice");
        let drafts = each.into_iter().chain([upper, twice]);
        Probe {
            id: "forged-names",
            what: "identity headers that the client sends",
            advice: "Replace the five X-Keyward-* headers of the client by keyward's, all of them.",
            expect: Expect::Decided,
            cases: self.cases(drafts),
            untested: None,
        }
    }

    fn aliases(&mut self) -> Probe {
        let forged = self.forged();
        let all = ALIASES
            .iter()
            .fold(self.keyed(), |draft, name| draft.with(name, &forged));
        let each = ALIASES.map(|name| self.keyed().with(name, &forged).shown(name));
        let drafts = each.into_iter().chain([all.shown("all of them at once")]);
        Probe {
            id: "aliases",
            what: "the same in spellings that upstreams read alike, such as X_Keyward_Subject",
            advice: "Take away every header that is X-Keyward-* once all that is no letter or digit \
                     is a hyphen.",
            expect: Expect::Decided,
            cases: self.cases(drafts),
            untested: None,
        }
    }

    fn hop_by_hop(&mut self) -> Probe {
        let forged = self.forged();
        let mut drafts = Vec::new();
        let header = self.header.clone();
        let more = [
            &*header,
            "Authorization",
            "X-Forwarded-For",
            "X-Original-URI",
            "Host",
        ];
        for name in IDENTITY.iter().copied().chain(more) {
            let connection = format!("close, {name}");
            let draft = self.keyed().with("Connection", &connection);
            drafts.push(draft.shown(&format!("Connection: {connection}")));
        }
        for name in IDENTITY {
            let connection = format!("close, {}", name.to_ascii_lowercase());
            let draft = self
                .keyed()
                .with(name, &forged)
                .with("Connection", &connection);
            drafts.push(draft.shown(&format!("Connection: {connection}, and a forged one")));
        }
        let all = format!("close, {}", IDENTITY.join(", "));
        drafts.push(
            self.keyed()
                .with("Connection", &all)
                .shown("Connection with all of them"),
        );
        Probe {
            id: "connection",
            what: "a Connection header that names what keyward says, or the credential",
            advice: "Refuse requests whose Connection names a header of keyward, or set the headers \
                     after what it names is taken away.",
            expect: Expect::Decided,
            cases: self.cases(drafts),
            untested: None,
        }
    }

    fn two_credentials(&mut self) -> Probe {
        let (header, key) = (self.header.clone(), self.credential.clone());
        let bearer = Zeroizing::new(format!("Bearer {}", key.as_str()));
        let with = |lines: [(&str, &str); 2], shown: &str| {
            let plain = self.plain().shown(shown);
            lines
                .iter()
                .fold(plain, |draft, (name, value)| draft.with(name, value))
        };
        let joined = Zeroizing::new(format!("{},{}", key.as_str(), key.as_str()));
        let mixed = Zeroizing::new(format!("{}, unknown", key.as_str()));
        let drafts = [
            with([(&header, &key), (&header, &key)], "one header twice"),
            with(
                [(&header, &key), (&header, "unknown")],
                "one header twice, the second unknown",
            ),
            with(
                [(&header, "unknown"), (&header, &key)],
                "one header twice, the first unknown",
            ),
            with(
                [(&header, &key), ("Authorization", &bearer)],
                "in two headers",
            ),
            with(
                [("Authorization", "Bearer unknown"), (&header, &key)],
                "a Bearer unknown",
            ),
            with(
                [("Authorization", &bearer), ("Authorization", &bearer)],
                "Authorization twice",
            ),
            self.plain()
                .with(&header, &joined)
                .shown("joined by a comma"),
            self.plain()
                .with(&header, &mixed)
                .shown("joined by a comma, the second unknown"),
        ];
        Probe {
            id: "two-credentials",
            what: "two credentials in one request",
            advice: "Hand every line of both credential headers on to keyward, which refuses more \
                     than one.",
            expect: Expect::Refused,
            cases: self.cases(drafts),
            untested: None,
        }
    }

    fn spoofed_address(&mut self) -> Probe {
        let mut drafts = Vec::new();
        let untested = self.elsewhere.is_none().then(|| {
            "needs --elsewhere-credential-file and --elsewhere-address. Or send `X-Forwarded-For: \
             203.0.113.9` and see that `client` of the decision in `keyward log cat` is not that"
                .to_owned()
        });
        if let Some((key, address)) = self.elsewhere.clone() {
            let base = self.plain().with(&self.header, &key);
            let with = |name: &str, value: &str| {
                base.clone()
                    .with(name, value)
                    .shown(&format!("{name}: {value}"))
            };
            drafts.extend(FORWARDED.map(|name| with(name, &address)));
            drafts.push(with("Forwarded", &format!("for={address}")));
            drafts.push(with("X-Forwarded-For", &format!("{address}, {address}")));
            drafts.push(with("X-Forwarded-For", &format!("{address}, 127.0.0.1")));
            drafts.push(with("Connection", "close, X-Forwarded-For"));
            let all = FORWARDED
                .iter()
                .fold(base, |draft, name| draft.with(name, &address));
            drafts.push(all.shown("all of them at once"));
        }
        Probe {
            id: "client-address",
            what: "another address for the client, with a key that is restricted to networks",
            advice: "Set the forwarding header that keyward reads to the peer's address, whatever \
                     the client says; believe other proxies only by name. Or this machine is one \
                     of `trusted_proxies`: examine from another.",
            expect: Expect::Refused,
            cases: self.cases(drafts),
            untested,
        }
    }

    fn odd_paths(&mut self) -> Probe {
        let targets = self
            .denied
            .as_deref()
            .map(|denied| odd_targets(&self.allowed, denied, &self.authority));
        let untested = targets
            .is_none()
            .then(|| "needs --denied-path: a path that the key may not use".to_owned());
        let targets = targets.unwrap_or_default();
        let drafts: Vec<_> = targets
            .iter()
            .map(|it| self.keyed().to(it).shown(it))
            .collect();
        Probe {
            id: "paths",
            what: "odd ways to write a path that the key may not use",
            advice: "Pass on the path that keyward was asked about and no other; refuse `.` and \
                     `..` where you pass on paths as they came.",
            expect: Expect::Decided,
            cases: self.cases(drafts),
            untested,
        }
    }

    fn overridden(&mut self) -> Probe {
        let denied = self.denied.clone();
        let mut drafts = Vec::new();
        if let Some(denied) = &denied {
            for name in PATH_HEADERS {
                let draft = self.keyed().to(denied).with(name, &self.allowed);
                drafts.push(draft.shown(&format!("{name}: {}", self.allowed)));
            }
            let all = self.keyed().to(denied).shown("all of them at once");
            let all = PATH_HEADERS
                .iter()
                .fold(all, |draft, name| draft.with(name, &self.allowed));
            drafts.push(all);
        }
        Probe {
            id: "path-headers",
            what: "the denied path, with headers that say it is the allowed one",
            advice: "Set the headers by which keyward is told method and path yourself, whatever \
                     the client sends.",
            expect: Expect::Refused,
            cases: self.cases(drafts),
            untested: denied.is_none().then(|| "needs --denied-path".to_owned()),
        }
    }

    fn methods(&mut self) -> Probe {
        let methods = ["HEAD", "OPTIONS", "TRACE", "get", "PROPFIND", "KEYWARD"];
        let mut drafts = methods
            .map(|method| {
                self.plain()
                    .method(method)
                    .shown(&format!("{method} without a key"))
            })
            .to_vec();
        let preflight = self
            .plain()
            .method("OPTIONS")
            .with("Origin", "https://other.test");
        let preflight = preflight.with("Access-Control-Request-Method", "GET");
        drafts.push(preflight.shown("OPTIONS, as a browser asks, without a key"));
        drafts.push(
            self.plain()
                .method("OPTIONS")
                .to("*")
                .shown("OPTIONS * without a key"),
        );
        for name in METHOD_HEADERS {
            let draft = self.plain().with(name, "OPTIONS");
            drafts.push(draft.shown(&format!("{name}: OPTIONS without a key")));
        }
        Probe {
            id: "methods",
            what: "other methods without a credential",
            advice: "Ask keyward about every method. Where browsers need OPTIONS without a key, let \
                     the gateway answer it.",
            expect: Expect::Refused,
            cases: self.cases(drafts),
            untested: None,
        }
    }

    fn connect(&mut self) -> Probe {
        let host = self.authority.clone();
        let drafts = [
            self.plain()
                .method("CONNECT")
                .to(&host)
                .shown("CONNECT without a key"),
            self.keyed()
                .method("CONNECT")
                .to(&host)
                .shown("CONNECT with the key"),
            self.plain()
                .to("http://127.0.0.1/")
                .shown("GET http://127.0.0.1/ without a key"),
        ];
        Probe {
            id: "tunnel",
            what: "the gateway as a proxy to elsewhere",
            advice: "Refuse CONNECT, and switch forward proxying off.",
            expect: Expect::Closed,
            cases: self.cases(drafts),
            untested: None,
        }
    }

    fn credential_passed(&mut self) -> Probe {
        let bearer = Zeroizing::new(format!("Bearer {}", self.credential.as_str()));
        let drafts = [
            self.keyed().shown(&self.header.clone()),
            self.plain()
                .with("Authorization", &bearer)
                .shown("Authorization"),
        ];
        Probe {
            id: "credential",
            what: "whether the upstream is shown the credential",
            advice: "Take both credential headers away once keyward has been asked: an upstream \
                     that has the key can use it, and log it.",
            expect: Expect::Stripped,
            cases: self.cases(drafts),
            untested: None,
        }
    }

    fn overrides_passed(&mut self) -> Probe {
        let forged = self.forged();
        let path = format!("/{forged}");
        let drafts: Vec<_> = ["X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override"]
            .iter()
            .map(|name| self.keyed().with(name, &path).shown(name))
            .collect();
        Probe {
            id: "overrides",
            what: "headers by which some frameworks replace path or method",
            advice: "Take them away if your upstream obeys them (IIS, Symfony, Rails and Express \
                     can): keyward did not decide on what they say.",
            expect: Expect::Stripped,
            cases: self.cases(drafts),
            untested: None,
        }
    }

    fn upgrade(&mut self) -> Probe {
        let h2c = self.keyed().with("Connection", "Upgrade, HTTP2-Settings");
        let h2c = h2c
            .with("Upgrade", "h2c")
            .with("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA");
        Probe {
            id: "h2c-upgrade",
            what: "an upgrade to HTTP/2, behind which nothing would be decided",
            advice: "Take `Upgrade` away unless it is `websocket`, if your upstream knows h2c: what \
                     comes behind the upgrade no gateway asks about.",
            expect: Expect::Stripped,
            cases: self.cases([h2c.shown("Upgrade")]),
            untested: None,
        }
    }

    fn check_service(&mut self) -> Probe {
        let (allowed, host) = (self.allowed.clone(), self.authority.clone());
        let envoy = format!("/check/envoy{allowed}");
        let paths = [
            "/check/forward",
            "/check/nginx",
            &*envoy,
            "/metrics",
            "/readyz",
            "/keyward-check",
            "/_keyward",
            "/keyward/check/forward",
            "/keyward/metrics",
        ];
        let mut drafts = Vec::new();
        for path in paths {
            drafts.push(
                self.plain()
                    .to(path)
                    .shown(&format!("{path} without a key")),
            );
            let draft = self.keyed().to(path).shown(&format!("{path} with the key"));
            let draft = draft
                .with("X-Forwarded-Method", "GET")
                .with("X-Forwarded-Host", &host);
            let draft = draft
                .with("X-Forwarded-Uri", &allowed)
                .with("X-Original-Method", "GET");
            drafts.push(draft.with("X-Original-URI", &allowed));
        }
        let body = "{\"subject\":{\"type\":\"-\",\"id\":\"-\"},\"action\":{\"name\":\"-\"},\
                    \"resource\":{\"type\":\"-\",\"id\":\"-\"}}";
        let authzen = self.plain().method("POST").to("/access/v1/evaluation");
        let mut authzen = authzen
            .with("Content-Type", "application/json")
            .shown("AuthZEN");
        authzen = authzen.with("Content-Length", &body.len().to_string());
        body.clone_into(&mut authzen.body);
        drafts.push(authzen);
        Probe {
            id: "check-service",
            what: "keyward itself by way of the gateway",
            advice: "Let clients reach nothing of keyward: no location but an internal one leads \
                     there.",
            expect: Expect::NotKeyward,
            cases: self.cases(drafts),
            untested: None,
        }
    }
}
