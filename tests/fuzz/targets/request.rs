//! A line is a request or an error, and neither shows a secret that stood where it should not.

#![no_main]

use keyward::request::{AccessRequest, CREDENTIAL_HEADERS};
use keyward::timestamp::Timestamp;
use libfuzzer_sys::fuzz_target;

/// What `$` stands for in an input: as long as the secret of a credential.
const SECRET: &str = "0123456789abcdefghijklmnopqrstuv";

/// Whether what policies see of a request is in the form that they are promised.
fn is_normal(request: &AccessRequest) -> bool {
    !request
        .method()
        .contains(|it: char| it.is_ascii_lowercase())
        && !request.host().contains(|it: char| it.is_ascii_uppercase())
        && CREDENTIAL_HEADERS
            .iter()
            .all(|name| request.header(name).is_empty())
}

fuzz_target!(|line: &str| {
    let line = line.replace('$', SECRET);
    let shown = match AccessRequest::from_json(&line, Timestamp::from_millis(0)) {
        Err(error) => format!("{error} {error:?}"),
        Ok(request) => {
            assert!(is_normal(&request));
            format!("{:?}", request.presented())
        }
    };
    assert!(!shown.to_lowercase().contains(SECRET), "{shown}");
});
