//! Which actions a granted action grants besides itself.

use std::collections::BTreeMap;

use keyward_policy::SettingError;

/// How many actions can imply others: the bits of a [`Mask`].
const ACTIONS_MAX: usize = 64;

/// A set of actions that imply others: bit `i` stands for the `i`-th of them by name.
type Mask = u64;

/// The setting `implies`, with every chain of implications followed to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Implications {
    // INVARIANT: sorted by action; at most `ACTIONS_MAX`; none reaches itself.
    rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    action: String,
    /// What the setting says that it implies.
    direct: Vec<String>,
    /// Those among the actions that imply others which it implies by however many steps.
    reached: Mask,
}

impl Implications {
    /// Follows every chain.
    ///
    /// # Errors
    /// Each action that implies itself, or that there are too many.
    pub(crate) fn new(implies: BTreeMap<String, Vec<String>>) -> Result<Self, Vec<SettingError>> {
        if implies.len() > ACTIONS_MAX {
            let message = format!("more than {ACTIONS_MAX} actions imply others; remove some");
            return Err(vec![SettingError::at(&["implies"], message)]);
        }
        let actions: Vec<&String> = implies.keys().collect();
        let mut reached: Vec<Mask> = implies
            .values()
            .map(|direct| {
                direct
                    .iter()
                    .filter_map(|name| actions.binary_search(&name).ok())
            })
            .map(|steps| steps.fold(0, |mask, step| mask | 1 << step))
            .collect();
        // Warshall: after round `n`, chains by way of the first `n` actions are followed.
        for middle in 0..reached.len() {
            let beyond = reached.get(middle).copied().unwrap_or_default();
            for mask in reached.iter_mut().filter(|mask| **mask >> middle & 1 == 1) {
                *mask |= beyond;
            }
        }
        let on_cycle = |(index, (action, mask)): (usize, (&&String, &Mask))| {
            (mask >> index & 1 == 1).then(|| {
                let message = format!("`{action}` implies itself; remove one step of the cycle");
                SettingError::at(&["implies", action], message)
            })
        };
        let errors: Vec<_> = actions
            .iter()
            .zip(&reached)
            .enumerate()
            .filter_map(on_cycle)
            .collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        let row = |((action, direct), reached)| Row {
            action,
            direct,
            reached,
        };
        Ok(Self {
            rows: implies.into_iter().zip(reached).map(row).collect(),
        })
    }

    /// The actions that grant `required` by implication.
    pub(crate) fn implying(&self, required: &str) -> Vec<&str> {
        let directly = |row: &Row| row.direct.iter().any(|action| action == required);
        let rows = self
            .rows
            .iter()
            .enumerate()
            .filter(|(_, row)| directly(row));
        let last_steps = rows.fold(0, |mask: Mask, (index, _)| mask | 1 << index);
        let implies = |(index, row): &(usize, &Row)| (row.reached | 1 << index) & last_steps != 0;
        self.rows
            .iter()
            .enumerate()
            .filter(implies)
            .map(|(_, row)| row.action.as_str())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn implications(json: &str) -> Result<Implications, Vec<SettingError>> {
        Implications::new(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn implication_is_transitive_and_never_backwards() {
        let implications =
            implications(r#"{"a": ["b", "x"], "b": ["c"], "c": ["d", "x"], "e": []}"#).unwrap();
        for (required, implying) in [
            ("a", &[][..]),
            ("b", &["a"]),
            ("c", &["a", "b"]),
            ("d", &["a", "b", "c"]),
            ("e", &[]),
            ("x", &["a", "b", "c"]),
            ("y", &[]),
        ] {
            assert_eq!(implications.implying(required), implying, "{required}");
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
            let errors = implications(implies).unwrap_err();
            assert_eq!(
                errors.iter().map(SettingError::path).collect::<Vec<_>>(),
                actions
            );
        }
        let errors = implications(r#"{"a": ["a"]}"#).unwrap_err();
        let message = "`a` implies itself; remove one step of the cycle";
        assert_eq!(errors, [SettingError::at(&["implies", "a"], message)]);
    }

    /// As many actions as there are bits: each implies the next one, and the last an action more.
    #[test]
    fn a_chain_may_be_as_long_as_there_are_actions() {
        let chain = |length: usize| {
            let implies = (0..length).map(|i| (format!("a{i:02}"), vec![format!("a{:02}", i + 1)]));
            Implications::new(implies.collect())
        };
        let longest = chain(ACTIONS_MAX).unwrap();
        assert_eq!(longest.implying("a64").len(), 64);
        assert_eq!(longest.implying("a63").len(), 63);
        assert_eq!(longest.implying("a01"), ["a00"]);
        let errors = chain(ACTIONS_MAX + 1).unwrap_err();
        let message = "more than 64 actions imply others; remove some";
        assert_eq!(errors, [SettingError::at(&["implies"], message)]);
    }
}
