//! The scope policy in other languages: once something is known, the language it was written in
//! costs nothing.

use std::path::Path;
use std::sync::Arc;

use keyward::policy::{Engine, PolicySet, ReuseOptions};

use crate::ours::{self, Host, Unrecorded};
use crate::peer::Row;
use crate::settings::KEYWARD;
use crate::workload::{Request, Workload};

/// The builds of the folder `guests`, by file name.
const GUESTS: [(&str, &str); 2] = [
    ("scope in JavaScript, warm", "scope-js.wasm"),
    ("scope in Python, warm", "scope-python.wasm"),
];
/// The row that the others are compared with.
pub(crate) const RUST: &str = "scope in Rust, warm";

/// A row for each language.
///
/// # Errors
/// A component that is not there, or that decides otherwise than the one in Rust.
pub(crate) fn rows(
    engine: &Engine,
    workload: &Workload,
    folder: &Path,
) -> Result<Vec<Row>, String> {
    let requests: Arc<[Request]> = workload.requests.as_slice().into();
    let access_requests = ours::access_requests(&requests);
    let (name, scope, settings) = KEYWARD[0];
    let host = |module: &[u8]| {
        let policies = vec![ours::policy(engine, (name, module, settings))];
        let policies = PolicySet::new(policies).unwrap();
        let policies = policies.with_reuse(ReuseOptions::default());
        Arc::new(Host::with(ours::registry(workload), policies))
    };
    let rust = host(scope);
    let mut hosts = vec![(RUST, Arc::clone(&rust))];
    for (name, file) in GUESTS {
        let path = folder.join(file);
        let module = std::fs::read(&path)
            .map_err(|error| format!("`{}`: {error}; build it", path.display()))?;
        let guest = host(&module);
        for (request, access_request) in requests.iter().zip(&*access_requests) {
            if !guest.agrees(&rust, access_request) {
                return Err(format!("`{name}` decides {} otherwise", request.id));
            }
        }
        hosts.push((name, guest));
    }
    let row = |(name, host)| Row {
        name,
        packages: &[],
        keys: workload.keys.len(),
        requests: Arc::clone(&requests),
        peer: Box::new(Unrecorded {
            host,
            requests: Arc::clone(&access_requests),
        }),
    };
    Ok(hosts.into_iter().map(row).collect())
}
