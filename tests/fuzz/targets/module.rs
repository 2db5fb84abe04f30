//! Any bytes are refused or become a policy, which decides the same every time.

#![no_main]

use std::sync::LazyLock;

use keyward::decision::Mode;
use keyward::policy::{Engine, Limits, Policy, PolicySpec, inspect};
use libfuzzer_sys::fuzz_target;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(None).unwrap());

// The snapshot catches panics of a dependency; the fuzzer's hook would make crashes of them.
fuzz_target!(init: drop(std::panic::take_hook()), |module: &[u8]| {
    let spec = PolicySpec {
        name: "fuzz".into(),
        mode: Mode::Enforce,
        module: module.into(),
        settings: "{}".into(),
        limits: Limits { fuel: 100_000, configure_fuel: 1_000_000, ..Limits::default() },
    };
    if let Ok(policy) = Policy::load(&ENGINE, spec) {
        assert_eq!(inspect(&ENGINE, module).unwrap().descriptor, *policy.descriptor());
        let evaluate = || policy.evaluate(Box::new(keyward_fuzz::Nothing));
        assert_eq!(evaluate(), evaluate());
    }
});
