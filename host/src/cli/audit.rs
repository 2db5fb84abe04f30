//! `keyward audit`: what a log says became of a key, and a statement of it for those who have no
//! log.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueHint};

use super::cert::governance_signer;
use super::key::OneKey;
use super::key::keeper::os_user;
use super::log::{TrustedLog, signed_text, write_file};
use super::output::{ALLOW, DENY};
use super::{Failure, Status, complain, open, print};
use crate::audit::uses::{Uses, UsesError, uses_after};
use crate::clock;
use crate::governance::principal::{Action, authorize};
use crate::governance::statement::NoAllowClaims;
use crate::tlog::key::Signer;
use crate::tlog::policy::Policy;

/// The commands.
#[derive(Subcommand, Debug)]
pub(super) enum AuditCommand {
    /// Say whether nothing was allowed with a key since it was revoked, and sign that
    #[command(after_help = EXAMPLES)]
    NoAllowAfter(NoAllowArgs),
}

/// Arguments of `keyward audit no-allow-after`.
#[derive(Args, Debug)]
pub(super) struct NoAllowArgs {
    #[command(flatten)]
    key: OneKey,
    #[command(flatten)]
    trusted: TrustedLog,
    /// The first entry to read; by default the event that revoked the key
    #[arg(long, value_name = "INDEX")]
    from: Option<u64>,
    /// Where to write the statement, signed by the governance key; by default nothing is signed
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    out: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  keyward audit no-allow-after k7Qp2mXw9LaR
  keyward audit no-allow-after k7Qp2mXw9LaR --out k7Qp2mXw9LaR.no-allow
  keyward cert check k7Qp2mXw9LaR.no-allow     what the receiver does

It reads the entries up to the end of the last checkpoint, which has to sign them.

Exit status: 0 nothing was allowed; 1 something was, and no statement is written.";

/// Runs a command.
pub(super) fn run(config: &Path, command: &AuditCommand) -> Result<Status, Failure> {
    match command {
        AuditCommand::NoAllowAfter(args) => no_allow_after(config, args),
    }
}

fn no_allow_after(config: &Path, args: &NoAllowArgs) -> Result<Status, Failure> {
    let key = args.key.id()?;
    // Who may not sign is told before all of the log is read.
    let signer = args.out.as_ref().map(|_| signer(config)).transpose()?;
    let (folder, policy) = args.trusted.read(config)?;
    let uses = match uses_after(&folder, &policy, (key, args.from)) {
        Ok(uses) => uses,
        Err(error @ UsesError::Root) => {
            complain(&anyhow::Error::new(error));
            return Ok(Status::DidNotHold);
        }
        Err(error @ (UsesError::NotRevoked(_) | UsesError::Nothing { .. })) => {
            return Err(Failure::usage(error));
        }
        Err(error) => {
            let error = anyhow::Error::new(error);
            let context = format!("log folder `{}`", folder.display());
            return Err(Failure::Storage(error.context(context)));
        }
    };
    print(&uses_text(&uses, &policy)?)?;
    let Some(claims) = NoAllowClaims::of(&uses, clock::now()) else {
        return Ok(Status::DidNotHold);
    };
    if let (Some(out), Some(signer)) = (&args.out, signer) {
        let statement = claims.sign(&signer).map_err(Failure::storage)?;
        write_file(out, &statement)?;
    }
    Ok(Status::Done)
}

/// The governance key, for who may use it.
fn signer(config: &Path) -> Result<Signer, Failure> {
    let config = open::config(config)?;
    let intent = (Action::Certify, clock::now());
    authorize(&config.principals, &os_user(&config), intent).map_err(Failure::usage)?;
    governance_signer(&config)
}

fn uses_text(uses: &Uses, policy: &Policy) -> Result<String, Failure> {
    let accepted = policy.check(&uses.checkpoint);
    let accepted = accepted
        .context("the checkpoint")
        .map_err(Failure::Storage)?;
    let mut text = signed_text(&uses.checkpoint, &accepted);
    let (first, last) = (uses.entries.start, uses.entries.end.saturating_sub(1));
    let (style, found) = match uses.allowed {
        0 => (ALLOW, "nothing was allowed".to_owned()),
        count => (DENY, format!("{count} of them allowed")),
    };
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "key {}: {} decisions in entries {first} to {last}: {style}{found}{style:#}",
        uses.key, uses.decisions
    );
    for (index, time) in &uses.shown {
        let _ = writeln!(text, "  allowed: entry {index} at {time}");
    }
    let rest = uses.allowed.saturating_sub(uses.shown.len() as u64);
    if rest > 0 {
        let _ = writeln!(text, "  and {rest} more");
    }
    Ok(text)
}
