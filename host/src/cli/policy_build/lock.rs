//! The lock file beside built components: what each is, what it was made from, and with what.

use std::fmt::Write as _;

use crate::digest::Digest;

/// One component of a lock file.
pub(super) struct Locked {
    pub(super) name: String,
    pub(super) sha256: Digest,
    pub(super) source_sha256: Digest,
}

/// The text of a lock file.
pub(super) fn text(rustc: &str, locked: &[Locked]) -> String {
    let mut text = format!(
        "# Written by `keyward policy build --lock`; a test compares it with the sources.\n\
         rustc = {rustc:?}\n"
    );
    for Locked {
        name,
        sha256,
        source_sha256,
    } in locked
    {
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "\n[[policy]]\nname = {name:?}\nsha256 = \"{sha256}\"\nsource_sha256 = \"{source_sha256}\"\n"
        );
    }
    text
}
