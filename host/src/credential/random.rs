//! Random characters for key ids and secrets, from a source that is passed in.

use zeroize::Zeroizing;

use crate::key::BASE62;

/// Random bytes drawn at a time. Of every 64, two on average are thrown away.
const DRAW_BYTES: usize = 64;
/// Draws before a source is given up: a working one needs one, very rarely two.
const DRAWS_MAX: usize = 16;

/// A source of random bytes that nobody can predict.
pub trait Randomness {
    /// Fills all of `bytes`, or fails; it never leaves a part as it was.
    ///
    /// # Errors
    /// [`RandomnessError`] when there are no bytes to give.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomnessError>;
}

/// Why there is no random text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RandomnessError {
    /// The operating system's generator failed.
    #[error("the operating system gives no random bytes: {0}; nothing was issued")]
    Unavailable(String),
    /// The source keeps giving bytes that random ones would not be.
    #[error("the source of random bytes is not random; nothing was issued")]
    Stuck,
}

impl<F: FnMut(&mut [u8]) -> Result<(), RandomnessError>> Randomness for F {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomnessError> {
        self(bytes)
    }
}

/// The operating system's generator, the one to use outside of tests.
pub fn operating_system() -> impl Randomness {
    |bytes: &mut [u8]| {
        getrandom::fill(bytes).map_err(|error| RandomnessError::Unavailable(error.to_string()))
    }
}

/// `N` characters of base62, each equally likely: six bits at a time, the two values of 64 that
/// have no character are thrown away, for a remainder would favour some characters.
pub(super) fn base62<const N: usize>(
    randomness: &mut dyn Randomness,
) -> Result<Zeroizing<[u8; N]>, RandomnessError> {
    let mut text = Zeroizing::new([0; N]);
    let mut places = text.iter_mut();
    let mut drawn = Zeroizing::new([0; DRAW_BYTES]);
    for _ in 0..DRAWS_MAX {
        randomness.fill(drawn.as_mut_slice())?;
        for byte in drawn.iter() {
            let Some(character) = BASE62.get(usize::from(byte & 63)) else {
                continue;
            };
            let Some(place) = places.next() else {
                return Ok(text);
            };
            *place = *character;
        }
        if places.len() == 0 {
            return Ok(text);
        }
    }
    Err(RandomnessError::Stuck)
}
