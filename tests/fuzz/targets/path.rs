//! A canonical path has one reading: no two servers can see two paths in it.

#![no_main]

use keyward::route::path::{CanonicalPath, PATH_MAX_BYTES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|target: &[u8]| {
    let Ok(path) = CanonicalPath::parse_bytes(target) else {
        return;
    };
    let text = path.text();
    let is_dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    assert!(text.starts_with('/') && !text.contains("//") && !text.split('/').any(is_dots));
    assert!(!text.contains(|it: char| it == '\\' || it.is_control()));
    assert_eq!(path.has_parameters(), text.contains(';'));
    let twice = CanonicalPath::parse(&text.replace('?', "%3f"));
    assert!(twice.is_err() || twice.as_ref() == Ok(&path));
    let encoded = keyward_fuzz::percent_encoded(text);
    assert!(encoded.len() > PATH_MAX_BYTES || CanonicalPath::parse(&encoded) == Ok(path));
});
