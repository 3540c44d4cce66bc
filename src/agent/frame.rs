//! How requests and answers are laid out on a channel: one greeting, then frames.
//!
//! The executor greets first, so that the other side knows that it is there, and that no login shell talks in its place.
//! A frame is its length, four bytes with the highest first, and so many bytes of JSON.
//!
//! **Invariant:** a length is checked before anything is read or allocated for it, and no part of a request that may hold
//! secrets is left in memory that was given back.

use std::io::{self, Write};

use serde::Serialize;
use zeroize::Zeroizing;

/// What an executor says first: eleven bytes that no shell prints. The digit is that of this layout.
pub const HELLO: [u8; 11] = *b"\0trunkline1";

/// The longest frame, in bytes: many files at once, and still no way to fill the memory of a daemon.
pub const MAX_FRAME_BYTES: usize = 256 * 1024 * 1024;

/// Why something did not become a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// It is longer than [`MAX_FRAME_BYTES`].
    #[error("it has {0} bytes, more than {MAX_FRAME_BYTES}")]
    TooLong(usize),
    /// It cannot be written as JSON.
    #[error("it cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// Whether these bytes are the greeting of an executor that speaks as we do.
pub fn is_hello(bytes: &[u8]) -> bool {
    bytes == HELLO
}

/// A value as a frame, its length included.
///
/// # Errors
/// [`FrameError`]
pub fn frame(value: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    // Counted first: a vector that grows leaves copies behind that nobody wipes.
    let counted = length(value)?;
    let length = u32::try_from(counted).ok().filter(|_| counted <= MAX_FRAME_BYTES);
    let length = length.ok_or(FrameError::TooLong(counted))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(counted + 4));
    bytes.extend_from_slice(&length.to_be_bytes());
    serde_json::to_writer(&mut *bytes, value)?;
    Ok(bytes)
}

/// How many bytes a value is as JSON.
///
/// # Errors
/// Where it cannot be written as JSON.
pub fn length(value: &impl Serialize) -> Result<usize, serde_json::Error> {
    let mut counted = Counted(0);
    serde_json::to_writer(&mut counted, value)?;
    Ok(counted.0)
}

/// Counts what is written to it.
struct Counted(usize);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_its_length_and_its_json() {
        assert_eq!(frame(&"ab").unwrap().as_slice(), b"\0\0\0\x04\"ab\"");
        assert!(is_hello(&HELLO) && !is_hello(b"Last login:"));
    }

    #[test]
    fn what_is_too_long_is_no_frame() {
        let error = frame(&"x".repeat(MAX_FRAME_BYTES)).unwrap_err();
        assert!(matches!(error, FrameError::TooLong(length) if length == MAX_FRAME_BYTES + 2), "{error}");
    }
}
