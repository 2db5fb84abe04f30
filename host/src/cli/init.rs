//! `keyward init`: a folder to start from. What it writes is the quick start of the repository.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueHint};

use super::{Failure, Status, print};

/// Arguments of `keyward init`.
#[derive(Args, Debug)]
pub(super) struct InitArgs {
    /// The folder; it is made where there is none, and no file in it is overwritten
    #[arg(value_hint = ValueHint::DirPath)]
    folder: PathBuf,
}

pub(super) const EXAMPLES: &str = "\
Example:
  keyward init demo && cd demo && keyward check && keyward evaluate requests.jsonl";

const FILES: [(&str, &str); 3] = [
    (
        "keyward.toml",
        include_str!("../../examples/quickstart/keyward.toml"),
    ),
    (
        "keys.jsonl",
        include_str!("../../examples/quickstart/keys.jsonl"),
    ),
    (
        "requests.jsonl",
        include_str!("../../examples/quickstart/requests.jsonl"),
    ),
];

/// Runs the command.
pub(super) fn run(args: &InitArgs) -> Result<Status, Failure> {
    let folder = args.folder.display();
    std::fs::create_dir_all(&args.folder)
        .with_context(|| format!("the folder `{folder}` cannot be made"))
        .map_err(Failure::Usage)?;
    if let Some((name, _)) = FILES
        .iter()
        .find(|(name, _)| args.folder.join(name).exists())
    {
        return Err(Failure::usage(anyhow!(
            "`{folder}` has a `{name}` already; nothing was written, name another folder"
        )));
    }
    for (name, text) in FILES {
        let path = args.folder.join(name);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("`{}` cannot be written", path.display()))
            .map_err(Failure::Usage)?;
    }
    print(&format!(
        "wrote keyward.toml, keys.jsonl and requests.jsonl to `{folder}`\n\
         next: cd {folder} && keyward evaluate requests.jsonl\n"
    ))
}
