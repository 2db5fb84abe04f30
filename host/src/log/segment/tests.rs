//! Frames, headers and every way in which a segment can be damaged.

use std::io::Read;

use super::*;
use crate::log::entry::Entry;
use crate::log::storage::faulty::SALT;

fn header() -> Header {
    Header {
        origin: "keyward.example/a".to_owned(),
        first_index: 7,
        salt: SALT,
    }
}

/// A segment with these payloads, from index 7 on.
fn segment(payloads: &[&[u8]]) -> Vec<u8> {
    let mut bytes = header().encode();
    for (index, payload) in (7..).zip(payloads) {
        encode_frame(SALT, index, payload, &mut bytes);
    }
    bytes
}

/// What a scan finds: the payloads, and how the segment ends or why it is refused.
fn scan(bytes: &[u8]) -> (Vec<Vec<u8>>, Result<Tail, String>) {
    scan_from(bytes, bytes.len() as u64)
}

fn scan_from(source: impl Read, length: u64) -> (Vec<Vec<u8>>, Result<Tail, String>) {
    let mut payloads = Vec::new();
    let mut scan = match Scan::begin(source, length) {
        Ok(scan) => scan,
        Err(error) => return (payloads, Err(error.to_string())),
    };
    assert_eq!(scan.header(), &header());
    let end = loop {
        match scan.next_entry() {
            Ok(Some(index)) => {
                assert_eq!(index, 7 + payloads.len() as u64);
                payloads.push(scan.payload().to_vec());
            }
            Ok(None) => break Ok(scan.tail()),
            Err(error) => break Err(error.to_string()),
        }
    };
    (payloads, end)
}

/// A reader that gives one byte at a time, and interrupts.
struct Trickle<'a>(&'a [u8], bool);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

#[test]
fn the_bytes_are_these_for_ever() {
    let bytes = Header {
        origin: "a".to_owned(),
        first_index: 7,
        salt: SALT,
    }
    .encode();
    assert_eq!(
        bytes[..25],
        *b"KWLOG\xff\xfe\n\0\x01\0\x01\0\0\0\0\0\0\0\x07\x5e\xed\x5a\x17a"
    );
    assert_eq!(bytes[25..], crc32fast::hash(&bytes[..25]).to_be_bytes());
    let mut frame = Vec::new();
    encode_frame(SALT, 258, b"abc", &mut frame);
    assert_eq!(frame[..16], *b"\xffKW\xfe\0\0\0\x03\0\0\0\0\0\0\x01\x02");
    let covered = b"\x5e\xed\x5a\x17\0\0\0\x03\0\0\0\0\0\0\x01\x02abc";
    assert_eq!(frame[16..20], crc32fast::hash(covered).to_be_bytes());
    assert_eq!(frame[20..], *b"abc");
}

#[test]
fn names_are_one_to_one_with_indexes() {
    for index in [0, 1, 70_000, u64::MAX] {
        assert_eq!(first_index_of(&file_name(index)), Some(index));
    }
    assert_eq!(file_name(42), "00000000000000000042.wal");
    for name in [
        "42.wal",
        "+0000000000000000042.wal",
        "99999999999999999999.wal",
        "wal",
        ".wal",
        "00000000000000000042.WAL",
        "00000000000000000042xwal",
        "00000000000000000042.wal.wal",
    ] {
        assert_eq!(first_index_of(name), None, "{name}");
    }
}

#[test]
fn entries_of_all_sizes_come_back_however_the_file_is_read() {
    let large = vec![0xff; ENTRY_MAX_BYTES];
    let payloads: Vec<&[u8]> = vec![b"a", &large, &large, b"b", &large, &large, &large, b"c"];
    let bytes = segment(&payloads);
    assert_eq!(
        scan(&bytes),
        (
            payloads.iter().map(|p| p.to_vec()).collect(),
            Ok(Tail::Clean)
        )
    );
    let bytes = segment(&payloads[..2]);
    let (read, tail) = scan_from(Trickle(&bytes, false), bytes.len() as u64);
    assert_eq!((read.len(), tail), (2, Ok(Tail::Clean)));
    assert_eq!(scan(&segment(&[])), (Vec::new(), Ok(Tail::Clean)));
}

#[test]
fn what_is_behind_the_length_is_not_read() {
    let bytes = segment(&[b"one", b"two"]);
    let first = segment(&[b"one"]).len() as u64;
    assert_eq!(
        scan_from(&bytes[..], first),
        (vec![b"one".to_vec()], Ok(Tail::Clean))
    );
    // A file that has become shorter ends where it ends.
    let (read, tail) = scan_from(&bytes[..], bytes.len() as u64 + 1000);
    assert_eq!((read.len(), tail), (2, Ok(Tail::Clean)));
}

#[test]
fn a_cut_anywhere_is_a_torn_tail_behind_the_whole_entries() {
    let whole = [&b"one"[..], b"", b"three and more"].map(|p| if p.is_empty() { b"2" } else { p });
    let ends: Vec<usize> = (0..=3).map(|n| segment(&whole[..n]).len()).collect();
    let bytes = segment(&whole);
    for cut in 0..=bytes.len() {
        let (payloads, end) = scan(&bytes[..cut]);
        let Some(survivors) = ends.iter().rposition(|end| *end <= cut) else {
            let expected = if cut < 8 {
                "not a segment"
            } else {
                "its header is damaged"
            };
            assert!(end.unwrap_err().starts_with(expected), "cut at {cut}");
            continue;
        };
        let offset = ends[survivors] as u64;
        let bytes = cut as u64 - offset;
        let tail = if bytes == 0 {
            Tail::Clean
        } else {
            Tail::Torn { offset, bytes }
        };
        assert_eq!((payloads.len(), end), (survivors, Ok(tail)), "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let bytes = segment(&[b"one", b"two", b"three"]);
    let header_bytes = segment(&[]).len();
    let last_frame = segment(&[b"one", b"two"]).len();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (payloads, end) = scan(&flipped);
        let original = [&b"one"[..], b"two", b"three"];
        assert!(
            payloads
                .iter()
                .zip(original)
                .all(|(read, written)| read == written),
            "bit {bit}"
        );
        match bit / 8 {
            byte if byte < header_bytes => assert!(end.is_err(), "bit {bit}"),
            // Nothing undamaged is behind it: no different from a crash.
            byte if byte >= last_frame => {
                let bytes = (bytes.len() - last_frame) as u64;
                assert_eq!(
                    end,
                    Ok(Tail::Torn {
                        offset: last_frame as u64,
                        bytes
                    }),
                    "bit {bit}"
                );
                assert_eq!(payloads.len(), 2);
            }
            _ => assert!(
                end.unwrap_err().contains("is damaged, and entry"),
                "bit {bit}"
            ),
        }
    }
}

#[test]
fn damage_names_its_place_and_the_next_undamaged_entry() {
    let mut bytes = segment(&[b"one", b"two", b"three", b"four"]);
    let second = segment(&[b"one"]).len();
    let third = segment(&[b"one", b"two"]).len();
    bytes[second..third + 5].fill(0);
    assert!(matches!(
        Scan::begin(&bytes[..], bytes.len() as u64).and_then(|mut scan| {
            scan.next_entry()?;
            scan.next_entry()
        }),
        Err(SegmentError::Corrupt { offset, index_of_next_valid: 10 }) if offset == second as u64
    ));
}

#[test]
fn zeros_and_noise_behind_the_last_entry_are_a_torn_tail() {
    let whole = segment(&[b"one"]);
    let offset = whole.len() as u64;
    for (name, tail) in [
        ("zeros", vec![0; 300_000]),
        ("ones", vec![0xff; 300_000]),
        ("beginnings of frames", FRAME_MAGIC.repeat(1000)),
        ("a frame of no bytes", frame(8, b"")),
        (
            "a frame that is too large",
            frame(8, &vec![0; ENTRY_MAX_BYTES + 1]),
        ),
    ] {
        let bytes = [&whole[..], &tail].concat();
        let expected = Tail::Torn {
            offset,
            bytes: tail.len() as u64,
        };
        assert_eq!(
            scan(&bytes),
            (vec![b"one".to_vec()], Ok(expected)),
            "{name}"
        );
    }
}

/// What a disk leaves that has written later sectors before earlier ones when the power is cut.
#[test]
fn entries_behind_a_sector_that_was_never_written_are_a_torn_tail() {
    let payloads: Vec<Vec<u8>> = (0..9).map(|number| vec![b'a' + number; 200]).collect();
    let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let whole = segment(&payloads);
    let first = segment(&[]).len() + 220;
    let with = |zeros: std::ops::Range<usize>, behind: &[u8]| {
        let mut bytes = [&whole[..], behind].concat();
        bytes[zeros].fill(0);
        scan(&bytes).1
    };
    for zeros in [512..1024, first..512, first..1024, 1024..1536] {
        assert!(matches!(with(zeros.clone(), b""), Ok(Tail::Torn { .. })));
        // What was there before a host began was durable.
        let boot = Entry::Boot(crate::log::boot(
            crate::log::LogOptions::default(),
            crate::timestamp::Timestamp::from_millis(0),
        ));
        assert!(with(zeros, &frame(16, &boot.encode())).is_err());
    }
    // Less than a sector: no disk does that.
    for zeros in [513..1024, 512..1023, first + 1..512, first..511, 600..1111] {
        assert!(with(zeros, b"").is_err());
    }
}

fn frame(index: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_frame(SALT, index, payload, &mut bytes);
    bytes
}

/// The search behind damage costs a checksum for each beginning of a frame; it is given up rather
/// than let the file say how long it takes.
#[test]
fn the_search_behind_damage_is_limited() {
    let begin = |index: u64| {
        let size = 0xffff_u32.to_be_bytes();
        [&FRAME_MAGIC[..], &size, &index.to_be_bytes()].concat()
    };
    let bytes = [segment(&[b"one"]), begin(9).repeat(50_000)].concat();
    assert!(scan(&bytes).1.unwrap_err().starts_with("damaged from byte"));
    // One that cannot come next costs nothing.
    let whole = segment(&[b"one"]);
    for index in [0, 8, 9 + 50_000, u64::MAX] {
        let tail = begin(index).repeat(50_000);
        let expected = Tail::Torn {
            offset: whole.len() as u64,
            bytes: tail.len() as u64,
        };
        assert_eq!(
            scan(&[&whole[..], &tail].concat()).1,
            Ok(expected),
            "{index}"
        );
    }
}

/// Whoever chooses a payload, 16 bytes of an IPv6 address among it, does not know the salt.
#[test]
fn a_payload_that_imitates_a_frame_is_no_frame() {
    let whole = segment(&[b"one"]);
    for salt in [0, 1, SALT ^ 1, SALT.swap_bytes(), u32::MAX] {
        let mut imitated = Vec::new();
        encode_frame(salt, 9, b"not an entry", &mut imitated);
        let torn = frame(8, &[b"a header ", &imitated[..], b" and more"].concat());
        let cut = torn.len() - 1;
        let expected = Tail::Torn {
            offset: whole.len() as u64,
            bytes: cut as u64,
        };
        let bytes = [&whole[..], &torn[..cut]].concat();
        assert_eq!(scan(&bytes).1, Ok(expected), "salt {salt:x}");
    }
}

/// As when a disk gives back the blocks of a deleted segment.
#[test]
fn frames_of_another_segment_behind_the_end_are_a_torn_tail() {
    let whole = segment(&[b"one"]);
    let mut stale = b"half a frame".to_vec();
    (8..12).for_each(|index| encode_frame(SALT ^ 1, index, b"stale", &mut stale));
    let expected = Tail::Torn {
        offset: whole.len() as u64,
        bytes: stale.len() as u64,
    };
    assert_eq!(scan(&[&whole[..], &stale].concat()).1, Ok(expected));
}

/// The indexes that an entry behind a damaged one can have: after it, and as many as there is room.
#[test]
fn only_later_entries_make_damage_of_a_torn_tail() {
    let whole = segment(&[b"one"]);
    let with = |index| [&whole[..], b"damage", &frame(index, b"x")].concat();
    // Behind entry 7 are 27 bytes: room for one of the smallest frames.
    for (index, corrupt) in [(0, false), (7, false), (8, false), (9, true), (10, false)] {
        assert_eq!(scan(&with(index)).1.is_err(), corrupt, "{index}");
    }
}

#[test]
fn an_undamaged_entry_out_of_order_is_refused() {
    for found in [0, 7, 9] {
        let bytes = [segment(&[b"one"]), frame(found, b"two")].concat();
        let expected = format!("entry {found} stands where entry 8 belongs");
        assert!(
            scan(&bytes).1.unwrap_err().starts_with(&expected),
            "{found}"
        );
    }
}

#[test]
fn what_is_not_a_segment_of_this_version_is_refused() {
    let with = |at: usize, new: &[u8]| {
        let mut bytes = segment(&[b"one"]);
        bytes[at..at + new.len()].copy_from_slice(new);
        bytes
    };
    for (bytes, message) in [
        (Vec::new(), "not a segment of a keyward log"),
        (
            b"SQLite format 3\0".to_vec(),
            "not a segment of a keyward log",
        ),
        (
            with(8, &[0, 2]),
            "of the unknown version 2; use a newer keyward",
        ),
        (
            with(10, &[0, 0]),
            "its header is damaged; restore the file from a copy",
        ),
        (
            with(10, &[0xff, 0xff]),
            "its header is damaged; restore the file from a copy",
        ),
        (
            with(24, b"K"),
            "its header is damaged; restore the file from a copy",
        ),
    ] {
        assert_eq!(scan(&bytes), (Vec::new(), Err(message.to_owned())));
    }
    let too_large = LENGTH_MAX_BYTES + 1;
    let found = scan_from(std::io::repeat(0), too_large).1.unwrap_err();
    assert!(found.starts_with("larger than 71368723 bytes"), "{found}");
}

#[test]
fn a_disk_that_cannot_be_read_is_not_taken_for_a_torn_tail() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(5))
        }
    }
    let bytes = segment(&[&[1_u8; 60_000][..]; 8]);
    let (half, _) = bytes.split_at(bytes.len() / 2);
    let (payloads, end) = scan_from(half.chain(Broken), bytes.len() as u64);
    assert!(payloads.len() < 8);
    assert!(end.unwrap_err().starts_with("it cannot be read"));
}
