//! Reading `keyward.toml`: what it means, and every problem with its place.

use super::*;
use crate::decision::Mode;
use crate::route::path::CanonicalPath;
use policy::{Builtin, ModuleSource};
use proptest::prelude::*;

/// The least that a file needs. The next line is line 9.
const LEAST: &str = "\
[registry]
path = \"keyward.db\"
[log]
path = \"log\"
origin = \"keyward.example/gateway-1\"
[[policy]]
name = \"scope\"
module = \"builtin:scope\"
";

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, Path::new("conf/keyward.toml"))
}

/// What is wrong with a text, without the name of the file.
fn problems(text: &str) -> Vec<String> {
    let errors = parse(text)
        .err()
        .map(|errors| errors.to_string())
        .unwrap_or_default();
    errors
        .lines()
        .map(|line| line.replace("conf/keyward.toml:", ""))
        .collect()
}

/// What is wrong with more lines, which begin at line 9.
fn more(lines: &str) -> Vec<String> {
    problems(&format!("{LEAST}{lines}"))
}

#[test]
fn the_least_file_has_every_default() {
    let config = parse(LEAST).unwrap();
    assert_eq!(&*config.file, Path::new("conf/keyward.toml"));
    let database = RegistrySource::Database("conf/keyward.db".into());
    let registry = RegistryConfig {
        source: database,
        allow_any_network: false,
    };
    assert_eq!(config.registry, registry);
    let log = LogConfig {
        path: "conf/log".into(),
        origin: "keyward.example/gateway-1".into(),
        durability: Durability::Written,
        sync_interval_ms: 50,
        key: "conf/log.key".into(),
        is_key_required: false,
        has_ml_dsa: true,
        witnesses: None,
        checkpoint_interval_ms: 1_000,
        retention: None,
    };
    assert_eq!(config.log, log);
    assert!(config.routes.is_empty());
    let limits = Limits {
        fuel: 1_000_000,
        configure_fuel: 10_000_000,
        memory_bytes: 32 << 20,
        questions: 1_000,
        answers_bytes: 64 << 10,
        verdict_bytes: 16 << 10,
        signals: 8,
        obligations: 8,
        deadline_ms: 1_000,
    };
    assert_eq!((config.limits, config.policies[0].limits), (limits, limits));
    let reuse = ReuseOptions {
        memory_bytes: 64 << 20,
        check_every: 1_024,
    };
    assert_eq!(config.reuse, reuse);
    let policy = &config.policies[0];
    assert_eq!(
        (&*policy.name, policy.mode, policy.sha256),
        ("scope", Mode::Enforce, None)
    );
    assert_eq!(policy.module, ModuleSource::Builtin(Builtin::Scope));
    assert_eq!(&**policy.settings_json(), "{}");
    assert_eq!(policy.locate("/a").to_string(), "6:1");
}

#[test]
fn reads_everything_that_may_stand_there() {
    let pin = "ab".repeat(32);
    let config = parse(&format!(
        "[registry]\nkeys = \"sub/keys.jsonl\"\nallow_any_network = true\n\
         [log]\npath = \"/var/log/keyward\"\norigin = \"o\"\ndurability = \"durable\"\n\
         sync_interval_ms = 10_000\n\
         [limits]\nfuel = 2_000_000\nmemory_mib = 0x40\n\
         [reuse]\nmemory_mib = 0\ncheck_every = 1\n\
         [[route]]\nmethod = [\"GET\", \"head\"]\nhost = \"API.example.com\"\n\
         path = \"/inventory/{{item}}\"\nscope = \"inventory:read\"\nallow_parameters = true\n\
         [[route]]\nmethod = \"*\"\npath = \"/{{rest...}}\"\nscope = \"all:use\"\n\
         [[policy]]\nname = \"hours\"\nmodule = \"policies/hours.wasm\"\nmode = \"shadow\"\n\
         sha256 = \"{pin}\"\n[policy.limits]\nfuel = 3_000_000\nsignals = 0\n\
         [[policy]]\nname = \"0_ip-\"\nmodule = \"builtin:ip\"\nmode = \"enforce\"\n\
         [[policy]]\nname = \"r\"\nmodule = \"builtin:rotation\"\n"
    ))
    .unwrap();
    assert!(config.registry.allow_any_network);
    let keys = RegistrySource::JsonLines("conf/sub/keys.jsonl".into());
    assert_eq!(config.registry.source, keys);
    assert_eq!(config.log.path, Path::new("/var/log/keyward"));
    assert_eq!(config.log.durability, Durability::Durable);
    assert_eq!(config.log.sync_interval_ms, 10_000);
    assert_eq!(
        (config.limits.fuel, config.limits.memory_bytes >> 20),
        (2_000_000, 64)
    );
    let reuse = ReuseOptions {
        memory_bytes: 0,
        check_every: 1,
    };
    assert_eq!(config.reuse, reuse);
    let path = CanonicalPath::parse("/inventory/4;x").unwrap();
    let found = config
        .routes
        .required_scope("HEAD", "api.example.com", &path)
        .unwrap();
    assert_eq!(found.scope, Some(&"inventory:read".into()));
    let [hours, ip, rotation] = &*config.policies else {
        panic!("three policies")
    };
    assert_eq!(
        hours.module,
        ModuleSource::File("conf/policies/hours.wasm".into())
    );
    assert_eq!(
        (hours.mode, hours.sha256),
        (Mode::Shadow, Some(pin.parse().unwrap()))
    );
    let limits = hours.limits;
    assert_eq!(
        (limits.fuel, limits.signals, limits.memory_bytes >> 20),
        (3_000_000, 0, 64)
    );
    assert_eq!((ip.limits, ip.mode), (config.limits, Mode::Enforce));
    assert_eq!(ip.module, ModuleSource::Builtin(Builtin::Ip));
    assert_eq!(rotation.module, ModuleSource::Builtin(Builtin::Rotation));
    assert_eq!(rotation.position().to_string(), "37:1");
}

#[test]
fn a_registry_is_a_database_or_a_file_of_keys() {
    let with = |registry: &str| LEAST.replace("path = \"keyward.db\"", registry);
    let source = |registry| parse(&with(registry)).unwrap().registry.source;
    assert_eq!(
        source("keys = \"k.toml\""),
        RegistrySource::Toml("conf/k.toml".into())
    );
    for (registry, problem) in [
        (
            "",
            "1:1: [registry] needs `path`, a database, or `keys`, a file of keys",
        ),
        (
            "path = \"a\"\nkeys = \"b.toml\"",
            "1:1: [registry] has both `path` and `keys`; keep one of them",
        ),
        (
            "keys = \"k.csv\"",
            "2:8: `keys` has to name a file that ends in `.jsonl` or `.toml`",
        ),
        ("path = 1", "2:8: `path` has to be a string, not an integer"),
        (
            "path = \"\"",
            "2:8: `path` has to be a text of 1 to 4096 bytes without control or format characters",
        ),
        (
            "keys = \"a\\u0000.toml\"",
            "2:8: `keys` has to be a text of 1 to 4096 bytes without control or format characters",
        ),
    ] {
        assert_eq!(problems(&with(registry)), [problem], "{registry}");
    }
}

#[test]
fn every_problem_is_found_at_once() {
    let text = "\
registri = 1
[log]
path = 5
origin = \"a b\"
durability = \"Durable\"
sync_interval_ms = 0
[limits]
fule = 1
memory_mib = 4_096
[reuse]
memory_mib = 2_000_000
check_evry = 1
[[route]]
method = \"GET\"
path = \"/a\"
scope = \"A:b\"
[[policy]]
name = \"Scope\"
modul = \"builtin:scope\"
[[policy]]
name = \"é\"
module = \"builtin:scop\"
mode = \"shadow\"
";
    let expected = [
        "1:1: unknown key `registri` in the file; did you mean `registry`?",
        "1:1: [registry] is missing",
        "3:8: `path` has to be a string, not an integer",
        "4:10: `origin` names the log for ever: 1 to 255 visible ASCII characters \
         without `+` and `://`, for example `keyward.example/gateway-1`",
        "5:14: `durability` cannot be `Durable`; write one of `written`, `durable`; did you mean \
         `durable`?",
        "6:20: `sync_interval_ms` is out of bounds; it can be from 1 to 10000",
        "8:1: unknown key `fule` in [limits]; did you mean `fuel`?",
        "9:14: `memory_mib` is out of bounds; it can be from 1 to 1024",
        "11:14: `memory_mib` is out of bounds; it can be from 0 to 1048576",
        "12:1: unknown key `check_evry` in [reuse]; did you mean `check_every`?",
        "16:9: `A:b` is not a scope; write `resource:action` in lower case and without wildcards, \
         for example `inventory:read`",
        "17:1: `module` is missing in [[policy]]",
        "18:8: `Scope` is not a name for a policy; one is at most 64 of a-z, 0-9, `_` and `-`, and \
         starts with a letter or digit",
        "19:1: unknown key `modul` in [[policy]]; did you mean `module`?",
        "21:8: `é` is not a name for a policy; one is at most 64 of a-z, 0-9, `_` and `-`, and \
         starts with a letter or digit",
        "22:10: `module` cannot be `builtin:scop`; write one of `builtin:scope`, \
         `builtin:rotation`, `builtin:ip`, `builtin:rate`; did you mean `builtin:scope`?",
    ];
    let mut found = problems(text);
    // Two problems at one place are in the order in which they were found.
    found
        .get_mut(..2)
        .unwrap()
        .sort_by_key(|problem| problem.contains("is missing"));
    assert_eq!(found, expected);
}

#[test]
fn a_problem_reads_like_a_compilers() {
    let errors = Config::parse(
        &format!("{LEAST}    modul = 1\n"),
        Path::new("keyward.toml"),
    );
    let message = "keyward.toml:9:5: unknown key `modul` in [[policy]]; did you mean `module`?";
    assert_eq!(errors.unwrap_err().to_string(), message);
    assert_eq!(
        problems(""),
        [
            "1:1: [registry] is missing",
            "1:1: [log] is missing",
            "1:1: no [[policy]] is in mode `enforce`, so that every request would be denied",
        ]
    );
}

#[test]
fn what_is_not_toml_is_reported_alone() {
    let found = problems("a = \n[log]\npath = [1,\nb = 2 2\n");
    assert!(found.len() >= 2, "{found:?}");
    assert!(found[0].starts_with("1:"), "{found:?}");
    assert!(
        !found.iter().any(|problem| problem.contains("is missing")),
        "{found:?}"
    );
    assert_eq!(more("name = \"again\"\n"), ["9:1: duplicate key"]);
}

#[test]
fn types_are_checked() {
    for (lines, problem) in [
        (
            "limits = 1",
            "9:10: `limits` has to be a table, not an integer",
        ),
        (
            "settings = [1]",
            "9:12: `settings` has to be a table, not a list",
        ),
        (
            "sha256 = 1.5",
            "9:10: `sha256` has to be a string, not a float",
        ),
        (
            "mode = true",
            "9:8: `mode` has to be a string, not true or false",
        ),
        (
            "[limits]\nfuel = \"1\"",
            "10:8: `fuel` has to be an integer, not a string",
        ),
        (
            "[limits]\nfuel = -1_000",
            "10:8: `fuel` is out of bounds; it can be from 1000 to 1000000000",
        ),
        (
            "[limits]\nfuel = 99999999999999999999",
            "10:8: `fuel` is out of bounds; it can be from 1000 to 1000000000",
        ),
        (
            "[limits]\nsignals = 257",
            "10:11: `signals` is out of bounds; it can be from 0 to 256",
        ),
        (
            "[route]\nmethod = \"GET\"",
            "9:1: `route` has to be a list of tables, each under its own [[…]], not a table",
        ),
        ("[registry.x]", "9:11: unknown key `x` in [registry]"),
        (
            "[policy.limits]\nfoo = 1",
            "10:1: unknown key `foo` in [policy.limits]",
        ),
    ] {
        assert_eq!(more(lines), [problem], "{lines}");
    }
    let tables = "each under its own [[…]], not an integer";
    let found = problems(
        &LEAST
            .replace(
                "[[policy]]\nname = \"scope\"\nmodule = \"builtin:scope\"\n",
                "",
            )
            .replace("[registry]", "policy = [1]\n[registry]"),
    );
    assert_eq!(
        found[0],
        "1:1: no [[policy]] is in mode `enforce`, so that every request would be denied"
    );
    assert_eq!(
        found[1],
        format!("1:11: `policy` has to be a list of tables, {tables}")
    );
}

#[test]
fn policies_are_checked() {
    let second = |lines: &str| more(&format!("[[policy]]\n{lines}"));
    assert_eq!(
        second("name = \"scope\"\nmodule = \"x.wasm\""),
        ["10:8: another [[policy]] is named `scope` already"]
    );
    let module = "name = \"b\"\nmodule = \"oci://example.com/x\"";
    assert_eq!(
        second(module),
        ["11:10: `oci:` is neither `builtin:` nor a path; policies are not loaded from elsewhere"]
    );
    assert!(second("name = \"b\"\nmodule = \"c:\\\\x.wasm\"").is_empty());
    assert!(second("name = \"b\"\nmodule = \"../x.wasm\"").is_empty());
    let digest = format!("sha256 = \"{}\"", "AB".repeat(32));
    let not_digest = "9:10: `sha256` is not a SHA-256 digest; one has 64 hex digits in lower case";
    assert_eq!(more(&digest), [not_digest]);
    assert_eq!(
        more("mode = \"shadow\""),
        ["6:1: no [[policy]] is in mode `enforce`, so that every request would be denied"]
    );
    // It may have been meant to enforce.
    let misspelt = more("mode = \"enforced\"");
    assert_eq!(misspelt.len(), 1, "{misspelt:?}");
    for (name, is_name) in [
        ("a", true),
        ("0", true),
        ("-a", false),
        ("_a", false),
        ("a.b", false),
    ] {
        let text = LEAST.replace("\"scope\"", &format!("\"{name}\""));
        assert_eq!(parse(&text).is_ok(), is_name, "{name}");
    }
    for (bytes, is_name) in [
        (POLICY_NAME_MAX_BYTES, true),
        (POLICY_NAME_MAX_BYTES + 1, false),
    ] {
        let text = LEAST.replace("\"scope\"", &format!("\"{}\"", "a".repeat(bytes)));
        assert_eq!(parse(&text).is_ok(), is_name, "{bytes}");
    }
    let policy = |index| format!("[[policy]]\nname = \"p{index}\"\nmodule = \"builtin:ip\"\n");
    let many = |count: usize| (1..count).map(policy).collect::<String>();
    assert!(more(&many(POLICIES_MAX)).is_empty());
    let line = 9 + 3 * (POLICIES_MAX - 1);
    assert_eq!(
        more(&many(POLICIES_MAX + 1)),
        [format!("{line}:1: there are more than 64 [[policy]]")]
    );
}

#[test]
fn routes_are_checked_where_they_stand() {
    let route = |lines: &str| more(&format!("[[route]]\n{lines}\n"));
    let never = "11:8: never reached: route 1 has the same path and takes the same requests";
    for (lines, expected) in [
        (
            "method = \"GET\"\npath = \"/a\"",
            vec!["9:1: `scope` is missing in [[route]]"],
        ),
        (
            "path = \"/a\"\nscope = \"a:b\"\nmethods = \"GET\"",
            vec![
                "9:1: `method` is missing in [[route]]",
                "12:1: unknown key `methods` in [[route]]; did you mean `method`?",
            ],
        ),
        (
            "method = 1\npath = \"/a\"\nscope = \"a:b\"",
            vec!["10:10: `method` has to be a string or a list of strings, not an integer"],
        ),
        (
            "method = [\"GET\", 1]\npath = \"/a\"\nscope = \"a:b\"",
            vec!["10:18: `method` has to be a string, not an integer"],
        ),
        (
            "method = []\npath = \"/a\"\nscope = \"a:b\"",
            vec!["10:10: write 1 to 32 methods, or `*` alone for every one"],
        ),
        (
            "method = \"GET\"\nhost = \"a b\"\npath = \"a\"\nscope = \"a:b\"",
            vec![
                "11:8: `a b` is not a host; write a name in ASCII of at most 255 bytes, an IPv4 \
                 address, or an IPv6 address in brackets",
                "12:8: the path does not start with `/`",
            ],
        ),
        (
            "method = \"*\"\npath = \"/a/*\"\nscope = \"a:b\"",
            vec![
                "11:8: `*` is no wildcard here; write `{name}` for one segment, `{name...}` for \
                 the rest",
            ],
        ),
    ] {
        assert_eq!(route(lines), expected, "{lines}");
    }
    let one = "method = \"GET\"\npath = \"/a\"\nscope = \"a:b\"\n";
    assert_eq!(
        route(&format!("{one}[[route]]\n{one}")),
        [never.replace("11:", "15:")]
    );
    // A route that cannot be read keeps its number.
    let found = route(&format!("[[route]]\n{one}[[route]]\n{one}"));
    assert_eq!(
        found.last(),
        Some(&never.replace("11:", "16:").replace("route 1", "route 2"))
    );
}

#[test]
fn problems_are_bounded() {
    let many: String = (0..PROBLEMS)
        .map(|index| format!("x{index} = 1\n"))
        .collect();
    const PROBLEMS: usize = problem::PROBLEMS_MAX + 5;
    let errors = parse(&format!("{LEAST}{many}")).unwrap_err();
    assert_eq!(
        (errors.problems.len(), errors.left_out),
        (problem::PROBLEMS_MAX, 5)
    );
    assert!(errors.to_string().ends_with("\nand 5 more"));
}

#[test]
fn a_file_is_bounded_and_has_to_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyward.toml");
    let problem = |path: &Path| {
        let errors = Config::load(path).unwrap_err();
        assert_eq!((errors.problems.len(), errors.left_out), (1, 0));
        assert_eq!(errors.problems[0].position, None);
        errors.problems[0].error.clone()
    };
    assert_eq!(
        problem(&path),
        ConfigError::Read(std::io::ErrorKind::NotFound)
    );
    assert!(matches!(problem(folder.path()), ConfigError::Read(_)));
    std::fs::write(&path, b"a = \"\xff\"").unwrap();
    assert_eq!(problem(&path), ConfigError::NotUtf8);
    let padded = |bytes: usize| format!("{LEAST}{}", "\n".repeat(bytes - LEAST.len()));
    std::fs::write(&path, padded(CONFIG_MAX_BYTES + 1)).unwrap();
    assert_eq!(problem(&path), ConfigError::TooLarge);
    assert_eq!(
        parse(&padded(CONFIG_MAX_BYTES + 1)).unwrap_err().problems[0].error,
        ConfigError::TooLarge
    );
    std::fs::write(&path, padded(CONFIG_MAX_BYTES)).unwrap();
    let config = Config::load(&path).unwrap();
    assert_eq!(config.log.path, folder.path().join("log"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(
        pieces in proptest::collection::vec(
            prop::sample::select(vec![
                "[registry]\n", "[log]\n", "[limits]\n", "[[policy]]\n", "[policy.settings]\n",
                "[[route]]\n", "path = \"a\"\n", "name = \"a\"\n", "method = [\"GET\"]\n",
                "scope = \"a:b\"\n", "fuel = 1\n", "a.b = {c = [1, 2.5]}\n", "mode = 1\n", "[", "]",
                "=", "\"", "\n", "é", "1979-05-27T07:32:00Z", "'''",
            ]),
            0..24,
        )
    ) {
        let text = pieces.concat();
        for text in [text.clone(), format!("{LEAST}{text}")] {
            if let Err(errors) = parse(&text) {
                prop_assert!(!errors.problems.is_empty());
                for problem in errors.problems {
                    let line = problem.position.unwrap().line;
                    prop_assert!((1..=text.split('\n').count()).contains(&line));
                    prop_assert!(!problem.to_string().contains('\n'), "{}", problem);
                }
            }
        }
    }
}

#[test]
fn the_catalogue_is_that_of_the_routes_and_of_governance() {
    let config = parse(&format!(
        "{LEAST}[[route]]\nmethod = \"*\"\npath = \"/a\"\nscope = \"a:read\"\n\
         [[route]]\nmethod = \"*\"\npath = \"/b\"\nscope = \"a:read\"\n\
         [governance]\nscopes = [\"b:read\", \"a:read\"]\n\
         [[principal]]\nname = \"ann\"\nroles = []\nmay_grant = []\n"
    ));
    let config = config.unwrap();
    let scopes = ["a:read", "b:read"].map(Arc::from);
    assert_eq!(config.catalogue(), Catalogue::new(scopes));
    let may_grant = |config: &Config| config.principals.first().unwrap().may_grant.clone();
    assert_eq!(may_grant(&config), Some(Vec::new()));
    let config = parse(&format!(
        "{LEAST}[[principal]]\nname = \"ann\"\nroles = []\n"
    ));
    let config = config.unwrap();
    assert_eq!(may_grant(&config), None);
    assert!(config.catalogue().is_empty());
}

#[test]
fn lists_of_scopes_are_checked() {
    let many = vec!["\"a:b\""; crate::key::catalogue::CATALOGUE_MAX + 1].join(",");
    for (lines, problem) in [
        (
            "[governance]\nscopes = [\"a:*\"]".to_owned(),
            "10:11: `a:*` is not a scope; write `resource:action` without wildcards",
        ),
        (
            "[governance]\nscopes = \"a:b\"".to_owned(),
            "10:10: `scopes` has to be a list of strings, not a string",
        ),
        (
            format!("[governance]\nscopes = [{many}]"),
            "10:10: there are more than 4096 `scopes`",
        ),
        (
            "[[principal]]\nname = \"a\"\nroles = []\nmay_grant = [\"a.*:*\", \"b\"]".to_owned(),
            "12:23: `b` is not a grant; write `resource:action`, for example `inventory.*:read`",
        ),
    ] {
        assert_eq!(more(&lines), [problem]);
    }
}
