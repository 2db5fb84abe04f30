//! A line is a request or an error, and neither shows a secret that stood where it should not.

#![no_main]

use keyward::request::{AccessRequest, CREDENTIAL_HEADERS};
use keyward::timestamp::Timestamp;
use libfuzzer_sys::fuzz_target;

/// What `$` stands for in an input: as long as the secret of a credential.
const SECRET: &str = "0123456789abcdefghijklmnopqrstuv";

fuzz_target!(|line: &str| {
    let line = line.replace('$', SECRET);
    let shown = match AccessRequest::from_json(&line, Timestamp::from_millis(0)) {
        Err(error) => format!("{error} {error:?}"),
        Ok(request) => {
            assert!(
                CREDENTIAL_HEADERS
                    .iter()
                    .all(|it| request.header(it).is_empty())
            );
            assert!(
                !request
                    .method()
                    .contains(|it: char| it.is_ascii_lowercase())
            );
            assert!(!request.host().contains(|it: char| it.is_ascii_uppercase()));
            format!("{:?}", request.presented())
        }
    };
    assert!(!shown.to_lowercase().contains(SECRET), "{shown}");
});
