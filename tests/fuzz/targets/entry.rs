//! An entry is exactly the bytes that it encodes to, or has been encoded to in an earlier layout,
//! and no bytes are two entries.

#![no_main]

use keyward::log::Entry;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(entry) = Entry::decode(bytes) else {
        return;
    };
    let encoded = entry.encode();
    // The layouts of today; the first one of a decision has another first byte.
    let is_earlier = bytes.starts_with(&[0x8c, 0x02, 0x01]);
    assert_eq!(encoded == bytes, !is_earlier);
    assert_eq!(Entry::decode(&encoded).as_ref(), Ok(&entry));
    assert!(Entry::decode(&[bytes, &[0]].concat()).is_err());
    assert!(Entry::decode(&bytes[..bytes.len() - 1]).is_err());
});
