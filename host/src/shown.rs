//! A stranger's text as an error shows it.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_a_text_without_its_sting() {
        assert_eq!(shown("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(shown(&"é".repeat(65)), format!("{}…", "é".repeat(64)));
        assert_eq!(shown(&"é".repeat(64)), "é".repeat(64));
    }
}
