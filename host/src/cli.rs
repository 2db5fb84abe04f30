//! The command line: arguments, one file for each command, and the exit status.
//!
//! 0 done; 1 done, and something did not hold (a mismatch in a replay, a line that is no request);
//! 2 usage or configuration; 3 the log or the registry failed. Results go to standard output,
//! everything else to standard error.

mod audit;
mod cert;
mod check;
mod doctor;
mod evaluate;
mod explain;
mod init;
mod input;
mod key;
mod log;
mod open;
mod output;
mod policy_build;
mod registry;
mod replay;
mod serve;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{CommandFactory, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use crate::digest::Digest;
use crate::log::{LogReader, Pruned};
use crate::policy::ENGINE;
use crate::shown::without_credentials;

/// API-key governance decided by sandboxed WebAssembly policies
#[derive(Parser, Debug)]
#[command(name = "keyward", version = VERSION.as_str(), after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    /// The configuration
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "keyward.toml"
    )]
    #[arg(value_hint = ValueHint::FilePath)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make a folder with a commented configuration, sample keys and requests
    #[command(after_help = init::EXAMPLES)]
    Init(init::InitArgs),
    /// Load everything and report every error at once; with --against-log also what would change
    #[command(after_help = check::EXAMPLES)]
    Check(check::CheckArgs),
    /// Decide access requests from a file, and record every decision
    #[command(after_help = evaluate::EXAMPLES)]
    Evaluate(evaluate::EvaluateArgs),
    /// Answer gateways over HTTP and gRPC
    #[command(after_help = serve::EXAMPLES)]
    Serve(serve::ServeArgs),
    /// Evaluate every decision of a log again and compare
    #[command(after_help = replay::EXAMPLES)]
    Replay(replay::ReplayArgs),
    /// Say why a decision was what it was, and what the key's owner can do
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::ExplainArgs),
    /// Sign, verify, prove and show the log
    #[command(subcommand)]
    Log(log::LogCommand),
    /// Issue, import, export and show keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Certify revocations, and check what was certified
    #[command(subcommand)]
    Cert(cert::CertCommand),
    /// Say from a log what became of a key
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Back up, check and migrate the registry file
    #[command(subcommand)]
    Registry(registry::RegistryCommand),
    /// Build policy modules
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Examine what stands around keyward
    #[command(subcommand)]
    Doctor(doctor::DoctorCommand),
    /// Print a script that completes commands in a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Subcommand, Debug)]
enum PolicyCommand {
    /// Build policy crates into checked components
    #[command(after_help = policy_build::EXAMPLES)]
    Build(policy_build::BuildArgs),
}

const EXAMPLES: &str = "\
Examples:
  keyward init demo && cd demo              a folder to play with
  keyward evaluate requests.jsonl           decide, show a table, record
  keyward explain q04                       why request q04 was refused
  keyward replay log                        evaluate the log again, from the log alone
  keyward log init                          sign the log from now on, so that others can verify it
  keyward log verify                        every entry is as it was signed
  keyward key issue --owner sync --scope inventory:read --expires-in-days 90

Exit status: 0 done; 1 done, and something did not hold; 2 usage or configuration;
3 the log or the registry failed.";

const COMPLETIONS_EXAMPLES: &str = "\
Example:
  keyward completions bash > ~/.local/share/bash-completion/completions/keyward";

/// The digest of everything that a policy crate is made from, as `keyward policy build --lock`
/// writes it: its files, those of the crates that it uses by path, and the versions of the others.
///
/// # Errors
/// When the folder is no crate, or Cargo cannot resolve it.
pub fn source_digest(folder: &Path) -> anyhow::Result<Digest> {
    policy_build::source_digest(folder)
}

/// The `rustc --version` of the compiler that `keyward policy build` would use; `None`: this
/// machine has none that makes wasm.
#[must_use]
pub fn wasm_compiler() -> Option<String> {
    policy_build::wasm_compiler()
}

/// What a command that ran came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// Done, and everything held.
    Done,
    /// Done, and something did not hold.
    DidNotHold,
}

/// Why a command did not run, or not to its end.
#[derive(Debug)]
enum Failure {
    /// Usage or configuration.
    Usage(anyhow::Error),
    /// The log or the registry.
    Storage(anyhow::Error),
    /// Whoever reads our output has stopped, which is theirs to do.
    Closed,
}

impl Failure {
    fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self::Usage(error.into())
    }

    fn storage(error: impl Into<anyhow::Error>) -> Self {
        Self::Storage(error.into())
    }

    /// Standard output does not take what we print.
    fn output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::Closed;
        }
        Self::Storage(anyhow::Error::new(error).context("standard output cannot be written"))
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and are no error.
            let code = if error.use_stderr() { 2 } else { 0 };
            let shown = match code {
                0 => error.print(),
                // It quotes what was given, which may be a credential in the wrong place.
                _ => {
                    let text = without_credentials(&error.render().ansi().to_string());
                    write!(anstream::stderr().lock(), "{text}")
                }
            };
            return match shown {
                Ok(()) => ExitCode::from(code),
                Err(_) => ExitCode::from(3),
            };
        }
    };
    match run(&cli) {
        Ok(Status::Done) | Err(Failure::Closed) => ExitCode::SUCCESS,
        Ok(Status::DidNotHold) => ExitCode::from(1),
        Err(Failure::Usage(error)) => {
            complain(&error);
            ExitCode::from(2)
        }
        Err(Failure::Storage(error)) => {
            complain(&error);
            ExitCode::from(3)
        }
    }
}

fn run(cli: &Cli) -> Result<Status, Failure> {
    match &cli.command {
        Command::Init(args) => init::run(args),
        Command::Check(args) => check::run(&cli.config, args),
        Command::Serve(args) => serve::run(&cli.config, args),
        Command::Evaluate(args) => evaluate::run(&cli.config, args),
        Command::Replay(args) => replay::run(&cli.config, args),
        Command::Explain(args) => explain::run(&cli.config, args),
        Command::Log(command) => log::run(&cli.config, command),
        Command::Key(command) => key::run(&cli.config, command),
        Command::Cert(command) => cert::run(&cli.config, command),
        Command::Audit(command) => audit::run(&cli.config, command),
        Command::Registry(command) => registry::run(&cli.config, command),
        Command::Policy(PolicyCommand::Build(args)) => policy_build::run(args),
        Command::Doctor(command) => doctor::run(command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "keyward", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    }
}

/// Prints to standard output, in colour where it is a terminal.
fn print(text: &str) -> Result<Status, Failure> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Failure::output)?;
    Ok(Status::Done)
}

/// Says something on standard error, which cannot control the terminal whatever it quotes. Nobody
/// is told when that cannot be written.
fn say(text: impl Display) {
    let text = output::message(&text.to_string());
    drop(writeln!(anstream::stderr().lock(), "{text}"));
}

fn complain(error: &anyhow::Error) {
    let style = output::DENY;
    let text = output::message(&format!("{error:#}"));
    drop(writeln!(
        anstream::stderr().lock(),
        "{style}error:{style:#} {text}"
    ));
}

/// The log folder that a command is about: the one that it names, or that of the configuration.
fn log_folder(named: Option<&Path>, config: &Path) -> Result<PathBuf, Failure> {
    match named {
        Some(folder) => Ok(folder.to_owned()),
        None => Ok(open::config(config)?.log.path),
    }
}

/// What a log does not keep any more, for a message; `None`: it keeps everything.
fn pruned_text(reader: &LogReader) -> Option<String> {
    let Pruned { record, retention } = reader.pruned().ok()??;
    Some(format!(
        "entries under {} are no longer kept, by the policy that is entry {record}",
        retention.below
    ))
}

static VERSION: LazyLock<String> =
    LazyLock::new(|| format!("{} ({ENGINE})", env!("CARGO_PKG_VERSION")));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
