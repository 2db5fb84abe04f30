//! A text is a credential if the published expression and the checksum say so, and only then.

#![no_main]

use std::sync::LazyLock;

use keyward::credential::{CREDENTIAL_REGEX, Credential};
use libfuzzer_sys::fuzz_target;
use regex::Regex;

static REGEX: LazyLock<Regex> = LazyLock::new(|| Regex::new(CREDENTIAL_REGEX).unwrap());

fuzz_target!(|text: &str| {
    let text = keyward_fuzz::credential(text);
    let is_match = REGEX.find(&text).is_some_and(|it| it.as_str() == text);
    let checksum = |text: &str| {
        text.rsplit_once('_')
            .map(|(it, _)| keyward_fuzz::checksum(it))
    };
    let is_right = is_match && checksum(&text).is_some_and(|it| text.ends_with(&it));
    let parsed = Credential::parse(&text);
    assert_eq!(parsed.is_ok(), is_right);
    let secret = text.split('_').nth(3).unwrap_or_default();
    assert!(parsed.is_err() || !format!("{parsed:?}").contains(secret));
});
