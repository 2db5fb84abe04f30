//! What the texts of all formats are made of: base64, decimal numbers, and bytes shown in errors.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::digest::Digest;

/// Bytes as padded base64.
pub(super) fn encode_base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// The bytes of a padded base64 text; `None` when it is anything but what [`encode_base64`] makes.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// The hash that a line says in base64.
pub(super) fn decode_hash(line: &str) -> Option<Digest> {
    let bytes: [u8; 32] = decode_base64(line)?.try_into().ok()?;
    Some(Digest::from_bytes(bytes))
}

/// A number from ASCII decimal digits, without sign and without leading zeros.
pub(super) fn decode_decimal(text: &str) -> Option<u64> {
    let is_canonical = text == "0" || text.starts_with(|first| matches!(first, '1'..='9'));
    is_canonical.then(|| text.parse().ok()).flatten()
}

/// A stranger's text as an error shows it.
pub(super) fn shown(text: &[u8]) -> String {
    crate::shown::shown(&String::from_utf8_lossy(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_one_form() {
        for (text, number) in [
            ("0", Some(0)),
            ("10", Some(10)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("00", None),
            ("01", None),
            ("+1", None),
            ("-1", None),
            ("1 ", None),
            ("1_0", None),
            ("١", None),
        ] {
            assert_eq!(decode_decimal(text), number, "{text:?}");
        }
    }

    #[test]
    fn base64_has_one_form() {
        assert_eq!(decode_base64("AA=="), Some(vec![0]));
        for text in ["AA", "AA=", "AB==", "AA==\n", "A A=", "AA__", "AA===="] {
            assert_eq!(decode_base64(text), None, "{text:?}");
        }
        assert_eq!(decode_hash("AA=="), None);
    }

    #[test]
    fn a_shown_text_is_harmless() {
        assert_eq!(shown(b"a\x1b[2J\xff"), "a\\u{1b}[2J\u{fffd}");
        assert_eq!(shown(&[b'a'; 99]).chars().count(), 65);
    }
}
