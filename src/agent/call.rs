//! Run a program of the host.
//!
//! **Invariant:** each argument is one argument; there is no shell. The program gets no environment but `PATH`, a locale and
//! what is given to it by name, no input but what is given, and a time; whatever it leaves running in its process group is
//! ended. What is kept of its output is bounded.

use std::io::{PipeReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::{Fault, Payload};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What `docker inspect` says of some hundred containers is less.
const MAX_OUTPUT_BYTES: usize = 32 * 1024 * 1024;
/// How much of a program's words goes into a fault.
const MAX_WORDS: usize = 4096;

/// A program to be run.
pub(super) struct Call {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    input: Option<Payload>,
    patience: Duration,
}

/// A program that ended.
pub(super) struct Called {
    /// How.
    pub(super) status: ExitStatus,
    /// What it wrote to its output.
    pub(super) out: String,
    /// What it wrote besides.
    pub(super) err: String,
}

/// Why a program did not end by itself.
#[derive(Debug)]
pub(super) enum NotCalled {
    /// It could not be started.
    NotRun(std::io::Error),
    /// It was ended when its time was up.
    TimeUp(Duration),
}

impl Call {
    /// `program`, in `PATH` or absolute, for at most a minute.
    pub(super) fn new(program: impl Into<String>) -> Self {
        let (arguments, environment) = (Vec::new(), Vec::new());
        let patience = Duration::from_secs(60);
        Self { program: program.into(), arguments, environment, input: None, patience }
    }

    /// With these arguments too.
    pub(super) fn with<T: Into<String>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// With one more variable.
    pub(super) fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// With this to read.
    pub(super) fn input(mut self, input: Payload) -> Self {
        self.input = Some(input);
        self
    }

    /// For at most so long.
    pub(super) fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Runs it to its end.
    pub(super) fn run(self) -> Result<Called, NotCalled> {
        let (reader, writer) = std::io::pipe().map_err(NotCalled::NotRun)?;
        let (error_reader, error_writer) = std::io::pipe().map_err(NotCalled::NotRun)?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().env("PATH", PATH).env("LC_ALL", "C.UTF-8").current_dir("/");
        command.envs(self.environment.iter().map(|(name, value)| (name, value))).process_group(0);
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() }).stdout(writer).stderr(error_writer);
        let mut child = command.spawn().map_err(NotCalled::NotRun)?;
        // The command holds the writing ends; ours must go, or the pipes never end.
        drop(command);
        if let (Some(input), Some(mut stdin)) = (self.input, child.stdin.take()) {
            // A program that ends without reading says why by its status.
            std::thread::spawn(move || drop(stdin.write_all(input.expose())));
        }
        let (out, err) = (collect(reader), collect(error_reader));
        let status = wait(&mut child, self.patience).map_err(NotCalled::NotRun)?;
        let words = |output: mpsc::Receiver<String>| output.recv_timeout(Duration::from_secs(5)).unwrap_or_default();
        match status {
            Some(status) => Ok(Called { status, out: words(out), err: words(err) }),
            None => Err(NotCalled::TimeUp(self.patience)),
        }
    }

    /// What it writes, where it ends well; `what` says what it was to do, such as `the packages cannot be listed`.
    pub(super) fn succeed(self, what: &str) -> Result<String, Fault> {
        let program = self.program.clone();
        match self.run() {
            Ok(called) if called.status.success() => Ok(called.out),
            Ok(called) => Err(called.fault(what)),
            Err(not_called) => Err(not_called.fault(&program, what)),
        }
    }
}

impl Called {
    /// Why it did not end well. Its own words are in it: only for programs that see no secret.
    pub(super) fn fault(&self, what: &str) -> Fault {
        let words = if self.err.trim().is_empty() { &self.out } else { &self.err };
        let words = fit(words);
        let cause = if words.is_empty() { self.status.to_string() } else { format!("{}: {words}", self.status) };
        Fault { cause: Some(cause), ..Fault::new(what) }
    }
}

impl NotCalled {
    pub(super) fn fault(self, program: &str, what: &str) -> Fault {
        match self {
            Self::NotRun(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Fault { cause: Some(format!("there is no `{program}` on this host")), ..Fault::new(what) }
                    .hint(format!("install it on the host, for the folders of `{PATH}`"))
            }
            Self::NotRun(error) => Fault::system(what, format!("`{program}` cannot be run: {error}")),
            Self::TimeUp(patience) => {
                Fault::system(what, format!("`{program}` was stopped after {} seconds", patience.as_secs()))
            }
        }
    }
}

/// Words of a program, fit for a terminal and a record.
pub(super) fn fit(words: &str) -> String {
    let mut end = words.trim().len().min(MAX_WORDS);
    while !words.trim().is_char_boundary(end) {
        end -= 1;
    }
    words.trim()[..end].chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// Waits, then ends whatever of the program's process group is left; `None` where its time was up.
fn wait(child: &mut Child, patience: Duration) -> std::io::Result<Option<ExitStatus>> {
    let pid = Pid::from_child(child);
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    let ended = loop {
        // Looked at without reaping it: as long as it is there, its group's number belongs to nobody else.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if waitid(WaitId::Pid(pid), options)?.is_some() {
            break true;
        }
        if start.elapsed() > patience {
            break false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    };
    // Nobody may be left in the group: then there is nothing to end.
    let _ = kill_process_group(pid, Signal::KILL);
    let status = child.wait()?;
    Ok(ended.then_some(status))
}

/// Reads all that comes, and keeps the beginning of it.
fn collect(mut reader: PipeReader) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            let room = MAX_OUTPUT_BYTES - kept.len();
            kept.extend_from_slice(&buffer[..count.min(room)]);
        }
        // Nobody may be waiting any more.
        let _ = sender.send(String::from_utf8_lossy(&kept).into_owned());
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    #[test]
    fn what_goes_in_is_what_was_given_and_nothing_else() {
        let input = Payload::new(Secret::new(b"from here\n".to_vec()));
        let script = "cat; env | sort; echo \"$1\"; echo aside >&2";
        let call = Call::new("sh").with(["-c", script, "sh", "$(id)"]).variable("GIVEN", "it is").input(input);
        let called = call.run().unwrap();
        assert!(called.status.success());
        assert!(called.out.starts_with("from here\n") && called.out.ends_with("$(id)\n"), "{}", called.out);
        assert!(called.out.contains("GIVEN=it is") && !called.out.contains("CARGO"), "{}", called.out);
        assert_eq!(called.err, "aside\n");
    }

    #[test]
    fn what_does_not_end_is_ended_and_what_is_not_there_is_said() {
        let call = Call::new("sh").with(["-c", "sleep 600 & sleep 600"]).patience(Duration::from_millis(100));
        assert!(matches!(call.run(), Err(NotCalled::TimeUp(_))));
        let fault = Call::new("no-such-program").succeed("it cannot be had").unwrap_err();
        assert!(fault.cause.unwrap().contains("no-such-program") && fault.hint.is_some());
        let fault = Call::new("sh").with(["-c", "printf 'no\\033[31m good' >&2; exit 3"]).succeed("it failed").unwrap_err();
        let cause = fault.cause.unwrap();
        assert!(cause.contains('3') && cause.contains("no\u{fffd}[31m good"), "{cause}");
    }
}
