//! What every row of the table is: something that answers a request.

use std::hint::black_box;
use std::sync::Arc;

use smol_str::SmolStr;

use crate::workload::Request;

/// A policy engine with its policies and keys loaded.
pub(crate) trait Peer {
    /// Decides a request. Whatever the engine needs in its own form is made in here.
    fn decide(&mut self, request: &Request) -> Answer;

    /// Decides all requests, one after the other.
    fn pass(&mut self, requests: &[Request]) {
        for request in requests {
            black_box(self.decide(black_box(request)));
        }
    }
}

/// A decision as far as the engines are compared.
pub(crate) struct Answer {
    pub(crate) is_allowed: bool,
    reason: Reason,
}

/// A reason code, kept however the engine gives it.
enum Reason {
    Fixed(&'static str),
    Shared(SmolStr),
}

/// One line of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// What of `Cargo.lock` is measured.
    pub(crate) packages: &'static [&'static str],
    /// How many keys it holds.
    pub(crate) keys: usize,
    pub(crate) requests: Arc<[Request]>,
    pub(crate) peer: Box<dyn Peer>,
}

impl Answer {
    /// An allow. All allows of the workload have the reason of the first policy that allowed.
    pub(crate) const fn allow() -> Self {
        Self {
            is_allowed: true,
            reason: Reason::Fixed("scope.granted"),
        }
    }

    pub(crate) const fn deny(reason: &'static str) -> Self {
        Self {
            is_allowed: false,
            reason: Reason::Fixed(reason),
        }
    }

    pub(crate) const fn shared(is_allowed: bool, reason: SmolStr) -> Self {
        Self {
            is_allowed,
            reason: Reason::Shared(reason),
        }
    }

    pub(crate) const fn effect(&self) -> &'static str {
        if self.is_allowed { "allow" } else { "deny" }
    }

    pub(crate) fn reason(&self) -> &str {
        match &self.reason {
            Reason::Fixed(reason) => reason,
            Reason::Shared(reason) => reason,
        }
    }
}
