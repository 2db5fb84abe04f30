//! Between a record and its file form: defaults of absent members, and the way back.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserializer;
use serde::de::{Error as _, MapAccess, Visitor};

use super::KeyFile;
use crate::digest::Digest;
use crate::key::{Environment, KeyRecord, Lifecycle};
use crate::shown::shown;

/// `environment` where it is absent.
pub(super) fn live() -> String {
    Environment::Live.as_str().to_owned()
}

/// `lifecycle` where it is absent.
pub(super) fn active() -> String {
    Lifecycle::Active.as_str().to_owned()
}

/// Reads `labels`. Of two labels with one name a map would keep the second and say nothing.
pub(super) fn labels<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    struct Labels;

    impl<'de> Visitor<'de> for Labels {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of texts")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut labels = BTreeMap::new();
            while let Some((name, value)) = map.next_entry::<String, String>()? {
                if labels.contains_key(&name) {
                    let name = shown(&name);
                    return Err(A::Error::custom(format_args!("duplicate label `{name}`")));
                }
                labels.insert(name, value);
            }
            Ok(labels)
        }
    }

    deserializer.deserialize_map(Labels)
}

/// The file form of a record.
pub(super) fn of(record: &KeyRecord, secret: Option<Digest>) -> KeyFile {
    let texts = |texts: &[std::sync::Arc<str>]| texts.iter().map(ToString::to_string).collect();
    let networks = record.allowed_networks.as_ref();
    KeyFile {
        id: record.id.to_string(),
        owner: record.owner.to_string(),
        environment: record.environment.as_str().to_owned(),
        lifecycle: record.lifecycle.as_str().to_owned(),
        issued_at: record.issued_at.to_string(),
        not_before: record.not_before.map(|time| time.to_string()),
        rotate_by: record.rotate_by.map(|time| time.to_string()),
        expires_at: record.expires_at.map(|time| time.to_string()),
        grace_until: record.grace_until.map(|time| time.to_string()),
        scopes: texts(&record.scopes),
        read_only: record.read_only,
        allowed_networks: networks.map(|list| list.iter().map(ToString::to_string).collect()),
        labels: record
            .labels
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        secret_sha256: secret.map(|digest| digest.to_string()),
        version: None,
    }
}
