//! [tlog-policy]: which logs somebody trusts, which witnesses, and how many of these have to have
//! cosigned a checkpoint.
//!
//! ```text
//! # a comment
//! log <vkey> [<url>]
//! witness <name> <vkey> [<url>]
//! group <name> all|any|<k> <name>...
//! quorum <name>|none
//! ```
//! Items are separated by spaces and tabs. Names are of this file only, and are defined above where
//! they are used. A checkpoint satisfies the policy when one of its logs has signed it under the
//! log's own name, and the witness or the group that is the quorum has cosigned it.
//!
//! [tlog-policy]: https://c2sp.org/tlog-policy

mod parse;

use super::checkpoint::{CheckpointError, SignedCheckpoint, Verified};
use super::key::{KeyError, Verifier};

/// The largest policy.
pub const POLICY_MAX_BYTES: usize = 1 << 20;
/// The most logs of a policy. The specification asks for at least 32.
pub const LOGS_MAX: usize = 100;
/// The most witnesses of a policy. The specification asks for at least 32.
pub const WITNESSES_MAX: usize = 100;
/// The most groups of a policy. The specification asks for at least 32.
pub const GROUPS_MAX: usize = 100;

/// Which logs and witnesses somebody trusts.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    // INVARIANT: the members of a group are groups before it, and witnesses.
    groups: Vec<Group>,
    quorum: Option<Member>,
}

/// A log that is trusted.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// Its key, whose name is the log's origin.
    pub verifier: Verifier,
    /// Where it is reached, as the policy says.
    pub url: Option<String>,
}

/// A witness that is trusted.
#[derive(Clone, Debug, PartialEq)]
pub struct Witness {
    /// Its name in this policy, for people. It has `U+FFFD` where the file is not UTF-8.
    pub name: String,
    /// Its key, which is one that makes cosignatures.
    pub verifier: Verifier,
    /// Where it is reached, as the policy says.
    pub url: Option<String>,
}

/// By whom a checkpoint is signed that satisfies a policy: at least one log, and a quorum.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted<'a> {
    /// The logs of the policy: more than one when a log has several keys.
    pub logs: Vec<&'a Log>,
    /// The witnesses of the policy, and when they cosigned, in seconds since 1970.
    pub witnesses: Vec<(&'a Witness, u64)>,
}

/// Why a file is not a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Something is wrong with a line.
    #[error("line {line}: {problem}")]
    Line {
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: LineProblem,
    },
    /// No line says the quorum.
    #[error("no quorum; add `quorum <name>`, or `quorum none` to ask for no witness")]
    NoQuorum,
    /// Over [`POLICY_MAX_BYTES`].
    #[error("a policy of {0} bytes; the most is {POLICY_MAX_BYTES}")]
    TooLarge(usize),
}

/// What can be wrong with a line of a policy. Texts of the file stand in it escaped and cut short.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// A byte that a policy cannot have.
    #[error("the control character {0:#04x}; use spaces, tabs and plain newlines only")]
    Control(u8),
    /// A log or a witness has the same public key as one above.
    #[error("the public key is already that of line {0}; leave one of the two out")]
    DuplicateKey(usize),
    /// A name is defined twice.
    #[error("`{name}` is already defined in line {line}; choose another name")]
    DuplicateName {
        /// The name.
        name: String,
        /// The line that defines it.
        line: usize,
    },
    /// A second line says the quorum.
    #[error("the quorum is already said in line {0}; leave one of the two out")]
    DuplicateQuorum(usize),
    /// Not the items that such a line has.
    #[error("write `{0}`")]
    Form(&'static str),
    /// Not a key.
    #[error("the key is wrong: {0}")]
    Key(KeyError),
    /// The first item of the line is none of the four.
    #[error("`{0}` is not a policy line; write `log`, `witness`, `group` or `quorum`")]
    Keyword(String),
    /// A member that is a member already, of this group or of another one.
    #[error("`{name}` is already a member in line {line}; a name counts once in all groups")]
    MemberTwice {
        /// The name.
        name: String,
        /// The line of the other group, or of this one.
        line: usize,
    },
    /// The word for no quorum where a name has to be.
    #[error("`none` is not a name; it can only be the quorum")]
    None,
    /// Not how many members have to cosign.
    #[error("`{found}` is not a threshold; write `all`, `any` or a number from 1 to {members}")]
    Threshold {
        /// What the line says.
        found: String,
        /// How many members the group has.
        members: usize,
    },
    /// Over [`LOGS_MAX`], [`WITNESSES_MAX`] or [`GROUPS_MAX`].
    #[error("more than {0} lines of this kind")]
    TooMany(usize),
    /// A name that no line above defines.
    #[error("`{0}` is not defined above; define it with `witness` or `group` before it is used")]
    Unknown(String),
    /// A key for notes where one for cosignatures has to be.
    #[error("the key does not make cosignatures; use the witness's key of type 0x04 or 0x06")]
    WitnessKey,
}

/// Why a checkpoint does not satisfy a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RejectError {
    /// A signature of a known key is wrong.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// No log of the policy has signed it under its own name.
    #[error(
        "no log of the policy has signed the checkpoint under its own name; if you trust the log, \
         add `log` and its vkey to the policy"
    )]
    NoLog,
    /// Too few witnesses, or not the right ones.
    #[error("the witnesses that have cosigned the checkpoint ({count}) are not the quorum")]
    NoQuorum {
        /// How many witnesses of the policy have cosigned it.
        count: usize,
    },
}

/// A group of witnesses and groups, of which some have to cosign.
#[derive(Clone, Debug, PartialEq)]
struct Group {
    threshold: usize,
    members: Vec<Member>,
}

/// A witness or a group by its position among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Group(usize),
    Witness(usize),
}

impl Policy {
    /// Reads a policy. The newline at its end can be left out.
    ///
    /// # Errors
    /// [`PolicyError`] at the first line that is wrong, or when there is no quorum.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        parse::policy(bytes)
    }

    /// The logs.
    #[must_use]
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// The witnesses.
    #[must_use]
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Whether a checkpoint satisfies the policy, and by whose signatures.
    ///
    /// # Errors
    /// [`RejectError`] when it does not, or when the signature of any known key is wrong.
    pub fn check(&self, checkpoint: &SignedCheckpoint) -> Result<Accepted<'_>, RejectError> {
        let logs = self.logs.iter().map(|log| &log.verifier);
        let witnesses = self.witnesses.iter().map(|witness| &witness.verifier);
        let verified = match checkpoint.verify(logs.chain(witnesses)) {
            Err(CheckpointError::NoKnownSignature) => return Err(RejectError::NoLog),
            other => other?,
        };
        let origin = checkpoint.checkpoint().origin();
        let is_signed_by = |log: &&Log| {
            log.verifier.name() == origin && time_of(&log.verifier, &verified).is_some()
        };
        let logs: Vec<_> = self.logs.iter().filter(is_signed_by).collect();
        if logs.is_empty() {
            return Err(RejectError::NoLog);
        }
        let times: Vec<_> = self
            .witnesses
            .iter()
            .map(|witness| time_of(&witness.verifier, &verified))
            .collect();
        if !self.is_quorum(&times) {
            let count = times.iter().flatten().count();
            return Err(RejectError::NoQuorum { count });
        }
        let witnesses = self.witnesses.iter().zip(times);
        let witnesses = witnesses.filter_map(|(witness, time)| Some((witness, time?)));
        Ok(Accepted {
            logs,
            witnesses: witnesses.collect(),
        })
    }

    /// Whether the witnesses that have cosigned, those with a time, are the quorum.
    fn is_quorum(&self, times: &[Option<u64>]) -> bool {
        let Some(quorum) = self.quorum else {
            return true;
        };
        let witnesses: Vec<bool> = times.iter().map(Option::is_some).collect();
        // A group has only members before it, so one pass is enough.
        let mut groups = Vec::new();
        for group in &self.groups {
            let count = group
                .members
                .iter()
                .filter(|member| member.is_in(&witnesses, &groups))
                .count();
            groups.push(count >= group.threshold);
        }
        quorum.is_in(&witnesses, &groups)
    }
}

impl Member {
    /// What is said of it, of all witnesses and of the groups up to it.
    fn is_in(self, witnesses: &[bool], groups: &[bool]) -> bool {
        let said = match self {
            Self::Group(index) => groups.get(index),
            Self::Witness(index) => witnesses.get(index),
        };
        said.copied().unwrap_or(false)
    }
}

/// The latest time at which a key has signed: 0 when it says none.
fn time_of(verifier: &Verifier, verified: &[Verified<'_>]) -> Option<u64> {
    verified
        .iter()
        .filter(|it| it.verifier() == verifier)
        .map(|it| it.time_secs().unwrap_or(0))
        .max()
}

#[cfg(test)]
mod tests;
