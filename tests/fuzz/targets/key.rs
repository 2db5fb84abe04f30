//! A key that is read is the same key after every way of writing it.

#![no_main]

use keyward::key::KeyRecord;
use keyward::key::json::{CheckedKey, KeyOptions, read_keys, read_toml};
use libfuzzer_sys::fuzz_target;

const OPTIONS: KeyOptions = KeyOptions {
    allow_any_network: true,
};

/// A file that begins with `#`, a comment, is TOML; any other is JSON Lines.
fn read(text: &str) -> Vec<CheckedKey> {
    let read = match text.strip_prefix('#') {
        Some(_) => read_toml(text, OPTIONS),
        None => read_keys(text.as_bytes(), OPTIONS),
    };
    read.unwrap_or_default()
}

fuzz_target!(|text: &str| {
    let text = keyward_fuzz::nested(text);
    let keys = keyward_fuzz::on_small_stack(move || read(&text));
    for key in keys {
        let json = key.record().to_canonical_json();
        assert_eq!(
            KeyRecord::from_canonical_json(&json).as_ref(),
            Ok(key.record())
        );
        assert_eq!(keyward_fuzz::canonical(&json), json);
        let line = serde_json::to_string(&key.to_file()).unwrap();
        assert_eq!(read_keys(line.as_bytes(), OPTIONS), Ok(vec![key]));
    }
});
