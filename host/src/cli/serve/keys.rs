//! What the Admin API of a service knows keys by: its configuration, its log and its policies.

use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use arc_swap::ArcSwap;

use super::super::cert::{governance_signer, revocation::issued};
use super::super::key::marks::Marks;
use super::super::key::preflight::is_used;
use super::super::log::decision_json;
use crate::audit::explain::explain;
use crate::audit::find_decision;
use crate::authorizer::Authorizer;
use crate::config::{Config, RegistrySource};
use crate::decision::DecisionId;
use crate::governance::certificate::limited;
use crate::governance::keeper::{Evidence, EvidenceError};
use crate::governance::rules::KeyRules;
use crate::key::{KeyId, KeyRecord};
use crate::log::LogReader;
use crate::serve::{Explained, KeySource};
use crate::timestamp::Timestamp;

/// What the Admin API knows.
pub(super) struct Keys {
    /// Where the registry, the log and the governance key are: what needs another start to change.
    config: Config,
    rules: Arc<ArcSwap<KeyRules>>,
}

impl Keys {
    pub(super) fn new(config: &Config, rules: Arc<ArcSwap<KeyRules>>) -> Self {
        Self {
            config: config.clone(),
            rules,
        }
    }
}

impl KeySource for Keys {
    fn rules(&self) -> Arc<KeyRules> {
        self.rules.load_full()
    }

    fn registry(&self) -> Option<&Path> {
        match &self.config.registry.source {
            RegistrySource::Database(path) => Some(path),
            RegistrySource::JsonLines(_) | RegistrySource::Toml(_) => None,
        }
    }

    fn evidence<'a>(&'a self, authorizer: &'a Authorizer) -> Box<dyn Evidence + 'a> {
        Box::new(Known {
            log: &self.config.log.path,
            authorizer,
        })
    }

    fn decision(&self, id: DecisionId) -> Result<Option<Explained>, EvidenceError> {
        let reader = LogReader::open(&self.config.log.path)?;
        let found = find_decision(&reader, |record| record.id == id)?;
        Ok(found.map(|(index, record)| {
            let explanation = explain(&reader, &record);
            Explained {
                index,
                record: decision_json(&record),
                text: explanation.text,
                remedy: explanation.remedy,
            }
        }))
    }

    fn certificate(&self, key: KeyId) -> Result<Option<String>, EvidenceError> {
        // Without a governance key nobody has certified anything.
        if !self.config.governance_key().exists() {
            return Ok(None);
        }
        let told = |failure| EvidenceError::from(anyhow!(super::told(failure)));
        let signer = governance_signer(&self.config).map_err(told)?;
        let Some((_, proof)) = issued(&self.config, key, &signer).map_err(told)? else {
            return Ok(None);
        };
        Ok(Some(limited(&proof)?.proof.to_string()))
    }
}

/// What the log and the policies of a host say of keys.
struct Known<'a> {
    log: &'a Path,
    authorizer: &'a Authorizer,
}

impl Evidence for Known<'_> {
    fn used(&self, key: KeyId) -> Result<bool, EvidenceError> {
        Ok(is_used(self.log, key)?)
    }

    fn marks(&self, record: &KeyRecord, now: Timestamp) -> Option<Vec<String>> {
        let rules = self.authorizer.rules();
        Some(Marks::new(&rules.policies).reasons(record, now))
    }
}
