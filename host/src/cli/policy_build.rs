//! `keyward policy build`: from a policy crate to a checked component.
//!
//! Compiles with whatever rustc on this machine has a wasm32 standard library or the means to build
//! one, makes the core module a component, loads it as the host would, and reports size and
//! imports.

mod lock;
mod source;
mod toolchain;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use wit_component::ComponentEncoder;

use super::{Failure, Status, open, print};
use crate::digest::Digest;
use crate::policy::{Engine, Inspection, LoadError, inspect};
use toolchain::Toolchain;

/// Arguments of `keyward policy build`.
#[derive(Args, Debug)]
pub(super) struct BuildArgs {
    /// Folders of policy crates, each with a Cargo.toml
    #[arg(required = true, value_name = "CRATE_DIR")]
    crates: Vec<PathBuf>,
    /// Where the components go: `<name>.wasm`, without the `keyward-` of the crate's name
    #[arg(long, value_name = "DIR", default_value = ".")]
    out_dir: PathBuf,
    /// Also write DIR/lock.toml: digests of the components and their sources, and the compiler
    #[arg(long)]
    lock: bool,
}

pub(super) const EXAMPLES: &str = "\
Example:
  keyward policy build my-policy               my-policy/ becomes ./my-policy.wasm
  keyward policy build --out-dir modules --lock policies/*

Then, in keyward.toml:
  [[policy]]
  name = \"mine\"
  module = \"my-policy.wasm\"";

/// A component that was built and checked.
struct Built {
    name: String,
    wasm: Vec<u8>,
    inspection: Inspection,
    source: Digest,
}

/// A component larger than this is worth a word: it is compiled at every start without a cache.
const SIZE_NOTED_BYTES: usize = 80 << 10;

const NO_POLICY: &str =
    "export a policy with `keyward_policy::export!(…)` at the root of the crate";

/// Runs the command.
pub(super) fn run(args: &BuildArgs) -> Result<Status, Failure> {
    let toolchain = Toolchain::find().map_err(Failure::usage)?;
    let engine = open::engine().map_err(Failure::usage)?;
    std::fs::create_dir_all(&args.out_dir)
        .with_context(|| format!("the folder `{}` cannot be made", args.out_dir.display()))
        .map_err(Failure::usage)?;
    let mut locked = Vec::new();
    for folder in &args.crates {
        let built = build(&toolchain, &engine, folder)
            .with_context(|| format!("`{}` was not built", folder.display()))
            .map_err(Failure::usage)?;
        let file = args.out_dir.join(format!("{}.wasm", built.name));
        write(&file, &built.wasm).map_err(Failure::usage)?;
        report(&file, &built)?;
        locked.push(lock::Locked {
            name: built.name,
            sha256: Digest::of(&built.wasm),
            source_sha256: built.source,
        });
    }
    if args.lock {
        let text = lock::text(toolchain.version(), &locked);
        write(&args.out_dir.join("lock.toml"), text.as_bytes()).map_err(Failure::usage)?;
    }
    Ok(Status::Done)
}

/// The digest of a crate's sources.
pub(super) fn source_digest(folder: &Path) -> anyhow::Result<Digest> {
    source::Package::read(folder)?.source_digest()
}

/// The version of the compiler that would be used.
pub(super) fn wasm_compiler() -> Option<String> {
    Toolchain::find()
        .ok()
        .map(|toolchain| toolchain.version().to_owned())
}

fn build(toolchain: &Toolchain, engine: &Engine, folder: &Path) -> anyhow::Result<Built> {
    let package = source::Package::read(folder)?;
    let module = toolchain.compile(&package)?;
    let wasm = componentize(&module)?;
    let inspection = inspect(engine, &wasm).map_err(|error| match error {
        LoadError::Interface(_) => anyhow!("{error}\n{NO_POLICY}"),
        error => anyhow!("{error}"),
    })?;
    let name = package
        .name
        .strip_prefix("keyward-")
        .unwrap_or(&package.name)
        .to_owned();
    Ok(Built {
        name,
        wasm,
        inspection,
        source: package.source_digest()?,
    })
}

/// A component from a core module in which wit-bindgen has left its interface.
fn componentize(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    ComponentEncoder::default()
        .module(module)
        .and_then(|encoder| encoder.validate(true).encode())
        .context(NO_POLICY)
}

fn report(file: &Path, built: &Built) -> Result<Status, Failure> {
    let Built {
        wasm, inspection, ..
    } = built;
    let Inspection {
        descriptor,
        imports,
    } = inspection;
    let mut text = format!(
        "{}: {} {}, {} bytes, sha256 {}\n",
        file.display(),
        descriptor.name,
        descriptor.version,
        wasm.len(),
        Digest::of(wasm),
    );
    for import in imports {
        text.push_str(&format!("  imports {import}\n"));
    }
    if wasm.len() > SIZE_NOTED_BYTES {
        text.push_str("  note: larger than 80 KiB; it works, and takes longer to load\n");
    }
    print(&text)
}

fn write(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    // Beside the target first, so that a full disk leaves the old file as it was.
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    std::fs::write(&new, bytes)
        .and_then(|()| std::fs::rename(&new, file))
        .with_context(|| format!("`{}` cannot be written", file.display()))?;
    if std::fs::metadata(file)?.len() != bytes.len() as u64 {
        bail!("`{}` is not what was written", file.display());
    }
    Ok(())
}
