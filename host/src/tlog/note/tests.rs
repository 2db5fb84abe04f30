//! The specification's example, and everything that is not a note.

use proptest::prelude::*;

use super::*;
use crate::tlog::key::Verifier;

/// The example of signed-note.
const EXAMPLE: &str = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tn\
                       agv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
const EXAMPLE_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

#[test]
fn the_example_of_the_specification() {
    let note = Note::parse(EXAMPLE.as_bytes()).unwrap();
    assert_eq!(note.text(), "This is an example message.\n");
    assert_eq!(note.to_string(), EXAMPLE);
    let [signature] = note.signatures() else {
        panic!("{note}");
    };
    assert_eq!(signature.name(), "example.com/foo");
    assert_eq!(signature.key_id(), 0x530d_903a);
    let key: Verifier = EXAMPLE_KEY.parse().unwrap();
    assert!(key.verifies(note.text().as_bytes(), signature.bytes()));
    assert!(!key.verifies(b"This is an example message.", signature.bytes()));
    assert!(!key.verifies(note.text().as_bytes(), &signature.bytes()[1..]));
}

#[test]
fn the_last_empty_line_ends_the_text() {
    let text = "a\n\nb\n\n\n— c AAAAAAA=\n";
    let note = Note::parse(text.as_bytes()).unwrap();
    assert_eq!(note.text(), "a\n\nb\n\n");
    assert_eq!(note.to_string(), text);
}

#[test]
fn what_is_not_a_note() {
    use NoteError::{Control, NoSignatures, Signature, Utf8};
    for (note, error) in [
        (&b""[..], NoSignatures),
        (b"a\n", NoSignatures),
        (b"a\n\n", NoSignatures),
        (b"a\n\xe2\x80\x94 b AAAAAAA=\n", NoSignatures),
        (b"a\n\n\xe2\x80\x94 b AAAAAAA=", Signature),
        (b"a\n\n- b AAAAAAA=\n", Signature),
        (b"a\n\n\xe2\x80\x94 AAAAAAA=\n", Signature),
        (b"a\n\n\xe2\x80\x94  AAAAAAA=\n", Signature),
        (b"a\n\n\xe2\x80\x94 b+c AAAAAAA=\n", Signature),
        (b"a\n\n\xe2\x80\x94 b\xc2\xa0c AAAAAAA=\n", Signature),
        (b"a\n\n\xe2\x80\x94 b AAAA AAA=\n", Signature),
        (b"a\n\n\xe2\x80\x94 b AAAAAAA\n", Signature),
        (b"a\n\n\xe2\x80\x94 b AAAAAA==\n", Signature), // no signature behind the key id
        (b"a\n\n\xe2\x80\x94 b AAAA\n", Signature),
        (b"a\r\n\n\xe2\x80\x94 b AAAAAAA=\n", Control(13)),
        (b"a\0\n\n\xe2\x80\x94 b AAAAAAA=\n", Control(0)),
        (b"a\xff\n\n\xe2\x80\x94 b AAAAAAA=\n", Utf8),
    ] {
        let shown = String::from_utf8_lossy(note);
        assert_eq!(Note::parse(note), Err(error), "{shown:?}");
    }
}

#[test]
fn a_note_has_limits() {
    let line = "— b AAAAAAA=\n";
    let most = format!("a\n\n{}", line.repeat(SIGNATURES_MAX));
    assert_eq!(
        Note::parse(most.as_bytes()).unwrap().signatures().len(),
        SIGNATURES_MAX
    );
    let error = Err(NoteError::TooManySignatures(SIGNATURES_MAX + 1));
    assert_eq!(Note::parse((most + line).as_bytes()), error);
    let large = vec![b'a'; NOTE_MAX_BYTES + 1];
    assert_eq!(
        Note::parse(&large),
        Err(NoteError::TooLarge(NOTE_MAX_BYTES + 1))
    );
}

#[test]
fn signature_lines_stand_alone() {
    let lines = "— b AAAAAAA=\n— c AAAAAAE=\n";
    let signatures = parse_signatures(lines.as_bytes()).unwrap();
    assert_eq!(signatures[1].to_string(), "— c AAAAAAE=");
    for lines in ["", "\n", "— b AAAAAAA=", "\n— b AAAAAAA=\n"] {
        let found = parse_signatures(lines.as_bytes());
        assert_eq!(found, Err(NoteError::Signature), "{lines:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>) {
        let _ = Note::parse(&bytes);
        let _ = parse_signatures(&bytes);
    }

    #[test]
    fn a_note_is_read_as_it_is_written(
        text in "([a-z \u{e9}]{0,9}\n){1,4}", name in "[^\\s+\u{0}-\u{1f}]{1,9}",
        bytes in prop::collection::vec(any::<u8>(), 5..99),
    ) {
        let line = format!("— {name} {}", encode_base64(bytes));
        let note = format!("{text}\n{line}\n{line}\n");
        prop_assert_eq!(Note::parse(note.as_bytes()).unwrap().to_string(), note);
    }

    /// Whatever is read is written again as it was, so that no two notes are the same.
    #[test]
    fn a_changed_example_is_another_note(at in 0..EXAMPLE.len(), byte: u8) {
        let mut changed = EXAMPLE.as_bytes().to_vec();
        changed[at] = byte;
        if let Ok(note) = Note::parse(&changed) {
            prop_assert_eq!(note.to_string().into_bytes(), changed);
        }
    }
}
