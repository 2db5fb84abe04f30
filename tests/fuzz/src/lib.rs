//! What the targets share: the formats as an oracle writes them, independently of the product, and
//! the few ways to put into an input what a fuzzer does not find by itself.

use std::path::PathBuf;

use keyward::decision::trace::{Answer, Question};
use keyward::policy::Answers;

/// How deep the toml parser lets inline tables and the parts of a key nest, almost.
const NESTED_TIMES: usize = 79;
/// Half of what a thread gets by default: optimised frames are smaller than those of a debug build.
const STACK_BYTES: usize = 1 << 20;
/// The most dots of a key in a configuration, one less than its parts.
const CONFIG_DOTS: usize = 15;

/// A text in which control characters, which no format here takes, stand for deep nesting: 1 for
/// lists, 2 for a dotted key, 3 and 4 for tables with dotted keys.
pub fn nested(text: &str) -> String {
    let value = |open: &str, close| [open.repeat(NESTED_TIMES), close].concat();
    let tables = |dots| format!("{{{}a=", "a.".repeat(dots));
    let closed = format!("1{}", "}".repeat(NESTED_TIMES));
    text.replace('\u{1}', &value("[", "]".repeat(NESTED_TIMES)))
        .replace('\u{2}', &"a.".repeat(CONFIG_DOTS))
        .replace('\u{3}', &value(&tables(CONFIG_DOTS - 1), closed.clone()))
        .replace('\u{4}', &value(&tables(NESTED_TIMES), closed))
}

/// Runs on a thread with little stack, so that what recurses as deep as its input overflows.
pub fn on_small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    thread.spawn(work).unwrap().join().unwrap()
}

/// JSON as RFC 8785 writes it.
pub fn canonical(json: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    serde_json_canonicalizer::to_string(&value).unwrap()
}

/// A path of which every byte but the slashes is percent-encoded.
pub fn percent_encoded(path: &str) -> String {
    let encoded = |byte| match byte {
        b'/' => "/".to_owned(),
        byte => format!("%{byte:02x}"),
    };
    path.bytes().map(encoded).collect()
}

/// The checksum of a credential: the CRC-32 of what is before it, in base62.
pub fn checksum(checked: &str) -> String {
    const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let crc = crc32fast::hash(checked.as_bytes());
    let digit = |place| char::from(DIGITS[(crc / 62_u32.pow(place) % 62) as usize]);
    (0..6).rev().map(digit).collect()
}

/// A credential in which `~` stands for the right checksum of what is before it.
pub fn credential(text: &str) -> String {
    match text.split_once('~') {
        Some((checked, rest)) => format!("{checked}_{}{rest}", checksum(checked)),
        None => text.to_owned(),
    }
}

/// The header of a log's first segment.
pub fn header(origin: &str) -> Vec<u8> {
    let mut bytes = b"KWLOG\xff\xfe\n\x00\x01".to_vec();
    bytes.extend((origin.len() as u16).to_be_bytes());
    bytes.extend(0_u64.to_be_bytes());
    bytes.extend(SALT);
    bytes.extend(origin.as_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

/// What each checksum of the segments made here starts from.
const SALT: [u8; 4] = [0; 4];

/// An entry as it stands in a segment.
pub fn frame(index: u64, payload: &[u8]) -> Vec<u8> {
    let size = (payload.len() as u32).to_be_bytes();
    let checked = [&size, &index.to_be_bytes()[..]].concat();
    let crc = crc32fast::hash(&[&SALT, &checked[..], payload].concat()).to_be_bytes();
    [b"\xffKW\xfe", &checked[..], &crc, payload].concat()
}

/// A segment: the input itself when it begins like one; else a whole header and, for each part
/// between `|`, a whole frame, one with a flipped bit (`~`), or the bytes as they are (`!`).
pub fn segment(input: &[u8]) -> Vec<u8> {
    if input.starts_with(b"KWLOG") {
        return input.to_vec();
    }
    let part = |(index, part): (usize, &[u8])| match part {
        [b'!', bytes @ ..] => bytes.to_vec(),
        [b'~', at, payload @ ..] => {
            let mut frame = frame(index as u64, payload);
            let at = usize::from(*at) % (frame.len() * 8);
            frame[at / 8] ^= 1 << (at % 8);
            frame
        }
        payload => frame(index as u64, payload),
    };
    let parts = input.split(|byte| *byte == b'|').enumerate();
    [header("fuzz"), parts.flat_map(part).collect()].concat()
}

/// A log folder of one segment, the same for each input of a process.
pub fn log_folder(segment: &[u8]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("keyward-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("wal")).unwrap();
    std::fs::write(folder.join("wal").join(format!("{:020}.wal", 0)), segment).unwrap();
    folder
}

/// Answers every question of a policy with nothing.
pub struct Nothing;

impl Answers for Nothing {
    fn answer(&mut self, _: &Question) -> Result<Answer, String> {
        Ok(Answer::Absent)
    }
}
