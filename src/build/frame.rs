//! What crosses the wall of a build: a header in JSON and the bytes of files, in both directions.
//!
//! Goes in: a pipe. Comes out: an [`Order`] inside, an [`Answer`] outside.
//!
//! **Invariant:** what comes from inside is not believed: every length is bounded before a byte is read.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Files by path.
pub(super) type Files = BTreeMap<String, Arc<[u8]>>;

/// The longest header.
const HEADER: u64 = 16 << 20;

/// What is to be run inside.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// Paths of the machine that are shown for reading.
    pub(super) shown: Vec<PathBuf>,
    /// The program and its arguments.
    pub(super) command: Vec<String>,
    /// All of its environment.
    pub(super) env: BTreeMap<String, String>,
    /// Where it is run.
    pub(super) folder: PathBuf,
    /// Where its modules are afterwards.
    pub(super) output: PathBuf,
    /// How long it may take, in seconds.
    pub(super) seconds: u64,
    /// The files that follow: path, length, and whether it may be run.
    pub(super) files: Vec<(String, u64, bool)>,
}

/// What became of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    /// How it ended.
    pub(super) end: End,
    /// The last that it printed.
    pub(super) printed: String,
    /// The files that follow: path and length.
    pub(super) files: Vec<(String, u64)>,
}

/// How a build ended.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    /// Well.
    Done,
    /// Otherwise than with 0.
    Failed(String),
    /// Its output cannot be taken.
    Output(String),
    /// The program cannot be started.
    NoProgram(String),
    /// The root for it cannot be made.
    NoIsolation(String),
}

/// Writes a header; the bytes of the files follow it.
pub(super) fn write_header<T: Serialize>(to: &mut impl Write, header: &T) -> io::Result<()> {
    let text = serde_json::to_vec(header)?;
    to.write_all(&(text.len() as u64).to_be_bytes())?;
    to.write_all(&text)
}

/// Reads a header.
pub(super) fn read_header<T: for<'de> Deserialize<'de>>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 8];
    from.read_exact(&mut length)?;
    let bytes = read_bytes(from, u64::from_be_bytes(length), HEADER)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Reads `length` bytes, at most `limit`.
pub(super) fn read_bytes(from: &mut impl Read, length: u64, limit: u64) -> io::Result<Vec<u8>> {
    if length > limit {
        return Err(io::Error::other(format!("{length} bytes are announced; the limit is {limit}")));
    }
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Reads the files that an answer announces, `limit` bytes at most.
pub(super) fn read_files(from: &mut impl Read, announced: &[(String, u64)], limit: u64) -> io::Result<Files> {
    let mut left = limit;
    let mut files = Files::new();
    for (path, length) in announced {
        let bytes = read_bytes(from, *length, left)?;
        left -= length;
        files.insert(path.clone(), bytes.into());
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_is_bounded() {
        let answer = Answer { end: End::Done, printed: "x".to_owned(), files: vec![("a.js".to_owned(), 3)] };
        let mut bytes = Vec::new();
        write_header(&mut bytes, &answer).unwrap();
        bytes.extend_from_slice(b"abc");
        let mut from = bytes.as_slice();
        let read: Answer = read_header(&mut from).unwrap();
        assert_eq!((read.end, read.files.len()), (End::Done, 1));
        assert_eq!(&*read_files(&mut from, &answer.files, 3).unwrap()["a.js"], b"abc");
        assert!(read_files(&mut b"abc".as_slice(), &answer.files, 2).is_err());
        assert!(read_files(&mut b"ab".as_slice(), &answer.files, 3).is_err());
        assert!(read_header::<Answer>(&mut [255; 9].as_slice()).is_err());
    }
}
