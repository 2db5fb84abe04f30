//! What the tests have in common: a folder of their own, the real command, guests, a policy set.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, OnceLock};

use keyward::decision::Mode;
use keyward::decision::trace::Trace;
use keyward::decision::verdict::{Effect, Obligation, Reason, Signal, Verdict};
use keyward::facts::Facts;
use keyward::key::KeyRecord;
use keyward::policy::{Engine, Limits, LoadError, Policy, PolicySpec};
use keyward::timestamp::Timestamp;

use crate::native::Native;

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A file of the workspace as text.
pub(crate) fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A folder that is removed at the end of the test.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The quick start with its keys in a database, which is not there yet.
    pub(crate) fn quickstart_with_database() -> Self {
        let folder = Self::quickstart();
        let toml = folder
            .read("keyward.toml")
            .replace("keys = \"keys.jsonl\"", "path = \"keyward.db\"");
        folder.write("keyward.toml", toml);
        folder
    }

    /// A folder as `keyward init` leaves it.
    pub(crate) fn quickstart() -> Self {
        let folder = Self::new();
        for name in ["keyward.toml", "keys.jsonl", "requests.jsonl"] {
            folder.write(name, text(&format!("host/examples/quickstart/{name}")));
        }
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.file(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap()
    }

    /// The command, about to run in this folder.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
        command
            .current_dir(self.path())
            .args(args)
            .env("XDG_CACHE_HOME", cache());
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        command.env_remove("SUDO_USER");
        command
    }

    /// Runs the command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&self.command(args).output().unwrap())
    }

    /// Runs the command with something on standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            // A command that stops early closes its end.
            drop(stdin.write_all(&input));
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Ran::of(&output)
    }
}

/// Copies a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// One cache for all tests: what is compiled once is compiled.
pub(crate) fn cache() -> PathBuf {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    std::fs::create_dir_all(&cache).unwrap();
    cache
}

/// What a command printed, and its exit status.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            status: output.status.code(),
            out: String::from_utf8(output.stdout.clone()).unwrap(),
            err: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    /// Checks the exit status.
    #[track_caller]
    pub(crate) fn exit(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self:?}");
        self
    }

    /// The lines of standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// One engine for all tests of this process.
pub(crate) fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE
        .get_or_init(|| Engine::new(Some(&cache().join("engine"))).unwrap())
        .clone()
}

/// Loads a policy with settings and limits.
pub(crate) fn load(module: &[u8], settings: &str, limits: Limits) -> Result<Policy, LoadError> {
    let spec = PolicySpec {
        name: "policy".into(),
        mode: Mode::Enforce,
        module: module.into(),
        settings: settings.into(),
        limits,
    };
    Policy::load(&engine(), spec)
}

/// An instant, written in RFC 3339.
pub(crate) fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// A key in the file form.
pub(crate) fn key(json: &str) -> KeyRecord {
    let file: keyward::key::json::KeyFile = serde_json::from_str(json).unwrap();
    file.check(keyward::key::json::KeyOptions::default())
        .unwrap()
        .into_parts()
        .0
}

/// An unremarkable key of 90 days.
pub(crate) fn plain_key() -> KeyRecord {
    key(
        r#"{"id":"k7Qp2mXw9LaR","owner":"sync","issued_at":"2026-11-01T00:00:00Z",
        "expires_at":"2027-01-30T00:00:00Z","scopes":["inventory:read"]}"#,
    )
}

/// The component of a guest in `tests/guests`.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    let source = text(&format!("tests/guests/{name}.wat"));
    if source.contains("Not from the skeleton") {
        return wat::parse_str(&source).unwrap();
    }
    let mut module = wat::parse_str(fill(&text("tests/guests/skeleton.wat"), &source)).unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_dir(root().join("wit")).unwrap();
    let world = resolve.select_world(&[package], Some("policy")).unwrap();
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
    wit_component::ComponentEncoder::default()
        .module(&module)
        .unwrap()
        .encode()
        .unwrap()
}

/// The skeleton with the sections that a guest replaces.
fn fill(skeleton: &str, guest: &str) -> String {
    let mut filled = skeleton.to_owned();
    for section in guest
        .split(";;@")
        .skip(1)
        .filter(|section| !section.starts_with("end"))
    {
        let (name, body) = section.split_once('\n').unwrap();
        let start = filled
            .find(&format!(";;@{name}\n"))
            .unwrap_or_else(|| panic!("{name}"));
        let end = start + filled[start..].find(";;@end").unwrap();
        filled.replace_range(start..end, body);
    }
    filled
}

/// Evaluates a policy as plain Rust; the settings are valid.
pub(crate) fn native<P: keyward_policy::Policy>(
    facts: &Arc<Facts>,
    settings: &str,
) -> (Verdict, Trace) {
    let policy: P = keyward_policy::configure(settings).unwrap();
    let native = Native::new(Arc::clone(facts));
    let verdict = verdict(&policy.evaluate(&native).unwrap());
    (verdict, native.into_trace())
}

/// The host's form of a verdict.
fn verdict(given: &keyward_policy::Verdict) -> Verdict {
    let params = |params: &[keyward_policy::Param]| {
        params
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect()
    };
    let reason = |r: &keyward_policy::Reason| Reason {
        code: r.code().into(),
        params: params(r.params()),
    };
    let signal = |s: &keyward_policy::Signal| Signal {
        name: s.name().to_owned(),
        params: params(s.params()),
    };
    Verdict {
        effect: match given.effect {
            keyward_policy::Effect::Abstain => Effect::Abstain,
            keyward_policy::Effect::Allow => Effect::Allow,
            keyward_policy::Effect::Deny => Effect::Deny,
        },
        reason: given.reason.as_ref().map(reason),
        signals: given.signals.iter().map(signal).collect(),
        obligations: given
            .obligations
            .iter()
            .map(|o| Obligation {
                name: o.name().to_owned(),
                params: params(o.params()),
                required: o.required(),
            })
            .collect(),
    }
}
