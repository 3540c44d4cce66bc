//! An executor at the far end of a channel: greets, reads one request, answers it, and is done.

use std::io::{self, Read, Write};

use zeroize::Zeroizing;

use super::frame::{HELLO, MAX_FRAME_BYTES, frame};
use super::{Answer, Fault, Policy, Request, execute};

/// The verb of the binary that is an executor.
pub const EXECUTOR_VERB: &str = "executor";

/// Answers the one request that comes in. A request that does not come whole changes nothing.
///
/// Once a request is whole it is carried out to its end, also where nobody is left to hear the answer: what was done stands
/// in the manifest, and whoever asks next is told.
///
/// # Errors
/// Where the other side is gone, or sends what is no request.
pub fn serve(mut input: impl Read, mut output: impl Write, policy: &Policy) -> io::Result<()> {
    output.write_all(&HELLO)?;
    output.flush()?;
    let answer = match read(&mut input)? {
        Ok(request) => execute(request, policy),
        Err(fault) => Answer::Refused(fault),
    };
    let bytes = match frame(&answer) {
        Ok(bytes) => bytes,
        Err(error) => {
            let fault = Fault { cause: Some(error.to_string()), ..Fault::new("the answer of the executor is too long") };
            frame(&Answer::Refused(fault)).map_err(io::Error::other)?
        }
    };
    output.write_all(&bytes)?;
    output.flush()
}

fn read(input: &mut impl Read) -> io::Result<Result<Request, Fault>> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_FRAME_BYTES {
        return Ok(Err(Fault::new(format!("a request of {length} bytes is longer than {MAX_FRAME_BYTES}"))));
    }
    // What is not sent is not allocated: the length alone makes nobody hold the memory for it.
    let mut bytes = Zeroizing::new(Vec::new());
    bytes.try_reserve_exact(length).map_err(io::Error::other)?;
    let read = input.take(length as u64).read_to_end(&mut bytes)?;
    if read < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // No word of it is repeated: it may hold secrets.
    Ok(serde_json::from_slice(&bytes).map_err(|error| {
        let message = format!("the request cannot be understood (line {}, column {})", error.line(), error.column());
        Fault::new(message).hint("both sides have to be of one version: let the daemon put its executor there anew")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{Task, VERSION};

    fn policy(root: &std::path::Path) -> Policy {
        Policy::local(Some(root.to_owned()), "/nonexistent".into())
    }

    fn served(input: &[u8]) -> (io::Result<()>, Vec<u8>) {
        let root = tempfile::tempdir().unwrap();
        let mut output = Vec::new();
        let served = serve(input, &mut output, &policy(root.path()));
        (served, output)
    }

    #[test]
    fn one_request_has_one_answer_after_the_greeting() {
        let request = Request {
            version: VERSION,
            environment: "production".parse().unwrap(),
            heals: true,
            task: Task::Observe { queries: Vec::new() },
        };
        let (ended, output) = served(&frame(&request).unwrap());
        ended.unwrap();
        let answer: Answer = serde_json::from_slice(output.strip_prefix(&HELLO).unwrap().get(4..).unwrap()).unwrap();
        assert!(matches!(answer, Answer::Observed(answers) if answers.is_empty()));
    }

    #[test]
    fn half_a_request_is_none() {
        for half in [&b""[..], b"\0\0", b"\0\0\0\x0a{\"version"] {
            let (ended, output) = served(half);
            assert_eq!((ended.unwrap_err().kind(), output.as_slice()), (io::ErrorKind::UnexpectedEof, &HELLO[..]));
        }
    }

    #[test]
    fn what_is_no_request_is_refused_without_a_word_of_it() {
        for bad in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\x09\"hunter2\""] {
            let (ended, output) = served(bad);
            ended.unwrap();
            let text = String::from_utf8_lossy(&output).into_owned();
            assert!(text.contains("refused") && !text.contains("hunter2"), "{text}");
        }
    }
}
