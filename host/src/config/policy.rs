//! `[[policy]]`: a module with a name, a mode, limits and settings.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::decision::Mode;
use crate::digest::Digest;

use super::limits;
use super::problem::{ConfigError, Problems};
use super::section::{At, Section, not_one_of};
use super::settings::Settings;
use super::source::{Position, Source};
use super::{POLICIES_MAX, POLICY_NAME_MAX_BYTES};
use crate::policy::Limits;
use crate::shown::shown;

/// One `[[policy]]`.
#[derive(Clone, Debug)]
pub struct PolicyConfig {
    /// Its name, unique in the set: 1 to 64 bytes of `[a-z0-9][a-z0-9_-]*`.
    pub name: Arc<str>,
    /// Where its module comes from.
    pub module: ModuleSource,
    /// The digest that the module's bytes must have.
    pub sha256: Option<Digest>,
    /// Whether it counts.
    pub mode: Mode,
    /// What it may use: `[limits]`, as `[policy.limits]` changes them.
    pub limits: Limits,
    settings: Settings,
    header_offset: usize,
    source: Source,
}

/// Where a policy's module comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModuleSource {
    /// One of the modules that keyward ships.
    Builtin(Builtin),
    /// A component in a file.
    File(PathBuf),
}

/// The modules that keyward ships.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// `builtin:ip`.
    Ip,
    /// `builtin:rate`.
    Rate,
    /// `builtin:rotation`.
    Rotation,
    /// `builtin:scope`.
    Scope,
}

impl PolicyConfig {
    /// The settings as canonical JSON (RFC 8785); `{}` when there are none.
    #[must_use]
    pub const fn settings_json(&self) -> &Arc<str> {
        &self.settings.json
    }

    /// The file that it stands in.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.source.file
    }

    /// Where a setting stands, by its JSON pointer (RFC 6901) into [`PolicyConfig::settings_json`]:
    /// the key of a member, the value of a list's item. Where the pointer leads nowhere, the
    /// nearest value around it, and at last the header of the settings, or of the policy when it
    /// has none.
    #[must_use]
    pub fn locate(&self, pointer: &str) -> Position {
        self.source.position(self.settings.offset_of(pointer))
    }

    /// Where the `[[policy]]` begins.
    #[must_use]
    pub fn position(&self) -> Position {
        self.source.position(self.header_offset)
    }
}

impl Builtin {
    /// Every module, by the name behind `builtin:`.
    pub const ALL: [(&'static str, Self); 4] = [
        ("scope", Self::Scope),
        ("rotation", Self::Rotation),
        ("ip", Self::Ip),
        ("rate", Self::Rate),
    ];

    /// The name in `module`, for example `builtin:scope`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "builtin:ip",
            Self::Rate => "builtin:rate",
            Self::Rotation => "builtin:rotation",
            Self::Scope => "builtin:scope",
        }
    }
}

/// Reads every `[[policy]]`, in order.
pub(super) fn read(
    sections: Vec<Section<'_, '_>>,
    defaults: Limits,
    source: &Source,
    problems: &mut Problems,
) -> Vec<PolicyConfig> {
    if let Some(first_over) = sections.get(POLICIES_MAX) {
        let error = ConfigError::TooMany {
            section: "[[policy]]",
            most: POLICIES_MAX,
        };
        problems.note(first_over.offset(), error);
    }
    let first = sections.first().map(Section::offset);
    let mut names = BTreeSet::new();
    let mut policies = Vec::new();
    let mut may_enforce = false;
    for mut section in sections {
        let mode = section.choice("mode", &MODES, problems);
        // A mode that cannot be read may have been meant to enforce.
        may_enforce |= mode.is_none_or(|mode| mode == Mode::Enforce);
        let name = section.required_text("name", problems);
        let name = name.and_then(|name| read_name(name, &mut names, problems));
        let module = section.required_text("module", problems);
        let module = module.and_then(|module| read_module(module, &source.file, problems));
        let rest = read_rest(section, defaults, problems);
        if let (Some(name), Some(module), Some(mode)) = (name, module, mode) {
            let Rest {
                sha256,
                limits,
                settings,
                header_offset,
            } = rest;
            let source = source.clone();
            policies.push(PolicyConfig {
                name,
                module,
                sha256,
                mode,
                limits,
                settings,
                header_offset,
                source,
            });
        }
    }
    if !may_enforce {
        problems.note(first.unwrap_or_default(), ConfigError::NoEnforcingPolicy);
    }
    policies
}

/// The modes; the first is the default.
const MODES: [(&str, Mode); 2] = [("enforce", Mode::Enforce), ("shadow", Mode::Shadow)];

/// What a policy need not have.
struct Rest {
    sha256: Option<Digest>,
    limits: Limits,
    settings: Settings,
    header_offset: usize,
}

/// Reads the optional keys of a policy and ends its section.
fn read_rest(mut section: Section<'_, '_>, defaults: Limits, problems: &mut Problems) -> Rest {
    let sha256 = section.text("sha256", problems).and_then(|text| {
        let digest = text.value.parse();
        digest
            .map_err(|error| problems.note(text.offset, ConfigError::Digest(error)))
            .ok()
    });
    let limits = match section.section("limits", "[policy.limits]", problems) {
        Some(limits) => limits::read(defaults, limits, problems),
        None => defaults,
    };
    let settings = match section.section("settings", "[policy.settings]", problems) {
        Some(settings) => Settings::read(settings.table(), settings.offset(), problems),
        None => Settings::none(section.offset()),
    };
    let header_offset = section.offset();
    section.finish(problems);
    Rest {
        sha256,
        limits,
        settings,
        header_offset,
    }
}

/// A name that no policy before it has.
fn read_name(
    name: At<&str>,
    names: &mut BTreeSet<String>,
    problems: &mut Problems,
) -> Option<Arc<str>> {
    let is_sound = name.value.len() <= POLICY_NAME_MAX_BYTES
        && !name.value.starts_with(['_', '-'])
        && name
            .value
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    if !is_sound {
        problems.note(name.offset, ConfigError::PolicyName(shown(name.value)));
    } else if !names.insert(name.value.to_owned()) {
        problems.note(
            name.offset,
            ConfigError::PolicyNameTwice(name.value.to_owned()),
        );
    }
    is_sound.then(|| name.value.into())
}

/// `builtin:…`, or a path beside the file. Other schemes are kept free.
fn read_module(module: At<&str>, file: &Path, problems: &mut Problems) -> Option<ModuleSource> {
    if let Some(name) = module.value.strip_prefix("builtin:") {
        let found = Builtin::ALL.into_iter().find(|(known, _)| *known == name);
        if found.is_none() {
            let known = Builtin::ALL
                .into_iter()
                .map(|(_, builtin)| builtin.as_str());
            problems.note(module.offset, not_one_of("module", module.value, known));
        }
        return found.map(|(_, builtin)| ModuleSource::Builtin(builtin));
    }
    // One letter before a colon is a drive.
    let scheme = module.value.split_once(':').map(|(scheme, _)| scheme);
    let is_scheme = |it: &&str| it.len() > 1 && it.bytes().all(|b| b.is_ascii_alphanumeric());
    if let Some(scheme) = scheme.filter(is_scheme) {
        problems.note(
            module.offset,
            ConfigError::ModuleScheme(format!("{}:", shown(scheme))),
        );
        return None;
    }
    Some(ModuleSource::File(super::beside(file, module.value)))
}
