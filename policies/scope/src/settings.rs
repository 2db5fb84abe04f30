//! What the operator can set, and the closure of `implies` that evaluation uses.

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

/// Which actions a granted action grants besides itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Implications {
    // INVARIANT: transitive, no action is in its own list, and every list is sorted. Lists, because
    // they are short and the code for sets is not.
    closure: Vec<(String, Vec<String>)>,
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
    /// The closure of `implies`.
    ///
    /// # Errors
    /// Every name that is not an action, in either setting; and if all are, every action that
    /// implies itself.
    pub(crate) fn check(&self) -> Result<Implications, Vec<SettingError>> {
        let mut errors = self.malformed_names();
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut closure = Vec::new();
        for action in self.implies.keys() {
            let implied = self.implied_by(action);
            if implied.binary_search(&action.as_str()).is_ok() {
                let message = format!("`{action}` implies itself; remove one step of the cycle");
                errors.push(SettingError::at(&["implies", action], message));
            }
            let implied = implied.into_iter().map(ToOwned::to_owned).collect();
            closure.push((action.clone(), implied));
        }
        if errors.is_empty() {
            Ok(Implications { closure })
        } else {
            Err(errors)
        }
    }

    fn malformed_names(&self) -> Vec<SettingError> {
        let mut errors = Vec::new();
        let mut check = |path: &[&str], name: &str| {
            if !is_name(name) {
                let message = format!(
                    "`{name}` is not an action; write 1 to 64 of a-z, 0-9, `_` and `-`, \
                     beginning with a letter or digit"
                );
                errors.push(SettingError::at(path, message));
            }
        };
        for (action, implied) in &self.implies {
            check(&["implies", action], action);
            for (index, name) in implied.iter().enumerate() {
                check(&["implies", action, &index.to_string()], name);
            }
        }
        for (index, name) in self.read_only_actions.iter().enumerate() {
            check(&["read_only_actions", &index.to_string()], name);
        }
        errors
    }

    /// Every action that can be reached from this one by however many steps, sorted.
    fn implied_by(&self, action: &str) -> Vec<&str> {
        let direct = |action| {
            self.implies
                .get(action)
                .into_iter()
                .flatten()
                .map(String::as_str)
        };
        let mut implied = Vec::new();
        let mut open: Vec<&str> = direct(action).collect();
        while let Some(next) = open.pop() {
            if let Err(place) = implied.binary_search(&next) {
                implied.insert(place, next);
                open.extend(direct(next));
            }
        }
        implied
    }
}

impl Implications {
    /// Whether a grant of `granted` grants `required` too.
    pub(crate) fn imply(&self, granted: &str, required: &str) -> bool {
        self.closure
            .iter()
            .find(|(action, _)| action == granted)
            .is_some_and(|(_, implied)| {
                implied
                    .binary_search_by(|action| action.as_str().cmp(required))
                    .is_ok()
            })
    }
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
    fn implication_is_transitive_and_never_backwards() {
        let settings: Settings = serde_json::from_str(
            r#"{"implies": {"a": ["b", "x"], "b": ["c"], "c": ["d", "x"], "e": []}}"#,
        )
        .unwrap();
        let implications = settings.check().unwrap();
        for (granted, implied) in [
            ("a", "bcdx"),
            ("b", "cdx"),
            ("c", "dx"),
            ("d", ""),
            ("e", ""),
            ("x", ""),
        ] {
            for required in ["a", "b", "c", "d", "e", "x"] {
                let expected = implied.contains(required);
                assert_eq!(
                    implications.imply(granted, required),
                    expected,
                    "{granted} {required}"
                );
            }
        }
    }

    #[test]
    fn a_cycle_is_an_error_at_every_action_on_it() {
        for (implies, actions) in [
            (r#"{"a": ["a"]}"#, &["/implies/a"][..]),
            (r#"{"a": ["b"], "b": ["a"]}"#, &["/implies/a", "/implies/b"]),
            // `z` only leads into the cycle.
            (
                r#"{"a": ["b"], "b": ["c"], "c": ["a", "d"], "z": ["a"]}"#,
                &["/implies/a", "/implies/b", "/implies/c"],
            ),
        ] {
            assert_eq!(paths(&format!(r#"{{"implies": {implies}}}"#)), actions);
        }
        let (_, message) = errors(r#"{"implies": {"a": ["a"]}}"#).remove(0);
        assert_eq!(message, "`a` implies itself; remove one step of the cycle");
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
