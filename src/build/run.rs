//! One build, from outside: make the namespaces, hand the order in, take the answer out.
//!
//! Goes in: a job. Comes out: the files that it left.
//!
//! **Invariant:** when a call returns, nothing that it started is left: the build's first process ends with its standard
//! input, and all others of its namespace with it. So they do when this process ends, however it does.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::frame::{Answer, End, Files, Order, read_files, read_header, write_header};
use super::inside::INSIDE_VERB;
use super::tool::Job;
use super::{BuildError, Options, limit};
use crate::model::{BuildRequest, ResourceName};

/// Where util-linux is installed.
const UNSHARE: [&str; 2] = ["/usr/bin/unshare", "/bin/unshare"];

/// A user, a network, mounts, processes and the rest of its own; the user is root there and nobody elsewhere.
const NAMESPACES: [&str; 9] =
    ["--user", "--map-root-user", "--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child=KILL"];

/// What starting and answering may take, beside the build itself.
const GRACE: Duration = Duration::from_secs(20);

/// Runs `job`.
pub(super) fn run(options: &Options, worker: &ResourceName, job: &Job, request: &BuildRequest) -> Result<Files, BuildError> {
    let system = |source| BuildError::System { worker: worker.clone(), source };
    let no_isolation = |reason: String| BuildError::NoIsolation { worker: worker.clone(), reason };
    let unshare = UNSHARE.into_iter().find(|path| std::path::Path::new(path).is_file());
    let unshare = unshare.ok_or_else(|| no_isolation("there is no unshare (util-linux)".to_owned()))?;
    let mut command = Command::new(unshare);
    command.args(NAMESPACES).arg("--").arg(&options.program).arg(INSIDE_VERB).env_clear().current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(system)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
        end(&mut child);
        return Err(system(io::ErrorKind::BrokenPipe.into()));
    };
    let answer = answer(stdout);
    let complaint = complaint(stderr);
    // A build that cannot even begin closes its end; why, it says on standard error.
    let held = hand_in(stdin, options, job, request);
    let answered = wait(options, &answer);
    drop(held);
    end(&mut child);
    match answered {
        Waited::Answer(Ok((answer, files))) => conclude(worker, answer, files),
        Waited::Answer(Err(error)) => {
            let said = complaint.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
            let said = said.trim();
            Err(no_isolation(if said.is_empty() { format!("no answer came ({error})") } else { crate::document::shown(said) }))
        }
        Waited::TooLong => {
            let ended = format!("it was stopped after {} s", options.timeout.as_secs());
            Err(BuildError::Failed { worker: worker.clone(), ended, printed: String::new() })
        }
        Waited::Stop => Err(BuildError::Stopped { worker: worker.clone() }),
    }
}

fn conclude(worker: &ResourceName, answer: Answer, files: Files) -> Result<Files, BuildError> {
    let worker = worker.clone();
    match answer.end {
        End::Done => Ok(files),
        End::Failed(ended) => Err(BuildError::Failed { worker, ended, printed: answer.printed }),
        End::Output(what) => Err(BuildError::Output { worker, what }),
        End::NoProgram(reason) => {
            Err(BuildError::Failed { worker, ended: format!("its command cannot be started: {reason}"), printed: String::new() })
        }
        End::NoIsolation(reason) => Err(BuildError::NoIsolation { worker, reason }),
    }
}

/// Writes the order and the inputs; what is returned keeps the build alive.
fn hand_in(stdin: ChildStdin, options: &Options, job: &Job, request: &BuildRequest) -> io::Result<ChildStdin> {
    let order = Order {
        shown: job.shown.clone(),
        command: job.command.clone(),
        env: job.env.clone(),
        folder: job.folder.clone(),
        output: job.output.clone(),
        seconds: options.timeout.as_secs(),
        files: request.inputs.iter().map(|(path, file)| (path.clone(), file.content.size, file.executable)).collect(),
    };
    let mut to = BufWriter::new(stdin);
    write_header(&mut to, &order)?;
    request.inputs.values().try_for_each(|file| to.write_all(&file.bytes))?;
    to.into_inner().map_err(|error| error.into_error())
}

type Answered = io::Result<(Answer, Files)>;

fn answer(stdout: ChildStdout) -> mpsc::Receiver<Answered> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut from = BufReader::new(stdout);
        let answered = read_header::<Answer>(&mut from).and_then(|answer| {
            if answer.files.len() > limit::MODULES {
                return Err(io::Error::other("more files are announced than a build may leave"));
            }
            let files = read_files(&mut from, &answer.files, limit::MODULE_BYTES)?;
            Ok((answer, files))
        });
        // Nobody may be waiting any more.
        let _ = sender.send(answered);
    });
    receiver
}

/// The first words on standard error: those of `unshare`, where it cannot do its work.
fn complaint(stderr: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut said = Vec::new();
        let mut from = stderr.take(4096);
        let _ = from.read_to_end(&mut said);
        let _ = io::copy(&mut from.into_inner(), &mut io::sink());
        // Nobody may be waiting any more.
        let _ = sender.send(String::from_utf8_lossy(&said).into_owned());
    });
    receiver
}

enum Waited {
    Answer(Answered),
    TooLong,
    Stop,
}

fn wait(options: &Options, answer: &mpsc::Receiver<Answered>) -> Waited {
    let until = Instant::now() + options.timeout + GRACE;
    loop {
        match answer.recv_timeout(Duration::from_millis(50)) {
            Ok(answered) => return Waited::Answer(answered),
            Err(RecvTimeoutError::Disconnected) => return Waited::Answer(Err(io::ErrorKind::BrokenPipe.into())),
            Err(RecvTimeoutError::Timeout) if (options.stop)() => return Waited::Stop,
            Err(RecvTimeoutError::Timeout) if Instant::now() > until => return Waited::TooLong,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Waits for the end of `unshare`: it ends once its child is gone, and that one once all processes of its namespace are.
/// The child goes with its standard input; where it does not, both are killed.
fn end(child: &mut Child) {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}
