//! The sources of a policy crate, as Cargo sees them, and the digest that names them all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, anyhow, bail};
use serde::Deserialize;

use crate::digest::Digest;

/// A policy crate.
pub(super) struct Package {
    pub(super) name: String,
    pub(super) manifest: PathBuf,
    /// Where its workspace is.
    pub(super) root: PathBuf,
    metadata: Metadata,
}

/// What `cargo metadata` says, as far as it is needed.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    resolve: Resolve,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct MetadataPackage {
    id: String,
    name: String,
    version: String,
    source: Option<String>,
    manifest_path: PathBuf,
    metadata: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dep>,
}

#[derive(Deserialize)]
struct Dep {
    pkg: String,
    dep_kinds: Vec<DepKind>,
}

#[derive(Deserialize)]
struct DepKind {
    kind: Option<String>,
}

/// The most files that are read for one digest.
const FILES_MAX: usize = 10_000;

impl Package {
    /// Asks Cargo about a crate.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let manifest = folder.join("Cargo.toml");
        if !manifest.is_file() {
            bail!("there is no `Cargo.toml`; name the folder of a policy crate");
        }
        let manifest = manifest.canonicalize()?;
        let output = Command::new(cargo())
            .args(["metadata", "--format-version", "1", "--filter-platform"])
            .args(["wasm32-unknown-unknown", "--manifest-path"])
            .arg(&manifest)
            .output()
            .context("`cargo` cannot be run; install Rust with rustup")?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let metadata: Metadata = serde_json::from_slice(&output.stdout)
            .context("the answer of `cargo metadata` cannot be read")?;
        let package = metadata
            .packages
            .iter()
            .find(|package| package.manifest_path == manifest)
            .ok_or_else(|| {
                anyhow!("it is a workspace without a package; name one of its crates")
            })?;
        let (name, root) = (package.name.clone(), metadata.workspace_root.clone());
        Ok(Self {
            name,
            manifest,
            root,
            metadata,
        })
    }

    /// The digest of everything that the component is made from: every file of the crate and of the
    /// crates that it uses by path, and name and version of those from a registry.
    pub(super) fn source_digest(&self) -> anyhow::Result<Digest> {
        let packages: BTreeMap<&str, &MetadataPackage> = self
            .metadata
            .packages
            .iter()
            .map(|package| (&*package.id, package))
            .collect();
        let mut lines = BTreeSet::new();
        for id in self.closure()? {
            let package = packages
                .get(id)
                .ok_or_else(|| anyhow!("cargo does not describe `{id}`"))?;
            if package.source.is_some() {
                lines.insert(format!("{} {}", package.name, package.version));
            } else {
                for (path, digest) in files(package)? {
                    lines.insert(format!("{}/{path} {digest}", package.name));
                }
            }
        }
        let text = lines.into_iter().collect::<Vec<_>>().join("\n");
        Ok(Digest::of(text.as_bytes()))
    }

    /// The crate and all that it depends on when it is built, by id.
    fn closure(&self) -> anyhow::Result<BTreeSet<&str>> {
        let nodes: BTreeMap<&str, &Node> = self
            .metadata
            .resolve
            .nodes
            .iter()
            .map(|node| (&*node.id, node))
            .collect();
        let own = self
            .metadata
            .packages
            .iter()
            .find(|p| p.manifest_path == self.manifest);
        let own = own.ok_or_else(|| anyhow!("cargo does not describe the crate"))?;
        let mut seen = BTreeSet::from([&*own.id]);
        let mut queue = VecDeque::from([&*own.id]);
        while let Some(id) = queue.pop_front() {
            let node = nodes
                .get(id)
                .ok_or_else(|| anyhow!("cargo does not resolve `{id}`"))?;
            for dep in &node.deps {
                let only_dev = dep
                    .dep_kinds
                    .iter()
                    .all(|kind| kind.kind.as_deref() == Some("dev"));
                if !only_dev && seen.insert(&dep.pkg) {
                    queue.push_back(&dep.pkg);
                }
            }
        }
        Ok(seen)
    }
}

/// The cargo that runs us, or the one on the path.
pub(super) fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// The files of a package by their path in it. `sources = ["…"]` under `[package.metadata.keyward]`
/// adds folders that lie outside.
fn files(package: &MetadataPackage) -> anyhow::Result<BTreeMap<String, Digest>> {
    let folder = package
        .manifest_path
        .parent()
        .ok_or_else(|| anyhow!("a package without a folder"))?;
    let mut found = BTreeMap::new();
    collect(folder, Path::new(""), &mut found)?;
    let sources = package
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.get("keyward")?.get("sources")?.as_array());
    for source in sources
        .into_iter()
        .flatten()
        .filter_map(serde_json::Value::as_str)
    {
        collect(&folder.join(source), Path::new(source), &mut found)?;
    }
    Ok(found)
}

fn collect(folder: &Path, name: &Path, found: &mut BTreeMap<String, Digest>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("the folder `{}` cannot be read", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let (path, name) = (entry.path(), name.join(entry.file_name()));
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if hidden || (entry.file_name() == "target" && path.is_dir()) {
            continue;
        }
        if path.is_dir() {
            collect(&path, &name, found)?;
            continue;
        }
        if found.len() >= FILES_MAX {
            bail!("it has more than {FILES_MAX} files");
        }
        let bytes = std::fs::read(&path)
            .with_context(|| format!("the file `{}` cannot be read", path.display()))?;
        found.insert(
            name.to_string_lossy().replace('\\', "/"),
            Digest::of(&bytes),
        );
    }
    Ok(())
}
