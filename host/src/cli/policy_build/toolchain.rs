//! Finding a rustc that can compile for `wasm32-unknown-unknown`, and compiling with it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, anyhow, bail};

use super::source::{Package, cargo};

const TARGET: &str = "wasm32-unknown-unknown";
/// Stack of the policy, in bytes. Small, so that a fresh instance is one 64 KiB page and a little.
const POLICY_STACK_BYTES: u32 = 16 << 10;

/// A rustc that can make wasm.
pub(super) struct Toolchain {
    rustc: PathBuf,
    version: String,
    /// Its standard library is built along, from source.
    build_std: bool,
    linker: Option<PathBuf>,
    sysroot: PathBuf,
}

/// What to do where there is none.
const NONE_FOUND: &str = "no Rust compiler on this machine can make wasm; install its target with

    rustup target add wasm32-unknown-unknown

or, on Debian, a compiler and the source of its standard library with

    apt-get install rustc-web rust-web-src

and run the command again";

impl Toolchain {
    /// The rustc of the path when it has the target, else Debian's with its library's source.
    pub(super) fn find() -> anyhow::Result<Self> {
        let default = std::env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from);
        Self::among([default, PathBuf::from("/usr/bin/rustc")])
    }

    fn among(candidates: impl IntoIterator<Item = PathBuf>) -> anyhow::Result<Self> {
        candidates
            .into_iter()
            .find_map(Self::probe)
            .ok_or_else(|| anyhow!(NONE_FOUND))
    }

    /// `rustc --version` of the compiler.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    fn probe(rustc: PathBuf) -> Option<Self> {
        let version = ask(&rustc, &["--version"])?;
        let sysroot = PathBuf::from(ask(&rustc, &["--print", "sysroot"])?);
        let library = ask(&rustc, &["--print", "target-libdir", "--target", TARGET])?;
        let has_library = std::fs::read_dir(&library).is_ok_and(|entries| {
            entries
                .flatten()
                .any(|e| e.file_name().to_string_lossy().starts_with("libstd-"))
        });
        if has_library {
            let linker = None;
            return Some(Self {
                rustc,
                version,
                build_std: false,
                linker,
                sysroot,
            });
        }
        let has_source = sysroot
            .join("lib/rustlib/src/rust/library/std/Cargo.toml")
            .is_file();
        let linker = linker(&sysroot)?;
        has_source.then_some(Self {
            rustc,
            version,
            build_std: true,
            linker: Some(linker),
            sysroot,
        })
    }

    /// Compiles a crate to a core module and returns its bytes.
    pub(super) fn compile(&self, package: &Package) -> anyhow::Result<Vec<u8>> {
        // A folder of its own: the flags differ from those of every other build.
        let target = package.root.join("target").join("keyward-policy");
        let mut cargo = Command::new(cargo());
        cargo
            .args([
                "build",
                "--release",
                "--lib",
                "--target",
                TARGET,
                "--manifest-path",
            ])
            .arg(&package.manifest)
            .env("RUSTC", &self.rustc)
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags(package)?)
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTFLAGS");
        for (name, value) in PROFILE {
            cargo.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
        }
        if package.root.join("Cargo.lock").is_file() {
            cargo.arg("--locked");
        }
        if self.build_std {
            cargo
                .args([
                    "-Zbuild-std=std,panic_abort",
                    "-Zbuild-std-features=optimize_for_size",
                ])
                .env("RUSTC_BOOTSTRAP", "1");
        }
        let status = cargo.status().context("`cargo` cannot be run")?;
        if !status.success() {
            bail!("the compiler refused it; its messages are above");
        }
        let file = format!("{}.wasm", package.name.replace('-', "_"));
        let file = target.join(TARGET).join("release").join(file);
        std::fs::read(&file).with_context(|| {
            format!(
                "the build left no `{}`; give the crate `[lib] crate-type = [\"cdylib\", \"rlib\"]`",
                file.display()
            )
        })
    }

    /// Flags for rustc, separated as `CARGO_ENCODED_RUSTFLAGS` wants them. Paths of this machine
    /// are mapped away, so that the bytes are the same everywhere.
    fn flags(&self, package: &Package) -> anyhow::Result<OsString> {
        let mut flags = vec![
            OsString::from(format!("-Clink-arg=-zstack-size={POLICY_STACK_BYTES}")),
            "-Clink-arg=--stack-first".into(),
        ];
        if let Some(linker) = &self.linker {
            let mut flag = OsString::from("-Clinker=");
            flag.push(linker);
            flags.push(flag);
        }
        let home = std::env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
        let home = home.ok_or_else(|| anyhow!("neither CARGO_HOME nor HOME is set"))?;
        let mut mappings = vec![(package.root.clone(), "/source")];
        mappings.push((self.sysroot.join("lib/rustlib/src/rust"), "/rust"));
        for registry in std::fs::read_dir(home.join("registry/src"))
            .into_iter()
            .flatten()
        {
            mappings.push((registry?.path(), "/registry"));
        }
        for (from, to) in mappings {
            let mut flag = OsString::from("--remap-path-prefix=");
            flag.push(from);
            flag.push("=");
            flag.push(to);
            flags.push(flag);
        }
        Ok(flags.join(std::ffi::OsStr::new("\u{1f}")))
    }
}

/// The release profile of a policy, whatever its workspace says: the same bytes for everyone.
const PROFILE: [(&str, &str); 8] = [
    ("OPT_LEVEL", "2"),
    ("LTO", "fat"),
    ("CODEGEN_UNITS", "1"),
    ("PANIC", "abort"),
    ("STRIP", "symbols"),
    ("DEBUG", "false"),
    ("DEBUG_ASSERTIONS", "false"),
    ("OVERFLOW_CHECKS", "true"),
];

/// Runs rustc and returns the line that it prints; `None` where it cannot.
fn ask(rustc: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new(rustc).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// A linker for wasm: the one in the compiler's own folders, any rustup toolchain's, or lld.
fn linker(sysroot: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = |name: &str| {
        std::env::split_paths(&path)
            .map(|dir| dir.join(name))
            .collect()
    };
    let mut candidates: Vec<PathBuf> = Vec::new();
    let sysroots = [
        Some(sysroot.to_owned()),
        ask(Path::new("rustc"), &["--print", "sysroot"]).map(PathBuf::from),
    ];
    for sysroot in sysroots.into_iter().flatten() {
        let hosts = std::fs::read_dir(sysroot.join("lib/rustlib"))
            .into_iter()
            .flatten()
            .flatten();
        candidates.extend(hosts.map(|host| host.path().join("bin/rust-lld")));
    }
    let lld: Vec<PathBuf> = on_path("wasm-ld");
    candidates.extend(lld);
    candidates.into_iter().find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_to_install_where_no_compiler_serves() {
        for candidates in [
            vec![],
            vec!["/nowhere/rustc".into()],
            vec!["/bin/true".into()],
        ] {
            let error = Toolchain::among(candidates).err().unwrap().to_string();
            assert!(
                error.contains("rustup target add wasm32-unknown-unknown"),
                "{error}"
            );
            assert!(
                error.contains("apt-get install rustc-web rust-web-src"),
                "{error}"
            );
        }
    }
}
