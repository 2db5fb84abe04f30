//! What a person probably meant, for the errors of files that people write.

/// The least similarity, from 0 to 1, at which a name is worth suggesting.
const SIMILARITY_MIN: f64 = 0.75;
/// The most characters of a name that stand in an error.
const SHOWN_MAX_CHARS: usize = 64;

/// The known name that is nearest to one that is not known, if one is near.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The comparison is quadratic, and a name that long is no slip.
    if name.len() > SHOWN_MAX_CHARS {
        return None;
    }
    let name = name.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|it| (strsim::jaro_winkler(&name, it), it))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, it)| it)
}

/// The end of a message: `; did you mean `module`?`, or nothing.
pub(crate) fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| {
        format!("; did you mean `{nearest}`?")
    })
}

/// A text as an error shows it: escaped, so that it cannot write over a terminal, and cut short.
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
    fn suggests_what_is_near_and_nothing_else() {
        let known = ["module", "mode", "name", "sha256", "limits", "settings"];
        for (name, nearby) in [
            ("modul", Some("module")),
            ("Mode", Some("mode")),
            ("setting", Some("settings")),
            ("sha-256", Some("sha256")),
            ("nmae", Some("name")),
            ("zebra", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), nearby, "{name}");
        }
        assert_eq!(nearest(&"module".repeat(20), known), None);
        assert_eq!(
            nearest("required-scope", ["required_scope"]),
            Some("required_scope")
        );
    }

    #[test]
    fn shows_a_text_without_its_sting() {
        assert_eq!(shown("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(shown(&"é".repeat(65)), format!("{}…", "é".repeat(64)));
        assert_eq!(shown(&"é".repeat(64)), "é".repeat(64));
    }
}
