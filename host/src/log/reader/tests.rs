//! Reading: what is not a log says so, and a log can be read while it is written.

use super::super::tests::{ORIGIN, Test, put_blob};
use super::*;

#[test]
fn what_is_not_a_log_says_what_it_is() {
    let test = Test::new();
    let folder = test.folder();
    let open = || LogReader::open(&folder);
    assert!(matches!(open(), Err(LogReadError::Missing)));
    fs::create_dir(&folder).unwrap();
    assert!(matches!(open(), Err(LogReadError::Empty)));
    fs::write(folder.join("holiday.jpg"), "").unwrap();
    assert!(matches!(open(), Err(LogReadError::NotALog)));
    fs::create_dir(folder.join(WAL_FOLDER)).unwrap();
    assert!(matches!(open(), Err(LogReadError::NoSegments)));
    fs::remove_dir(folder.join(WAL_FOLDER)).unwrap();
    fs::write(folder.join(WAL_FOLDER), "").unwrap();
    assert!(matches!(open(), Err(LogReadError::Io { .. })));
    let file = folder.join("holiday.jpg");
    let error = LogReader::open(&file).unwrap_err();
    assert!(matches!(error, LogReadError::Io { .. }));
}

#[test]
fn a_log_is_read_while_it_is_written() {
    let mut test = Test::new();
    test.options.segment_max_bytes = 200;
    let log = test.open().unwrap();
    let reader = LogReader::open(&test.folder()).unwrap();
    assert_eq!(reader.origin(), ORIGIN);
    for count in 1..30_usize {
        // Begun before the entry, read after it: what was there at the beginning or more.
        let entries = reader.entries();
        log.append(format!("{count}").as_bytes()).unwrap();
        let read: Vec<_> = entries.map(Result::unwrap).collect();
        assert!(
            (count..=count + 1).contains(&read.len()),
            "{} of {count}",
            read.len()
        );
        for (index, payload) in read.into_iter().skip(1) {
            assert_eq!(payload, index.to_string().into_bytes());
        }
    }
}

#[test]
fn threads_that_read_see_a_beginning_of_what_is_written() {
    let mut test = Test::new();
    test.options.segment_max_bytes = 3000;
    let log = test.open().unwrap();
    let reader = LogReader::open(&test.folder()).unwrap();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| read_until(&reader, 2000)))
            .collect();
        for count in 1..=2000 {
            log.append(format!("{count}").as_bytes()).unwrap();
        }
        for thread in readers {
            thread.join().unwrap();
        }
    });
}

/// Reads again and again until the entry of an index is there.
fn read_until(reader: &LogReader, last: u64) {
    let mut seen = 0;
    while seen <= last {
        let mut count = 0;
        for entry in reader.entries() {
            let (index, payload) = entry.unwrap();
            assert_eq!(index, count);
            assert!(index == 0 || payload == index.to_string().into_bytes());
            count += 1;
        }
        assert!(count >= seen);
        seen = count;
    }
}

#[test]
fn a_torn_tail_is_told_at_the_end_and_is_no_error() {
    let test = Test::new();
    let log = test.open().unwrap();
    log.append(b"one").unwrap();
    drop(log);
    let path = test.folder().join(WAL_FOLDER).join(segment::file_name(0));
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole[..], b"half an entry"].concat()).unwrap();
    let reader = LogReader::open(&test.folder()).unwrap();
    let mut entries = reader.entries();
    assert_eq!(reader.torn_tail(), None);
    assert_eq!(entries.by_ref().map(Result::unwrap).count(), 2);
    let torn = TornTail {
        segment: 0,
        offset: whole.len() as u64,
        bytes: 13,
    };
    assert_eq!(reader.torn_tail(), Some(torn));
    // Nothing is repaired, and the end stays the end.
    assert!(entries.next().is_none());
    assert_eq!(reader.torn_tail(), Some(torn));
    assert_eq!(fs::read(&path).unwrap().len(), whole.len() + 13);
    fs::write(&path, whole).unwrap();
    assert_eq!((reader.entries().count(), reader.torn_tail()), (2, None));
}

#[test]
fn an_error_is_the_last_thing_that_is_read() {
    let mut test = Test::new();
    test.options.segment_max_bytes = 1;
    let log = test.open().unwrap();
    for text in ["one", "two", "three"] {
        log.append(text.as_bytes()).unwrap();
    }
    drop(log);
    let path = test.folder().join(WAL_FOLDER).join(segment::file_name(2));
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let reader = LogReader::open(&test.folder()).unwrap();
    let mut entries = reader.entries();
    assert_eq!(entries.by_ref().take(2).filter(Result::is_ok).count(), 2);
    assert!(matches!(
        entries.next(),
        Some(Err(LogReadError::Torn { .. }))
    ));
    assert!(entries.next().is_none());
}

#[test]
fn a_blob_is_verified_and_named_when_it_is_not_what_it_should_be() {
    let test = Test::new();
    let log = test.open().unwrap();
    let digest = put_blob(&log, b"blob").unwrap();
    let reader = LogReader::open(&test.folder()).unwrap();
    assert_eq!(reader.blob(digest).unwrap(), b"blob");
    let name = digest.to_string();
    let path = test
        .folder()
        .join("blob/sha256")
        .join(name.get(..2).unwrap())
        .join(&name);
    fs::write(&path, "blot").unwrap();
    assert!(
        reader
            .blob(digest)
            .unwrap_err()
            .to_string()
            .starts_with(&format!("blob `{name}`"))
    );
    fs::remove_file(&path).unwrap();
    assert!(matches!(
        reader.blob(digest),
        Err(LogReadError::Blob(BlobError::Missing(_)))
    ));
}
