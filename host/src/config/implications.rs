//! Which action implies another, as the policies of a configuration have it: what grants are
//! compared by before a key is changed.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::Value;

use super::policy::{Builtin, ModuleSource, PolicyConfig};
use crate::decision::Mode;
use crate::key::grant::Implications;

/// The setting of the scope policy, which modules of others can have too.
const SETTING: &str = "implies";

/// What all policies agree on that say which action implies another; nothing where none of them
/// counts. One in shadow may count tomorrow, and narrows it too.
pub(super) fn of(policies: &[PolicyConfig]) -> Implications {
    let said = policies.iter().filter_map(|it| Some((it.mode, said(it)?)));
    let said: Vec<_> = said.collect();
    if said.iter().all(|(mode, _)| *mode == Mode::Shadow) {
        return Implications::default();
    }
    let all = said.into_iter().map(|(_, implications)| implications);
    all.reduce(|all, one| all.and(&one)).unwrap_or_default()
}

/// What one policy says; `None`: it is no scope policy. A setting that is none implies nothing: the
/// policy does not load with it.
fn said(policy: &PolicyConfig) -> Option<Implications> {
    let settings: BTreeMap<String, Value> =
        serde_json::from_str(policy.settings_json()).unwrap_or_default();
    match settings.get(SETTING) {
        Some(setting) => {
            let implies = BTreeMap::<String, Vec<String>>::deserialize(setting);
            Some(implies.map_or_else(|_| Implications::default(), |it| Implications::new(&it)))
        }
        None => {
            let is_scope = policy.module == ModuleSource::Builtin(Builtin::Scope);
            is_scope.then(Implications::standard)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn of_policies(policies: &str) -> Implications {
        let text = format!(
            "[registry]\nkeys = \"k.jsonl\"\n[log]\npath = \"l\"\norigin = \"o\"\n{policies}"
        );
        Config::parse(&text, Path::new("keyward.toml"))
            .unwrap()
            .implications()
    }

    fn policy(name: &str, module: &str, more: &str) -> String {
        format!("[[policy]]\nname = \"{name}\"\nmodule = \"{module}\"\n{more}\n")
    }

    #[test]
    fn the_scope_policies_say_what_implies_what() {
        let scope = |more: &str| policy("scope", "builtin:scope", more);
        let ip = policy("ip", "builtin:ip", "");
        let settings = |implies: &str| format!("[policy.settings]\nimplies = {implies}");
        let own = |implies: &str| policy("own", "own.wasm", &settings(implies));
        let reads = |policies: &str| of_policies(policies).covers("a:write", "a:read");
        for (policies, expected) in [
            (ip.clone(), false),
            (scope(""), true),
            (ip + &scope(&settings("{ write = [\"read\"] }")), true),
            (scope(&settings("{}")), false),
            (
                scope(&settings("{ write = [\"x\"], x = [\"read\"] }")),
                true,
            ),
            (scope(&settings("1")), false),
            // Another module with the setting is a scope policy too.
            (own("{ write = [\"read\"] }"), true),
            (policy("own", "own.wasm", ""), false),
            (scope("") + &own("{ write = [\"read\"] }"), true),
            // Several: all of them agree, or it does not count.
            (scope("") + &own("{}"), false),
            (own("{}") + &scope(""), false),
        ] {
            assert_eq!(reads(&policies), expected, "{policies}");
        }
    }

    #[test]
    fn a_policy_in_shadow_takes_away_and_gives_nothing() {
        let shadow = |settings: &str| {
            let more = format!("mode = \"shadow\"\n{settings}");
            policy("shadow", "builtin:scope", &more)
        };
        let ip = policy("ip", "builtin:ip", "");
        assert_eq!(of_policies(&(ip + &shadow(""))), Implications::default());
        let scope = policy("scope", "builtin:scope", "");
        let nothing = "[policy.settings]\nimplies = {}";
        assert_eq!(
            of_policies(&(scope.clone() + &shadow(""))),
            Implications::standard()
        );
        assert!(!of_policies(&(scope + &shadow(nothing))).covers("a:write", "a:read"));
    }
}
