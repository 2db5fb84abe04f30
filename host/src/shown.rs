//! A stranger's text as an error shows it.

/// What credentials begin with.
const CREDENTIAL_PREFIXES: [&str; 2] = ["kw_live_", "kw_test_"];
/// How long each of them is, in characters.
#[cfg(feature = "serve")]
const CREDENTIAL_PREFIX_CHARS: usize = 8;

/// The most characters of a text that stand in an error.
pub(crate) const SHOWN_MAX_CHARS: usize = 64;

/// A text, escaped so that it cannot write over a terminal, and cut short.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(SHOWN_MAX_CHARS)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN_MAX_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// Whether a character breaks what is printed or makes it read otherwise than it is: a control
/// character, a line or paragraph separator, what reorders the text around it (Unicode UAX #9), and
/// what is not seen.
pub(crate) fn is_misleading(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{00ad}'
                | '\u{034f}'
                | '\u{0600}'..='\u{0605}'
                | '\u{061c}'
                | '\u{06dd}'
                | '\u{070f}'
                | '\u{115f}'..='\u{1160}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Whether a text holds what a credential begins with: one that was given in the wrong place would
/// be kept for ever.
pub(crate) fn holds_credential(text: &str) -> bool {
    CREDENTIAL_PREFIXES.iter().any(|it| text.contains(it))
}

/// A text in which every credential is cut off behind its beginning.
#[cfg(feature = "serve")]
pub(crate) fn without_credentials(text: &str) -> String {
    let mut rest = text;
    let mut shown = String::with_capacity(text.len());
    let next = |rest: &str| {
        CREDENTIAL_PREFIXES
            .iter()
            .filter_map(|it| rest.find(it))
            .min()
    };
    while let Some((before, found)) = next(rest).and_then(|at| rest.split_at_checked(at)) {
        let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
        let end = found
            .find(|character| !is_part(character))
            .unwrap_or(found.len());
        let (credential, after) = found.split_at_checked(end).unwrap_or((found, ""));
        shown.push_str(before);
        shown.extend(credential.chars().take(CREDENTIAL_PREFIX_CHARS));
        shown.push('…');
        rest = after;
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "serve")]
    #[test]
    fn shows_no_credential() {
        let key = "kw_live_k7Qp2mXw9LaR_0123456789abcdefghijABCDEFGHIJKL_abcdef";
        assert!(holds_credential(&format!("x{key}")) && !holds_credential("kw_alive"));
        for (text, expected) in [
            (key.to_owned(), "kw_live_…".to_owned()),
            (
                format!("a `{key}`, {key}."),
                "a `kw_live_…`, kw_live_….".to_owned(),
            ),
            ("kw_test_".to_owned(), "kw_test_…".to_owned()),
            ("é kw_ nothing".to_owned(), "é kw_ nothing".to_owned()),
        ] {
            assert_eq!(without_credentials(&text), expected);
        }
    }

    #[test]
    fn shows_a_text_without_its_sting() {
        assert_eq!(shown("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(shown(&"é".repeat(65)), format!("{}…", "é".repeat(64)));
        assert_eq!(shown(&"é".repeat(64)), "é".repeat(64));
    }
}
