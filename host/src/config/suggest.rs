//! What a person probably meant, for the errors of files that people write.

use crate::shown::SHOWN_MAX_CHARS;

/// The least similarity, from 0 to 1, at which a name is worth suggesting.
const SIMILARITY_MIN: f64 = 0.75;

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
}
