//! What the operator can set.

use std::collections::BTreeMap;

use keyward_policy::SettingError;
use serde::Deserialize;

use crate::grammar::is_name;

/// The settings; `settings.schema.json` documents them.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// A granted action also grants these.
    pub implies: BTreeMap<String, Vec<String>>,
    /// What a key under the read-only mask may still do.
    pub read_only_actions: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mut implies = BTreeMap::new();
        implies.insert("admin".to_owned(), owned(&["read", "write", "delete"]));
        implies.insert("write".to_owned(), owned(&["read"]));
        Self {
            implies,
            read_only_actions: owned(&["read", "list"]),
        }
    }
}

impl Settings {
    /// That every name is an action.
    ///
    /// # Errors
    /// Each one that is not.
    pub(crate) fn check(&self) -> Result<(), Vec<SettingError>> {
        let errors = self.malformed_names();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    fn malformed_names(&self) -> Vec<SettingError> {
        let mut errors = Vec::new();
        for (action, implied) in &self.implies {
            if !is_name(action) {
                errors.push(malformed(&["implies", action], action));
            }
            for (index, name) in malformed_in(implied) {
                errors.push(malformed(&["implies", action, &index.to_string()], name));
            }
        }
        for (index, name) in malformed_in(&self.read_only_actions) {
            errors.push(malformed(&["read_only_actions", &index.to_string()], name));
        }
        errors
    }
}

fn malformed_in(names: &[String]) -> impl Iterator<Item = (usize, &String)> {
    names.iter().enumerate().filter(|(_, name)| !is_name(name))
}

fn malformed(path: &[&str], name: &str) -> SettingError {
    let message = format!(
        "`{name}` is not an action; write 1 to 64 of a-z, 0-9, `_` and `-`, \
         beginning with a letter or digit"
    );
    SettingError::at(path, message)
}

#[cfg(test)]
mod tests {
    use keyward_policy::{Policy, testing};

    use super::*;
    use crate::ScopePolicy;

    fn errors(settings: &str) -> Vec<(String, String)> {
        let errors = keyward_policy::configure::<ScopePolicy>(settings).unwrap_err();
        errors
            .iter()
            .map(|e| (e.path().to_owned(), e.message().to_owned()))
            .collect()
    }

    fn paths(settings: &str) -> Vec<String> {
        errors(settings).into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn the_defaults_are_those_of_the_schema() {
        let defaults = serde_json::to_value(Settings::default()).unwrap();
        assert_eq!(defaults, testing::schema_defaults(&ScopePolicy::DESCRIPTOR));
        let given = keyward_policy::configure::<ScopePolicy>(&defaults.to_string());
        assert_eq!(keyward_policy::configure::<ScopePolicy>("{}"), given);
    }

    #[test]
    fn a_cycle_is_an_error_of_the_settings() {
        assert_eq!(
            paths(r#"{"implies": {"a": ["b"], "b": ["a"]}}"#),
            ["/implies/a", "/implies/b"]
        );
    }

    #[test]
    fn a_malformed_action_is_an_error_at_its_place() {
        let settings = r#"{
            "implies": {"a/b": ["read"], "write": ["read", "*", ""], "~": []},
            "read_only_actions": ["read", "List", "get:all"]
        }"#;
        let expected = [
            "/implies/a~1b",
            "/implies/write/1",
            "/implies/write/2",
            "/implies/~0",
            "/read_only_actions/1",
            "/read_only_actions/2",
        ];
        assert_eq!(paths(settings), expected);
    }

    #[test]
    fn settings_of_another_shape_are_an_error_at_their_place() {
        for (settings, path) in [
            ("", ""),
            ("[1]", ""),
            (r#"{"imply": {}}"#, ""),
            (r#"{"implies": null}"#, "/implies"),
            (r#"{"implies": []}"#, "/implies"),
            (r#"{"implies": {"a": "b"}}"#, "/implies/a"),
            (
                r#"{"read_only_actions": ["read", 1]}"#,
                "/read_only_actions/1",
            ),
        ] {
            assert_eq!(paths(settings), [path], "{settings}");
        }
    }
}
