//! Inside of the namespaces: make the root, run the command, hand its modules out.
//!
//! Goes in: an order on standard input, which stays open as long as anybody waits. Comes out: an answer on standard output.
//!
//! **Invariant:** this is the first process of its own process namespace: when it ends, everything that the build started
//! is gone. It ends when standard input does.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, setrlimit};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set, set_no_new_privs};

use super::frame::{Answer, End, Order, read_bytes, read_header, write_header};
use super::{collect, limit, root};

/// The verb of the command line that is [`inside`].
pub const INSIDE_VERB: &str = "build-inside";

/// Where the inputs are.
pub(super) const WORK: &str = "/work";
/// Where recipes of ours leave their modules.
pub(super) const OUT: &str = "/out";

/// Carries one order out.
///
/// # Errors
/// An order that cannot be read, an answer that cannot be written.
pub fn inside() -> io::Result<()> {
    let mut input = io::stdin().lock();
    let order: Order = read_header(&mut input)?;
    let answer = |end| Answer { end, printed: String::new(), files: Vec::new() };
    if let Err(error) = root::make(&order.shown) {
        return reply(&answer(End::NoIsolation(error.to_string())), &[]);
    }
    for (path, length, executable) in &order.files {
        let bytes = read_bytes(&mut input, *length, limit::MEMORY_FOLDER)?;
        root::put(&beneath(path)?, &bytes, *executable)?;
    }
    std::fs::create_dir_all(&order.folder)?;
    if let Err(error) = confine(order.seconds) {
        return reply(&answer(End::NoIsolation(error.to_string())), &[]);
    }
    // Nobody writes any more; the end of the pipe is the end of whoever waits.
    drop(input);
    std::thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(1);
    });
    let (end, printed) = match run(&order) {
        Ok((status, printed)) if status.success() => (End::Done, printed),
        Ok((status, printed)) => (End::Failed(ended(status)), printed),
        Err(Stopped::NoProgram(error)) => (End::NoProgram(error.to_string()), String::new()),
        Err(Stopped::TooLong(printed)) => (End::Failed(format!("it was stopped after {} s", order.seconds)), printed),
    };
    if end != End::Done {
        return reply(&Answer { end, printed, files: Vec::new() }, &[]);
    }
    match collect::collect(&order.output) {
        Ok(files) => {
            let announced = files.iter().map(|(path, bytes)| (path.clone(), bytes.len() as u64)).collect();
            let bodies: Vec<Vec<u8>> = files.into_values().collect();
            reply(&Answer { end, printed, files: announced }, &bodies)
        }
        Err(what) => reply(&Answer { end: End::Output(what), printed, files: Vec::new() }, &[]),
    }
}

fn reply(answer: &Answer, bodies: &[Vec<u8>]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write_header(&mut out, answer)?;
    bodies.iter().try_for_each(|bytes| out.write_all(bytes))?;
    out.flush()
}

/// `path` below the folder of inputs.
fn beneath(path: &str) -> io::Result<PathBuf> {
    let normal = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if normal { Ok(Path::new(WORK).join(path)) } else { Err(io::Error::other(format!("`{path}` leads out of the folder"))) }
}

/// Bounds, and no capability for whatever is started: the user of these namespaces could undo the root otherwise.
fn confine(seconds: u64) -> io::Result<()> {
    let set = |resource, value| setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) });
    set(Resource::Core, 0)?;
    set(Resource::Cpu, seconds.saturating_mul(4))?;
    set(Resource::Fsize, limit::FILE)?;
    set(Resource::Data, limit::DATA)?;
    set(Resource::Nproc, limit::PROCESSES)?;
    set(Resource::Nofile, limit::OPEN_FILES)?;
    for bit in 0..64 {
        // The kernel knows fewer than 64; the first that it does not know is the end.
        if remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)).is_err() {
            if bit == 0 {
                return Err(io::Error::other("capabilities cannot be dropped"));
            }
            break;
        }
    }
    Ok(set_no_new_privs(true)?)
}

enum Stopped {
    NoProgram(io::Error),
    TooLong(String),
}

fn run(order: &Order) -> Result<(ExitStatus, String), Stopped> {
    let [program, arguments @ ..] = order.command.as_slice() else {
        return Err(Stopped::NoProgram(io::ErrorKind::InvalidInput.into()));
    };
    let (reader, writer) = io::pipe().map_err(Stopped::NoProgram)?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(&order.env).current_dir(&order.folder).process_group(0).stdin(Stdio::null());
    command.stdout(writer.try_clone().map_err(Stopped::NoProgram)?).stderr(writer);
    let mut child = command.spawn().map_err(Stopped::NoProgram)?;
    // The command holds the writing ends; ours must go, or the pipe never ends.
    drop(command);
    let printed = Printed::listen(reader);
    let status = wait(&mut child, Duration::from_secs(order.seconds));
    // What it left running would hold the pipe open.
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    let said = printed.last_lines();
    match status {
        Some(status) => Ok((status, said)),
        None => Err(Stopped::TooLong(said)),
    }
}

/// `None` where its time was up.
fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if begun.elapsed() > limit {
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// The end of what was printed so far.
struct Printed {
    kept: Arc<Mutex<VecDeque<u8>>>,
    ended: mpsc::Receiver<()>,
}

impl Printed {
    /// Reads all that comes, and keeps the end of it.
    fn listen(mut reader: io::PipeReader) -> Self {
        let kept = Arc::<Mutex<VecDeque<u8>>>::default();
        let (sender, ended) = mpsc::channel();
        let filled = Arc::clone(&kept);
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let mut kept = filled.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(&buffer[..count]);
                let surplus = kept.len().saturating_sub(limit::PRINTED);
                kept.drain(..surplus);
            }
            // Nobody may be waiting any more.
            let _ = sender.send(());
        });
        Self { kept, ended }
    }

    fn last_lines(self) -> String {
        // A process that left the group holds the pipe open: what is there by then has to do.
        let _ = self.ended.recv_timeout(Duration::from_millis(500));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        last_lines(&String::from_utf8_lossy(kept.make_contiguous()))
    }
}

/// The last lines as text fit for a terminal.
fn last_lines(text: &str) -> String {
    let plain: String = text
        .chars()
        .filter(|c| *c != '\r')
        .map(|c| match c {
            '\t' => ' ',
            c if c != '\n' && crate::document::is_deceptive(c) => '\u{fffd}',
            c => c,
        })
        .collect();
    let lines: Vec<&str> = plain.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with status {code}"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => "it ended".to_owned(),
    }
}
