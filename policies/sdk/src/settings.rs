//! From the operator's settings to a configured policy.

use std::fmt;

use serde::Deserialize;

use crate::Policy;

/// One thing wrong with the settings. The host shows it with file, line and column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    path: String,
    message: String,
}

/// The settings of a policy that takes none: `{}` and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

impl SettingError {
    /// An error at the setting that these keys and indexes lead to, outermost first; none of them:
    /// the settings as a whole. The message says what to do, in lower case, without a full stop.
    ///
    /// ```
    /// # use keyward_policy::SettingError;
    /// let error = SettingError::at(&["implies", "a/b"], "not an action");
    /// assert_eq!(error.path(), "/implies/a~1b");
    /// ```
    #[must_use]
    pub fn at(keys: &[&str], message: impl Into<String>) -> Self {
        let mut path = String::new();
        for key in keys {
            path.push('/');
            path.push_str(&key.replace('~', "~0").replace('/', "~1"));
        }
        Self {
            path,
            message: message.into(),
        }
    }

    /// The same error, when what was read turns out to be the element `key` of something.
    pub(crate) fn inside(self, key: &str) -> Self {
        let path = Self::at(&[key], "").path + &self.path;
        Self { path, ..self }
    }

    /// RFC 6901 JSON pointer into the settings.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong, and what to write instead.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for SettingError {}

/// Makes a policy from its settings as JSON: what the host does once, before the first request.
///
/// # Errors What is wrong with the settings: the errors of [`Policy::configure`], or the first
/// place at which they are not of the shape of [`Policy::Settings`]. Numbers are whole: the
/// contract has no floats.
pub fn configure<P: Policy>(settings: &str) -> Result<P, Vec<SettingError>> {
    let settings = crate::json::from_str(settings).map_err(|error| vec![error])?;
    P::configure(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_json_pointers() {
        for (keys, path) in [
            (vec![], ""),
            (vec!["blocked", "0"], "/blocked/0"),
            (vec!["a/b", "~1", ""], "/a~1b/~01/"),
        ] {
            assert_eq!(SettingError::at(&keys, "wrong").path(), path);
        }
        assert_eq!(SettingError::at(&["x"], "wrong").to_string(), "/x: wrong");
    }

    #[test]
    fn no_settings_means_none() {
        assert!(serde_json::from_str::<NoSettings>("{}").is_ok());
        for text in [r#"{"a":1}"#, "null", "[1]", ""] {
            assert!(serde_json::from_str::<NoSettings>(text).is_err(), "{text}");
        }
    }
}
