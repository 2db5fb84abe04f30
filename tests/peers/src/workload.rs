//! The workload: keys, requests, and the decision that an independent reading of the specification
//! expects for each request.
//!
//! `workload/*.jsonl.gz` is what is measured. `workload/edges` holds the instants and addresses on
//! both sides of every rule's edge, which random data seldom hits; it is only checked.

use std::collections::{BTreeSet, HashMap};
use std::io::Read as _;

use flate2::read::GzDecoder;
use keyward::address::{Address, Network};
use keyward::key::Lifecycle;
use keyward::timestamp::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// How many keys a workload has after [`Workload::multiplied`] by this: a million.
pub(crate) const MILLION_COPIES: usize = 1_000;

/// Keys and requests.
pub(crate) struct Workload {
    pub(crate) keys: Vec<Key>,
    /// The same keys as lines of JSON, for keyward's own reader.
    pub(crate) key_lines: String,
    pub(crate) requests: Vec<Request>,
    pub(crate) expected: Vec<Expected>,
}

/// A key as an engine's host holds it.
#[derive(Clone, Deserialize)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) issued_at: Timestamp,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) grace_until: Option<Timestamp>,
    pub(crate) scopes: Vec<String>,
    pub(crate) read_only: bool,
    /// Normalised, as a registry does when it saves a key.
    pub(crate) allowed_networks: Option<Vec<Network>>,
}

/// What a gateway knows of a request once its host has read it and mapped its route.
#[derive(Clone, Deserialize)]
pub(crate) struct Request {
    /// Where it stands in its workload.
    #[serde(skip)]
    pub(crate) index: usize,
    pub(crate) id: String,
    pub(crate) time: Timestamp,
    pub(crate) key: String,
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    /// What the route needs; `None`: no route matches.
    #[serde(rename = "required_scope")]
    pub(crate) scope: Option<String>,
    pub(crate) source: Option<Address>,
}

/// The decision that a request has to get.
#[derive(Deserialize)]
pub(crate) struct Expected {
    id: String,
    pub(crate) effect: String,
    pub(crate) reason: String,
}

impl Workload {
    /// 1,000 keys and 10,000 requests.
    pub(crate) fn measured() -> Self {
        Self::read([
            &gunzip(include_bytes!("../workload/keys.jsonl.gz")),
            &gunzip(include_bytes!("../workload/requests.jsonl.gz")),
            &gunzip(include_bytes!("../workload/expected.jsonl.gz")),
        ])
    }

    /// The edges of the rules.
    pub(crate) fn edges() -> Self {
        Self::read([
            include_str!("../workload/edges/keys.jsonl"),
            include_str!("../workload/edges/requests.jsonl"),
            include_str!("../workload/edges/expected.jsonl"),
        ])
    }

    fn read([keys, requests, expected]: [&str; 3]) -> Self {
        let mut requests: Vec<Request> = lines(requests);
        for (index, request) in requests.iter_mut().enumerate() {
            request.index = index;
        }
        let expected: Vec<Expected> = lines(expected);
        let ids = expected.iter().map(|expected| &expected.id);
        assert!(requests.iter().map(|request| &request.id).eq(ids));
        Self {
            keys: lines(keys),
            key_lines: keys.to_owned(),
            requests,
            expected,
        }
    }

    /// What the operator's route table requires: known before any request.
    pub(crate) fn scopes(&self) -> BTreeSet<&str> {
        let scopes = self.requests.iter().map(|request| request.scope.as_deref());
        scopes.flatten().collect()
    }

    /// The requests of this workload to `copies` times as many keys: each to one of the copies of
    /// its key, so that what is expected stays. The copies themselves are [`Self::copy`]'s.
    pub(crate) fn multiplied(&self, copies: usize) -> Vec<Request> {
        let keys = self.keys.iter().enumerate();
        let keys: HashMap<&str, usize> = keys.map(|(at, key)| (key.id.as_str(), at)).collect();
        let mut requests = self.requests.clone();
        for request in &mut requests {
            if let Some(key) = keys.get(request.key.as_str()) {
                // A prime apart, so that all copies are used.
                let copy = request.index.wrapping_mul(7_919) % copies;
                request.key = self.copied_id(*key, copy);
            }
        }
        requests
    }

    /// One copy of all keys, under ids of their own.
    pub(crate) fn copy(&self, copy: usize) -> (Vec<Key>, String) {
        let (mut keys, mut text) = (self.keys.clone(), String::new());
        for (at, (key, line)) in keys.iter_mut().zip(self.key_lines.lines()).enumerate() {
            let id = self.copied_id(at, copy);
            text.push_str(&line.replacen(&key.id, &id, 1));
            text.push('\n');
            key.id = id;
        }
        (keys, text)
    }

    fn copied_id(&self, key: usize, copy: usize) -> String {
        format!("{:012}", copy * self.keys.len() + key)
    }
}

fn gunzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

fn lines<T: DeserializeOwned>(text: &str) -> Vec<T> {
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}
