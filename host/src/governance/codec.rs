//! The shapes that the claims of governance are made of, in deterministic CBOR. Reading is lenient
//! in how a thing is encoded: the caller writes what it has read, and compares.

use std::convert::Infallible;

use minicbor::data::Type;
use minicbor::encode::Error as EncodeError;
use minicbor::{Decoder, Encoder};

use crate::digest::Digest;
use crate::key::KeyId;
use crate::timestamp::Timestamp;

pub(super) type Read<T> = Result<T, minicbor::decode::Error>;
pub(super) type Written = Result<(), EncodeError<Infallible>>;

/// Reads claims.
pub(super) struct Reader<'b>(Decoder<'b>);

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self(Decoder::new(bytes))
    }

    pub(super) fn array_of(&mut self, items: u64) -> Read<()> {
        match self.0.array()? {
            Some(found) if found == items => Ok(()),
            _ => Err(not("an array of its length")),
        }
    }

    /// Whether an array comes next.
    pub(super) fn is_array(&self) -> bool {
        self.0.datatype().is_ok_and(|next| next == Type::Array)
    }

    pub(super) fn number(&mut self) -> Read<u64> {
        self.0.u64()
    }

    pub(super) fn instant(&mut self) -> Read<Timestamp> {
        self.0.i64().map(Timestamp::from_millis)
    }

    pub(super) fn digest(&mut self) -> Read<Digest> {
        let bytes = <[u8; 32]>::try_from(self.0.bytes()?);
        bytes
            .map(Digest::from_bytes)
            .map_err(|_| not("a digest of 32 bytes"))
    }

    pub(super) fn key_id(&mut self) -> Read<KeyId> {
        self.0.str()?.parse().map_err(|_| not("a key id"))
    }

    /// A text of 1 to `most` bytes.
    pub(super) fn text(&mut self, most: usize) -> Read<&'b str> {
        let text = self.0.str()?;
        if (1..=most).contains(&text.len()) {
            Ok(text)
        } else {
            Err(not("a text within its limits"))
        }
    }

    pub(super) fn or_null<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Read<T>,
    ) -> Read<Option<T>> {
        if self.0.datatype()? == Type::Null {
            self.0.null()?;
            return Ok(None);
        }
        read(self).map(Some)
    }
}

/// Writes claims.
pub(super) struct Writer<'e, 'b>(pub(super) &'e mut Encoder<&'b mut Vec<u8>>);

impl Writer<'_, '_> {
    pub(super) fn digest(&mut self, digest: &Digest) -> Written {
        self.0.bytes(digest.as_bytes()).map(drop)
    }

    pub(super) fn instant(&mut self, instant: Timestamp) -> Written {
        self.0.i64(instant.millis()).map(drop)
    }

    pub(super) fn text_or_null(&mut self, text: Option<&str>) -> Written {
        self.or_null(text, |it, text| it.0.str(text).map(drop))
    }

    pub(super) fn or_null<T>(
        &mut self,
        value: Option<T>,
        write: impl FnOnce(&mut Self, T) -> Written,
    ) -> Written {
        match value {
            Some(value) => write(self, value),
            None => self.0.null().map(drop),
        }
    }
}

pub(super) fn not(expected: &'static str) -> minicbor::decode::Error {
    minicbor::decode::Error::message(expected)
}
