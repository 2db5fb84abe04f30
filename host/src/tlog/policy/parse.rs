//! Reads policies, line by line. Names are opaque bytes: no two spellings are the same.

use std::collections::HashMap;

use super::{
    GROUPS_MAX, Group, LOGS_MAX, LineProblem, Log, Member, POLICY_MAX_BYTES, Policy, PolicyError,
    WITNESSES_MAX, Witness,
};
use crate::tlog::key::{KeyError, Verifier};
use crate::tlog::text::{decode_decimal, shown};

const LOG_FORM: &str = "log <vkey> [<url>]";
const WITNESS_FORM: &str = "witness <name> <vkey> [<url>]";
const GROUP_FORM: &str = "group <name> all|any|<k> <name>...";
const QUORUM_FORM: &str = "quorum <name>|none";
/// The name that no witness and no group can have.
const NONE: &[u8] = b"none";

/// The policy that some bytes are.
pub(super) fn policy(bytes: &[u8]) -> Result<Policy, PolicyError> {
    if bytes.len() > POLICY_MAX_BYTES {
        return Err(PolicyError::TooLarge(bytes.len()));
    }
    let mut parser = Parser::default();
    for (line, text) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        parser.line = line;
        parser
            .read(text)
            .map_err(|problem| PolicyError::Line { line, problem })?;
    }
    let (_, quorum) = parser.quorum.ok_or(PolicyError::NoQuorum)?;
    Ok(Policy {
        logs: parser.logs.into_iter().map(|(_, log)| log).collect(),
        witnesses: parser.witnesses.into_iter().map(|(_, it)| it).collect(),
        groups: parser.groups,
        quorum,
    })
}

/// What the lines so far have said, and in which line.
#[derive(Default)]
struct Parser<'a> {
    line: usize,
    logs: Vec<(usize, Log)>,
    witnesses: Vec<(usize, Witness)>,
    groups: Vec<Group>,
    names: HashMap<&'a [u8], Name>,
    quorum: Option<(usize, Option<Member>)>,
}

/// What a name is, which line defines it, and which makes it a member of a group.
struct Name {
    member: Member,
    line: usize,
    member_line: Option<usize>,
}

impl<'a> Parser<'a> {
    fn read(&mut self, line: &'a [u8]) -> Result<(), LineProblem> {
        let is_control = |byte: &&u8| (**byte < b' ' && **byte != b'\t') || **byte == 0x7f;
        if let Some(control) = line.iter().find(is_control) {
            return Err(LineProblem::Control(*control));
        }
        let items: Vec<&[u8]> = line
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .filter(|item| !item.is_empty())
            .collect();
        match items.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", rest @ ..] => self.log(rest),
            [b"witness", rest @ ..] => self.witness(rest),
            [b"group", rest @ ..] => self.group(rest),
            [b"quorum", rest @ ..] => self.quorum(rest),
            [other, ..] => Err(LineProblem::Keyword(shown(other))),
        }
    }

    fn log(&mut self, items: &[&'a [u8]]) -> Result<(), LineProblem> {
        let (key, url) = match items {
            [key] => (key, None),
            [key, url] => (key, Some(lossy(url))),
            _ => return Err(LineProblem::Form(LOG_FORM)),
        };
        let verifier = vkey(key)?;
        let above = self.logs.iter().map(|(line, it)| (*line, &it.verifier));
        check_new_key(&verifier, above)?;
        check_count(self.logs.len(), LOGS_MAX)?;
        self.logs.push((self.line, Log { verifier, url }));
        Ok(())
    }

    fn witness(&mut self, items: &[&'a [u8]]) -> Result<(), LineProblem> {
        let (name, key, url) = match items {
            [name, key] => (name, key, None),
            [name, key, url] => (name, key, Some(lossy(url))),
            _ => return Err(LineProblem::Form(WITNESS_FORM)),
        };
        let verifier = vkey(key)?;
        if !verifier.key_type().is_cosignature() {
            return Err(LineProblem::WitnessKey);
        }
        let above = self.witnesses.iter();
        check_new_key(&verifier, above.map(|(line, it)| (*line, &it.verifier)))?;
        check_count(self.witnesses.len(), WITNESSES_MAX)?;
        self.define(name, Member::Witness(self.witnesses.len()))?;
        let name = lossy(name);
        let witness = Witness {
            name,
            verifier,
            url,
        };
        self.witnesses.push((self.line, witness));
        Ok(())
    }

    fn group(&mut self, items: &[&'a [u8]]) -> Result<(), LineProblem> {
        let [name, threshold, members @ ..] = items else {
            return Err(LineProblem::Form(GROUP_FORM));
        };
        if members.is_empty() {
            return Err(LineProblem::Form(GROUP_FORM));
        }
        let threshold = read_threshold(threshold, members.len())?;
        let members: Result<Vec<_>, _> = members.iter().map(|it| self.member(it)).collect();
        let members = members?;
        check_count(self.groups.len(), GROUPS_MAX)?;
        self.define(name, Member::Group(self.groups.len()))?;
        self.groups.push(Group { threshold, members });
        Ok(())
    }

    fn quorum(&mut self, items: &[&'a [u8]]) -> Result<(), LineProblem> {
        let [name] = items else {
            return Err(LineProblem::Form(QUORUM_FORM));
        };
        if let Some((line, _)) = self.quorum {
            return Err(LineProblem::DuplicateQuorum(line));
        }
        let quorum = if *name == NONE {
            None
        } else {
            let unknown = || LineProblem::Unknown(shown(name));
            Some(self.names.get(name).ok_or_else(unknown)?.member)
        };
        self.quorum = Some((self.line, quorum));
        Ok(())
    }

    fn define(&mut self, name: &'a [u8], member: Member) -> Result<(), LineProblem> {
        if name == NONE {
            return Err(LineProblem::None);
        }
        if let Some(Name { line, .. }) = self.names.get(name) {
            let (name, line) = (shown(name), *line);
            return Err(LineProblem::DuplicateName { name, line });
        }
        let defined = Name {
            member,
            line: self.line,
            member_line: None,
        };
        self.names.insert(name, defined);
        Ok(())
    }

    /// Makes a name a member of the group in this line.
    fn member(&mut self, name: &[u8]) -> Result<Member, LineProblem> {
        if name == NONE {
            return Err(LineProblem::None);
        }
        let unknown = || LineProblem::Unknown(shown(name));
        let defined = self.names.get_mut(name).ok_or_else(unknown)?;
        if let Some(line) = defined.member_line.replace(self.line) {
            let name = shown(name);
            return Err(LineProblem::MemberTwice { name, line });
        }
        Ok(defined.member)
    }
}

fn vkey(item: &[u8]) -> Result<Verifier, LineProblem> {
    std::str::from_utf8(item)
        .map_err(|_| KeyError::Form("vkey"))
        .and_then(str::parse)
        .map_err(LineProblem::Key)
}

fn read_threshold(item: &[u8], members: usize) -> Result<usize, LineProblem> {
    let threshold = match item {
        b"all" => Some(members),
        b"any" => Some(1),
        number => std::str::from_utf8(number)
            .ok()
            .and_then(decode_decimal)
            .and_then(|number| usize::try_from(number).ok())
            .filter(|number| (1..=members).contains(number)),
    };
    threshold.ok_or_else(|| LineProblem::Threshold {
        found: shown(item),
        members,
    })
}

fn check_new_key<'a>(
    key: &Verifier,
    mut above: impl Iterator<Item = (usize, &'a Verifier)>,
) -> Result<(), LineProblem> {
    match above.find(|(_, other)| other.is_same_key(key)) {
        Some((line, _)) => Err(LineProblem::DuplicateKey(line)),
        None => Ok(()),
    }
}

const fn check_count(count: usize, max: usize) -> Result<(), LineProblem> {
    if count < max {
        Ok(())
    } else {
        Err(LineProblem::TooMany(max))
    }
}

fn lossy(item: &[u8]) -> String {
    String::from_utf8_lossy(item).into_owned()
}
