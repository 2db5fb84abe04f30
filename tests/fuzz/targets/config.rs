//! A configuration is read or refused in full, however deep it nests.

#![no_main]

use std::path::Path;

use keyward::config::{Config, problem::PROBLEMS_MAX};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let text = keyward_fuzz::nested(text);
    let check = move || match Config::parse(&text, Path::new("keyward.toml")) {
        Ok(config) => config.policies.iter().for_each(|policy| {
            let settings = policy.settings_json();
            assert_eq!(keyward_fuzz::canonical(settings), **settings);
        }),
        Err(errors) => assert!((1..=PROBLEMS_MAX).contains(&errors.problems.len())),
    };
    keyward_fuzz::on_small_stack(check);
});
