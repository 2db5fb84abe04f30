//! What a log gives back is what stands in its file, frame by frame, and the rest is accounted for.

#![no_main]

use keyward::log::LogReader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let segment = keyward_fuzz::segment(input);
    let folder = keyward_fuzz::log_folder(&segment);
    let Ok(reader) = LogReader::open(&folder) else {
        return;
    };
    let mut read = keyward_fuzz::header(reader.origin());
    let mut failed = false;
    for entry in reader.entries() {
        match entry {
            Ok((index, payload)) => read.extend(keyward_fuzz::frame(index, &payload)),
            Err(_) => failed = true,
        }
    }
    assert!(segment.starts_with(&read));
    let torn_bytes = reader.torn_tail().map_or(0, |tail| tail.bytes);
    assert!(failed || read.len() as u64 + torn_bytes == segment.len() as u64);
});
