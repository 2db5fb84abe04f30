//! What a log gives back is what stands in its file, frame by frame, and the rest is accounted for.

#![no_main]

use keyward::log::LogReader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let segment = keyward_fuzz::segment(input);
    let Ok(reader) = LogReader::open(&keyward_fuzz::log_folder(&segment)) else {
        return;
    };
    let entries: Vec<_> = reader.entries().collect();
    let mut read = keyward_fuzz::header(reader.origin());
    for (index, payload) in entries.iter().flatten() {
        read.extend(keyward_fuzz::frame(*index, payload));
    }
    assert!(segment.starts_with(&read));
    let rest = reader.torn_tail().map_or(0, |tail| tail.bytes as usize);
    assert!(entries.iter().any(Result::is_err) || read.len() + rest == segment.len());
});
