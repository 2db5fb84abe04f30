//! Where a request came from: the socket's peer, the client's address, and what proxies said of it.
//!
//! The log records all of it, so that a decision can be traced back to where it was asked for.
//! Policies see the address alone.

use std::sync::Arc;

use crate::address::Address;

/// The most entries of a chain. Where all of them are trusted proxies the address is unknown.
pub const CHAIN_MAX_ENTRIES: usize = 32;
/// The longest entry of a chain, in bytes: the longest form of an address. A keyward credential is
/// longer.
pub const CHAIN_ENTRY_MAX_BYTES: usize = 45;
/// What stands in a chain for an entry that is no address: anything else might be a secret.
pub const UNREADABLE: &str = "unreadable";

/// Where a request came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The peer of the socket; `None` for a Unix socket.
    pub peer: Option<Address>,
    /// The client's address; `None`: it could not be established.
    pub address: Option<Address>,
    /// The entries of the forwarding header that were read, the nearest first: addresses,
    /// normalised, or [`UNREADABLE`] where the reading stopped. At most [`CHAIN_MAX_ENTRIES`] of 1
    /// to [`CHAIN_ENTRY_MAX_BYTES`].
    pub chain: Vec<Arc<str>>,
}

impl Client {
    /// Whether the chain is within its limits.
    #[must_use]
    pub fn is_within_limits(&self) -> bool {
        let is_sound = |entry: &Arc<str>| (1..=CHAIN_ENTRY_MAX_BYTES).contains(&entry.len());
        self.chain.len() <= CHAIN_MAX_ENTRIES && self.chain.iter().all(is_sound)
    }
}
