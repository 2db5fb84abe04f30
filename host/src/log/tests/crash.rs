//! Crashes and power cuts, at every place they can happen; and damage that is neither.

use std::fs;

use super::*;

/// A log with one segment of three entries behind the boot: where each of the four ends, and all
/// bytes.
fn written(test: &Test) -> (Vec<usize>, Vec<u8>) {
    let log = test.open().unwrap();
    let size = || usize::try_from(test.segment(0).metadata().unwrap().len()).unwrap();
    let mut ends = vec![size()];
    for text in ["one", "two, which is longer", "3"] {
        log.append(text.as_bytes()).unwrap();
        ends.push(size());
    }
    drop(log);
    (ends, fs::read(test.segment(0)).unwrap())
}

#[test]
fn a_cut_at_any_byte_loses_no_whole_entry_and_is_recorded() {
    let test = Test::new();
    let (ends, bytes) = written(&test);
    let header = segment::Header {
        origin: ORIGIN.to_owned(),
        first_index: 0,
        salt: 0,
    }
    .encode()
    .len();
    let all = test.entries();
    for cut in 0..=bytes.len() {
        fs::write(test.segment(0), &bytes[..cut]).unwrap();
        if cut < header {
            assert!(
                matches!(
                    test.open(),
                    Err(LogError::Read(LogReadError::Segment { .. }))
                ),
                "{cut}"
            );
            continue;
        }
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let dropped = cut - if whole == 0 { header } else { ends[whole - 1] };
        let log = test.open().unwrap();
        let recovered = usize::from(dropped > 0);
        let index = log.append(b"next").unwrap().index();
        assert_eq!(index, (whole + recovered + 1) as u64, "cut at {cut}");
        drop(log);
        let entries = test.entries();
        assert_eq!(entries[..whole], all[..whole], "cut at {cut}");
        assert_eq!(entries.last().unwrap(), b"next");
        let expected = Recovery {
            time: now(),
            dropped_bytes: dropped as u64,
            segment: 0,
        };
        assert_eq!(
            recoveries(&entries),
            vec![expected; recovered],
            "cut at {cut}"
        );
    }
}

#[test]
fn a_cut_between_the_steps_of_a_recovery_is_recovered_from() {
    let test = Test::new();
    let (ends, bytes) = written(&test);
    let torn = ends[2] + 5;
    fs::write(test.segment(0), &bytes[..torn]).unwrap();
    drop(test.open().unwrap());
    let recovered = fs::read(test.segment(0)).unwrap();
    // The recovery is written over the torn entry from its start; the crash comes after `done`
    // bytes.
    for done in 0..60 {
        let mut half = bytes[..torn].to_vec();
        half.resize(torn.max(ends[2] + done), 0);
        half[ends[2]..ends[2] + done].copy_from_slice(&recovered[ends[2]..ends[2] + done]);
        fs::write(test.segment(0), &half).unwrap();
        drop(test.open().unwrap());
        let entries = test.entries();
        assert_eq!(entries[1], b"one");
        assert!(!recoveries(&entries).is_empty(), "after {done} bytes");
    }
}

#[test]
fn a_flipped_bit_never_gives_another_entry() {
    let test = Test::new();
    let (ends, bytes) = written(&test);
    let all = test.entries();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(test.segment(0), &flipped).unwrap();
        let reader = LogReader::open(&test.folder());
        let entries = reader.iter().flat_map(LogReader::entries);
        let read: Vec<_> = entries.map_while(Result::ok).collect();
        assert!(read.len() < all.len(), "bit {bit}");
        for (index, payload) in read {
            assert_eq!(payload, all[usize::try_from(index).unwrap()], "bit {bit}");
        }
        // Only what could be the end of a crash is dropped; everything else is left alone.
        let last = bit / 8 >= ends[2];
        assert_eq!(test.open().map(drop).is_ok(), last, "bit {bit}");
        assert!(last || fs::read(test.segment(0)).unwrap() == flipped);
    }
}

/// A generator of the same numbers everywhere (Knuth's MMIX constants).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn byte(&mut self) -> u8 {
        self.below(256).to_le_bytes()[0]
    }
}

/// Runs of hosts that each end with a power cut: of the last segment stays what is durable, any
/// part of what is not, and noise. What a durable receipt was given for is there at the end of it
/// all.
#[test]
fn power_cuts_lose_nothing_that_was_called_durable() {
    for seed in 0..60 {
        let mut numbers = Numbers(seed);
        let mut test = Test::new();
        test.options.segment_max_bytes = 300 + numbers.below(600);
        let mut promised = Vec::new();
        for host in 0..6 {
            test.storage = FaultyStorage::default();
            let log = test
                .open()
                .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            for _ in 0..numbers.below(12) {
                let payload = vec![b'a' + host; 1 + usize::try_from(numbers.below(90)).unwrap()];
                if numbers.below(3) == 0 {
                    promised.push((log.append_durable(&payload).unwrap().index(), payload));
                } else {
                    assert_eq!(
                        log.append(&payload).unwrap().durability(),
                        Durability::Written
                    );
                }
            }
            let last = *reader::list(&test.folder()).unwrap().last().unwrap();
            let path = test.segment(last);
            // As it is at the moment of the cut, before the host's end makes more of it durable.
            let (bytes, durable) = (fs::read(&path).unwrap(), test.storage.durable_bytes(&path));
            drop(log);
            fs::write(&path, cut(&bytes, durable, &mut numbers)).unwrap();
        }
        drop(test.open().unwrap());
        let entries = test.entries();
        for (index, payload) in promised {
            assert_eq!(
                entries[usize::try_from(index).unwrap()],
                payload,
                "seed {seed}"
            );
        }
    }
}

/// What a power cut leaves of a file.
fn cut(bytes: &[u8], durable: u64, numbers: &mut Numbers) -> Vec<u8> {
    let durable = usize::try_from(durable).unwrap();
    let open = (bytes.len() - durable) as u64;
    let kept = durable + usize::try_from(numbers.below(open + 1)).unwrap();
    let mut left = bytes[..kept].to_vec();
    match numbers.below(3) {
        0 => {}
        1 => left.resize(bytes.len(), 0),
        _ => left.extend((kept..bytes.len()).map(|_| numbers.byte())),
    }
    left
}

/// Three segments of some entries each.
fn three_segments() -> Test {
    let mut test = Test::new();
    test.options.segment_max_bytes = 250;
    let log = test.open().unwrap();
    while reader::list(&test.folder()).unwrap().len() < 3 {
        log.append(&[b'x'; 40]).unwrap();
    }
    drop(log);
    test
}

#[test]
fn what_does_not_add_up_is_refused_and_left_alone() {
    type Damage = fn(&Test, &[u64]) -> std::io::Result<()>;
    let cases: [(&str, Damage, &str); 8] = [
        (
            "first missing",
            |t, s| fs::remove_file(t.segment(s[0])),
            "no segment begins with entry 0; restore",
        ),
        (
            "second missing",
            |t, s| fs::remove_file(t.segment(s[1])),
            "no segment begins with",
        ),
        (
            "second cut off",
            |t, s| {
                let bytes = fs::read(t.segment(s[1]))?;
                fs::write(t.segment(s[1]), &bytes[..bytes.len() - 1])
            },
            "is cut off at byte",
        ),
        (
            "second empty",
            |t, s| fs::write(t.segment(s[1]), ""),
            "not a segment of a keyward log",
        ),
        (
            "third renamed",
            |t, s| fs::rename(t.segment(s[2]), t.segment(s[2] + 1)),
            "no segment begins with",
        ),
        (
            "second under the name of the third",
            |t, s| fs::copy(t.segment(s[1]), t.segment(s[2])).map(drop),
            "it was renamed; give it its name back",
        ),
        (
            "another log's",
            |t, s| {
                let origin = "keyward.example/other".to_owned();
                let header = segment::Header {
                    origin,
                    first_index: s[2],
                    salt: 0,
                };
                fs::write(t.segment(s[2]), header.encode())
            },
            "belongs to the log `keyward.example/other`, not to `keyward.example/test`",
        ),
        (
            "a foreign name",
            |t, _| fs::write(t.folder().join("wal/copy.wal"), ""),
            "copy.wal` is not the name of a segment",
        ),
    ];
    for (name, damage, message) in cases {
        let test = three_segments();
        let segments = reader::list(&test.folder()).unwrap();
        damage(&test, &segments).unwrap();
        let error = chain(&test.open().unwrap_err());
        assert!(error.contains(message), "{name}: {error}");
        // Twice, because nothing was repaired.
        assert_eq!(chain(&test.open().unwrap_err()), error, "{name}");
    }
}

#[test]
fn other_files_are_left_alone_and_half_written_ones_deleted() {
    let test = three_segments();
    let wal = test.folder().join("wal");
    fs::write(wal.join("notes.txt"), "mine").unwrap();
    fs::write(wal.join("9.tmp"), "half").unwrap();
    drop(test.open().unwrap());
    assert!(wal.join("notes.txt").exists() && !wal.join("9.tmp").exists());
}
