//! The questions that a policy may ask about the request it decides.

use crate::{Address, Network, Timestamp};

/// The one input of a decision, asked for field by field. Each method is a pure function of the
/// request and the key's record: same request, same answers, in the first run and in every replay.
///
/// The host records what was asked and answered, and may reuse a verdict for another request
/// exactly while every question would be answered the same. So ask late, and ask only what the
/// verdict depends on: a policy that denies for the scope before it asks for the address explains
/// itself better, and its verdict serves every address.
pub trait Request {
    /// Whether the instant has come: `decision time >= instant`. Ask this rather than
    /// [`now`](Self::now): the host then knows until when the verdict holds.
    fn reached(&self, instant: Timestamp) -> bool;
    /// The time of the decision, the only clock there is. A verdict that has read it is never
    /// reused.
    fn now(&self) -> Timestamp;

    /// The client's address; none when the host could not establish it.
    fn source_address(&self) -> Option<Address>;
    /// The HTTP method, in upper case.
    fn method(&self) -> String;
    /// The host, in lower case, without port.
    fn host(&self) -> String;
    /// The path, percent-decoded once, dot segments removed, without query.
    fn path(&self) -> String;
    /// All values of a header in order; its name in lower case. Never the credential's own header.
    fn header(&self, name: &str) -> Vec<String>;
    /// The scope that the gateway's route table maps this operation to.
    fn required_scope(&self) -> Option<String>;

    /// The key's public identifier, never the secret.
    fn key_id(&self) -> String;
    /// Who answers for the key.
    fn key_owner(&self) -> String;
    /// Where the key is in its life.
    fn key_lifecycle(&self) -> Lifecycle;
    /// When the key was issued.
    fn key_issued_at(&self) -> Timestamp;
    /// The first instant at which the key is valid.
    fn key_not_before(&self) -> Option<Timestamp>;
    /// When the key should have been replaced.
    fn key_rotate_by(&self) -> Option<Timestamp>;
    /// The first instant at which the key is no longer valid.
    fn key_expires_at(&self) -> Option<Timestamp>;
    /// The end of a deprecated key's grace period.
    fn key_grace_until(&self) -> Option<Timestamp>;
    /// What the key was granted, in its own order.
    fn key_scopes(&self) -> Vec<String>;
    /// Whether the reversible mask narrows the key to read-only actions.
    fn key_read_only(&self) -> bool;
    /// Where the key may be used from. None: it has no allow list. Empty: it allows nothing.
    fn key_allowed_networks(&self) -> Option<Vec<Network>>;
    /// A label of the key.
    fn key_label(&self, name: &str) -> Option<String>;

    /// An open attribute that the descriptor lists under `needs`, for example `geo.country`. One
    /// that it does not list is always absent.
    fn attribute(&self, name: &str) -> Option<Value>;
}

/// Where a key is in its life. Keys that are unknown, suspended or revoked never reach a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// In use.
    Active,
    /// Replaced by a newer key, and usable until its grace period ends.
    Deprecated,
}

/// The value of an open attribute. No floats: they are the one wasm type whose bits are not
/// deterministic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// An address.
    Address(Address),
    /// Yes or no.
    Boolean(bool),
    /// An instant.
    Instant(Timestamp),
    /// A number in the unit that the attribute names.
    Integer(i64),
    /// A text.
    Text(String),
    /// Several texts, in order.
    Texts(Vec<String>),
}
