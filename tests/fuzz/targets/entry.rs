//! An entry is exactly the bytes that it encodes to, and no bytes are two entries.

#![no_main]

use keyward::log::Entry;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(entry) = Entry::decode(bytes) else {
        return;
    };
    assert_eq!(entry.encode(), bytes);
    assert!(Entry::decode(&[bytes, &[0]].concat()).is_err());
    assert!(Entry::decode(&bytes[..bytes.len() - 1]).is_err());
});
