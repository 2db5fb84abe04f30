//! The specification's example, every line that is wrong, and who is a quorum.

use proptest::prelude::*;

use super::*;
use crate::digest::Digest;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::key::{KeyType, Signer};
use crate::tlog::merkle::TreeHead;
use crate::tlog::note::Signature;

const ORIGIN: &str = "keyward.example/prod-eu";

fn signer(key_type: KeyType, name: &str, seed: u8) -> Signer {
    Signer::from_seed(key_type, name, &[seed; 32]).unwrap()
}

fn log() -> Signer {
    signer(KeyType::Ed25519, ORIGIN, 7)
}

/// The witness with a number from 1.
fn witness(number: u8) -> Signer {
    let name = format!("witness.example/{number}");
    signer(KeyType::Ed25519Cosignature, &name, 100 + number)
}

fn vkey(signer: &Signer) -> String {
    signer.verifier().to_string()
}

fn signed(signers: &[Signer]) -> SignedCheckpoint {
    let root = Digest::of(b"root");
    let checkpoint = Checkpoint::new(ORIGIN, TreeHead { size: 9, root }).unwrap();
    SignedCheckpoint::sign(checkpoint, signers, 11).unwrap()
}

/// The example of tlog-policy: X has the witnesses 1 to 3, Y has 4 to 6.
fn example() -> String {
    let mut text = format!("log {}\n\n", vkey(&log()));
    for (name, number) in ["X1", "X2", "X3", "Y1", "Y2", "Y3"].iter().zip(1..) {
        text += &format!("witness {name} {}\n", vkey(&witness(number)));
    }
    text + "group X-witnesses 2 X1 X2 X3\n\
            group Y-witnesses any Y1 Y2 Y3\n\
            \n\
            group X-and-Y all X-witnesses Y-witnesses\n\
            quorum X-and-Y\n"
}

#[test]
fn the_example_of_the_specification() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    assert_eq!((policy.logs().len(), policy.witnesses().len()), (1, 6));
    // Every subset of the witnesses.
    for subset in 0..64_u8 {
        let is_in = |number: &u8| subset >> (number - 1) & 1 == 1;
        let witnesses = (1..=6).filter(is_in).map(witness);
        let checkpoint = signed(&std::iter::once(log()).chain(witnesses).collect::<Vec<_>>());
        let is_quorum = (subset & 0b111).count_ones() >= 2 && subset >> 3 != 0;
        let count = subset.count_ones() as usize;
        match policy.check(&checkpoint) {
            Ok(accepted) => {
                assert!(is_quorum, "{subset:b}");
                assert_eq!(accepted.witnesses.len(), count);
                assert!(accepted.witnesses.iter().all(|(_, time)| *time == 11));
            }
            Err(error) => {
                assert!(!is_quorum, "{subset:b}");
                assert_eq!(error, RejectError::NoQuorum { count });
            }
        }
    }
}

#[test]
fn a_log_has_to_sign_under_its_own_name() {
    let policy = |lines: &str| Policy::parse(format!("{lines}quorum none\n").as_bytes()).unwrap();
    let own = policy(&format!("log {}\n", vkey(&log())));
    let accepted = own.check(&signed(&[log()])).unwrap();
    assert_eq!(accepted.logs, own.logs().iter().collect::<Vec<_>>());
    assert_eq!(accepted.witnesses, []);

    let other = || signer(KeyType::Ed25519, "other.example", 7);
    let no_log = Err(RejectError::NoLog);
    assert_eq!(own.check(&signed(&[other()])), no_log);
    assert_eq!(own.check(&signed(&[witness(1)])), no_log);
    // A key that is known, and signs for another log.
    let others = policy(&format!("log {}\n", vkey(&other())));
    assert_eq!(others.check(&signed(&[other()])), no_log);
    assert_eq!(policy("").check(&signed(&[log()])), no_log);
    // A witness's signature is none of the log's.
    let witnessed = policy(&format!(
        "log {}\nwitness w {}\n",
        vkey(&log()),
        vkey(&witness(1))
    ));
    assert_eq!(witnessed.check(&signed(&[witness(1)])), no_log);
}

#[test]
fn any_key_of_a_log_is_enough_and_all_are_reported() {
    let ml_dsa = || signer(KeyType::MlDsa44Cosignature, ORIGIN, 9);
    let text = format!(
        "log {}\nlog {}\nquorum none\n",
        vkey(&log()),
        vkey(&ml_dsa())
    );
    let policy = Policy::parse(text.as_bytes()).unwrap();
    let count = |signers: &[Signer]| policy.check(&signed(signers)).unwrap().logs.len();
    assert_eq!(count(&[log()]), 1);
    assert_eq!(count(&[ml_dsa()]), 1);
    assert_eq!(count(&[ml_dsa(), log(), witness(1)]), 2);
}

#[test]
fn a_wrong_signature_of_any_known_key_rejects() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    let good = signed(&[log(), witness(1), witness(2), witness(4), witness(5)]);
    assert!(policy.check(&good).is_ok());
    let last = good.signatures().last().unwrap();
    let (name, key_id) = (last.name().to_owned(), last.key_id());
    let wrong = Signature::new(name, key_id, vec![0; last.bytes().len()]);
    let text = good.to_string();
    let text = text.replace(&last.to_string(), &wrong.to_string());
    let bad = SignedCheckpoint::parse(text.as_bytes()).unwrap();
    let found = policy.check(&bad).unwrap_err();
    assert!(matches!(
        found,
        RejectError::Checkpoint(CheckpointError::WrongSignature { .. })
    ));
}

#[test]
fn a_single_witness_can_be_the_quorum() {
    let text = format!(
        "  # a comment\n\tlog\t{} https://log.example/ \n \n witness  \u{e9}  {}  u\nquorum \u{e9}",
        vkey(&log()),
        vkey(&witness(1))
    );
    let policy = Policy::parse(text.as_bytes()).unwrap();
    assert_eq!(
        policy.logs()[0].url.as_deref(),
        Some("https://log.example/")
    );
    assert_eq!(policy.witnesses()[0].url.as_deref(), Some("u"));
    assert_eq!(policy.witnesses()[0].name, "\u{e9}");
    assert!(policy.check(&signed(&[log(), witness(1)])).is_ok());
    assert!(policy.check(&signed(&[log(), witness(2)])).is_err());
}

#[test]
fn names_are_opaque_bytes() {
    let (w1, w2) = (vkey(&witness(1)), vkey(&witness(2)));
    let text = [
        b"witness \xff ",
        w1.as_bytes(),
        b"\nwitness \xfe ",
        w2.as_bytes(),
        b"\nquorum \xfe\n",
    ]
    .concat();
    let policy = Policy::parse(&text).unwrap();
    assert_eq!(policy.witnesses()[0].name, policy.witnesses()[1].name);
    assert_eq!(policy.quorum, Some(Member::Witness(1)));
}

/// The error of a policy, with `W1` and `W2` in place of keys of witnesses, `L` of the log's and
/// `N` of one that makes no cosignatures.
fn error(text: &str) -> PolicyError {
    let notes = signer(KeyType::Ed25519, "witness.example/1", 101);
    let (w1, w2) = (witness(1), witness(2));
    let mut text = text.to_owned();
    for (word, key) in [("L", log()), ("N", notes), ("W1", w1), ("W2", w2)] {
        text = text.replace(&format!(" {word}"), &format!(" {}", vkey(&key)));
    }
    Policy::parse(text.as_bytes()).unwrap_err()
}

/// Policies that are wrong, and what is said about them.
const WRONG: &[(&str, &str)] = &[
    (
        "",
        "no quorum; add `quorum <name>`, or `quorum none` to ask for no witness",
    ),
    ("log", "line 1: write `log <vkey> [<url>]`"),
    ("log L a b", "line 1: write `log <vkey> [<url>]`"),
    (
        "log a",
        "line 1: the key is wrong: not a vkey; check that all of it was copied",
    ),
    (
        "\nlog L\nlog L\n",
        "line 3: the public key is already that of line 2; leave one of the two out",
    ),
    ("witness a", "line 1: write `witness <name> <vkey> [<url>]`"),
    (
        "witness a W1 b c",
        "line 1: write `witness <name> <vkey> [<url>]`",
    ),
    (
        "witness a N",
        "line 1: the key does not make cosignatures; use the witness's key of type 0x04 or \
             0x06",
    ),
    (
        "witness a W1\nwitness b W1",
        "line 2: the public key is already that of line 1; leave one of the two out",
    ),
    (
        "witness a W1\nwitness a W2",
        "line 2: `a` is already defined in line 1; choose another name",
    ),
    (
        "witness none W1",
        "line 1: `none` is not a name; it can only be the quorum",
    ),
    (
        "group a",
        "line 1: write `group <name> all|any|<k> <name>...`",
    ),
    (
        "group a any",
        "line 1: write `group <name> all|any|<k> <name>...`",
    ),
    (
        "group a any none",
        "line 1: `none` is not a name; it can only be the quorum",
    ),
    (
        "group a any b\nwitness b W1",
        "line 1: `b` is not defined above; define it with `witness` or `group` before it is \
             used",
    ),
    (
        "group a any a",
        "line 1: `a` is not defined above; define it with `witness` or `group` before it is \
             used",
    ),
    (
        "witness a W1\ngroup b 2 a",
        "line 2: `2` is not a threshold; write `all`, `any` or a number from 1 to 1",
    ),
    (
        "witness a W1\ngroup b 0 a",
        "line 2: `0` is not a threshold; write `all`, `any` or a number from 1 to 1",
    ),
    (
        "witness a W1\ngroup b 01 a",
        "line 2: `01` is not a threshold; write `all`, `any` or a number from 1 to 1",
    ),
    (
        "witness a W1\ngroup b 1 a a",
        "line 2: `a` is already a member in line 2; a name counts once in all groups",
    ),
    (
        "witness a W1\nwitness b W2\ngroup c any a b\ngroup d any b c",
        "line 4: `b` is already a member in line 3; a name counts once in all groups",
    ),
    (
        "witness a W1\ngroup a any a",
        "line 2: `a` is already defined in line 1; choose another name",
    ),
    ("quorum", "line 1: write `quorum <name>|none`"),
    ("quorum a b", "line 1: write `quorum <name>|none`"),
    (
        "quorum a",
        "line 1: `a` is not defined above; define it with `witness` or `group` before it is \
             used",
    ),
    (
        "quorum none\nquorum none",
        "line 2: the quorum is already said in line 1; leave one of the two out",
    ),
    (
        "Quorum none",
        "line 1: `Quorum` is not a policy line; write `log`, `witness`, `group` or `quorum`",
    ),
    (
        "quorum none\r\n",
        "line 1: the control character 0x0d; use spaces, tabs and plain newlines only",
    ),
    (
        "# \u{7f}",
        "line 1: the control character 0x7f; use spaces, tabs and plain newlines only",
    ),
    (
        "quorum\u{a0}none",
        "line 1: `quorum\\u{a0}none` is not a policy line; write `log`, `witness`, `group` or \
             `quorum`",
    ),
];

#[test]
fn what_is_wrong_is_said_by_line_and_with_what_to_do() {
    for (text, message) in WRONG {
        assert_eq!(error(text).to_string(), *message, "{text}");
    }
}

#[test]
fn a_policy_has_limits() {
    let large = vec![b'#'; POLICY_MAX_BYTES + 1];
    let error = PolicyError::TooLarge(POLICY_MAX_BYTES + 1);
    assert_eq!(Policy::parse(&large), Err(error));
    let witnesses: String = (0..=100)
        .map(|number| format!("witness w{number} {}\n", vkey(&witness(number))))
        .collect();
    let logs = witnesses.replace("witness w", "log ");
    let logs: String = logs
        .lines()
        .map(|line| format!("log {}\n", line.rsplit(' ').next().unwrap()))
        .collect();
    let mut groups = format!("witness g {}\n", vkey(&witness(1)));
    for number in 0..=100 {
        let member = match number {
            0 => "g".to_owned(),
            _ => format!("g{}", number - 1),
        };
        groups += &format!("group g{number} all {member}\n");
    }
    for (text, line) in [(witnesses, 101), (logs, 101), (groups, 102)] {
        let problem = LineProblem::TooMany(100);
        let error = PolicyError::Line { line, problem };
        assert_eq!(Policy::parse(text.as_bytes()), Err(error));
        let most: Vec<_> = text.lines().take(line - 1).collect();
        let most = most.join("\n") + "\nquorum none\n";
        assert!(Policy::parse(most.as_bytes()).is_ok());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>) {
        let _ = Policy::parse(&bytes);
    }

    #[test]
    fn any_lines_are_answered(
        lines in prop::collection::vec("(group|quorum|#)( [abc01]| any| all| none){0,4}", 0..9),
    ) {
        let witnesses: String = ["a", "b"].iter().zip(1..)
            .map(|(name, number)| format!("witness {name} {}\n", vkey(&witness(number))))
            .collect();
        let text = witnesses + &lines.join("\n");
        if let Ok(policy) = Policy::parse(text.as_bytes()) {
            prop_assert!(policy.check(&signed(&[witness(1)])).is_err());
        }
    }
}
