//! Run a command on the candidate before it replaces the file.
//!
//! **Invariant:** each argument is one argument; there is no shell. The command gets no environment but `PATH`, no
//! input, and a minute. Of a candidate that holds secrets no word of the output is kept: a checker quotes the line that
//! it does not like, and no filter knows every way in which it may write a value down.

use std::io::{PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::Fault;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const PATIENCE: Duration = Duration::from_secs(60);
const MAX_OUTPUT_BYTES: usize = 4096;

/// Runs `argv` with `{}` replaced by `candidate`; it must exit with 0.
pub(super) fn validate(argv: &[String], candidate: &Path, shown: &str, secret: bool) -> Result<(), Fault> {
    let [program, arguments @ ..] = argv else {
        return Err(Fault::new(format!("the validate command of `{shown}` is empty")));
    };
    if program.contains('/') && !program.starts_with('/') {
        return Err(Fault::new(format!("the validate command of `{shown}` is a relative path"))
            .hint("give an absolute path, or the name of a program in PATH"));
    }
    let refused = |cause: String| {
        let fault = Fault { cause: Some(cause), ..Fault::new(format!("the new content of `{shown}` did not pass `{program}`")) };
        if secret {
            fault.hint("its output is withheld, since the file holds secrets: run the command by hand on the host")
        } else {
            fault
        }
    };
    let fill = |argument: &String| argument.replace("{}", &candidate.to_string_lossy());
    let not_run = |error: std::io::Error| {
        Fault { transient: false, ..Fault::system(format!("the validate command of `{shown}` cannot be run"), error) }
            .hint(format!("install `{}` on the host", program.escape_debug()))
    };
    let (reader, writer) = std::io::pipe().map_err(not_run)?;
    let mut command = Command::new(fill(program));
    command.args(arguments.iter().map(fill)).env_clear().env("PATH", PATH).current_dir("/").process_group(0).stdin(Stdio::null());
    command.stdout(writer.try_clone().map_err(not_run)?).stderr(writer);
    let mut child = command.spawn().map_err(not_run)?;
    // The command holds the writing ends; ours must go, or the pipe never ends.
    drop(command);
    let output = collect(reader);
    let status = wait(&mut child).map_err(not_run)?;
    let Some(status) = status else { return Err(refused("it was stopped after 60 seconds".to_owned())) };
    if status.success() {
        return Ok(());
    }
    let output = if secret { String::new() } else { output.recv_timeout(Duration::from_millis(500)).unwrap_or_default() };
    Err(refused(if output.is_empty() { status.to_string() } else { format!("{status}: {output}") }))
}

/// Waits, then ends whatever of the command's process group is left; `None` where its time was up.
fn wait(child: &mut Child) -> std::io::Result<Option<ExitStatus>> {
    let pid = Pid::from_child(child);
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    let ended = loop {
        // Looked at without reaping it: as long as it is there, its group's number belongs to nobody else.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if waitid(WaitId::Pid(pid), options)?.is_some() {
            break true;
        }
        if start.elapsed() > PATIENCE {
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

/// Reads all that comes, and keeps the beginning of it as text fit for a terminal.
fn collect(mut reader: PipeReader) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            let room = MAX_OUTPUT_BYTES - kept.len();
            kept.extend_from_slice(&buffer[..count.min(room)]);
        }
        let text = String::from_utf8_lossy(&kept);
        let fit = text.trim().chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect();
        // Nobody may be waiting any more.
        let _ = sender.send(fit);
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(argv: &[&str], secret: bool) -> Result<(), Fault> {
        let argv: Vec<String> = argv.iter().map(|&argument| argument.to_owned()).collect();
        validate(&argv, Path::new("/etc/hostname"), "/etc/x", secret)
    }

    #[test]
    fn only_exit_status_0_passes() {
        run(&["true"], false).unwrap();
        run(&["/usr/bin/test", "-n", "{}"], false).unwrap();
        let fault = run(&["sh", "-c", "echo no good >&2; exit 3"], false).unwrap_err();
        let cause = fault.cause.unwrap();
        assert!(cause.contains('3') && cause.contains("no good"), "{cause}");
        assert!(!fault.transient);
    }

    #[test]
    fn the_output_of_a_secret_candidate_is_withheld() {
        let fault = run(&["sh", "-c", "echo hunter2; exit 1"], true).unwrap_err();
        assert!(!format!("{fault:?}").contains("hunter2") && fault.hint.is_some(), "{fault:?}");
    }

    #[test]
    fn nothing_is_inherited_and_nothing_goes_through_a_shell() {
        let fault = run(&["sh", "-c", "env; false"], false).unwrap_err();
        let cause = fault.cause.unwrap();
        let names: Vec<&str> = cause.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        assert!(names.iter().all(|name| ["PATH", "PWD", "SHLVL", "_"].contains(name) || name.contains(' ')), "{cause}");
        let fault = run(&["echo $(id); false"], false).unwrap_err();
        assert!(fault.to_string().contains("cannot be run"), "{fault}");
        assert!(run(&["./true"], false).is_err());
        assert!(run(&[], false).is_err());
    }

    #[test]
    fn output_is_bounded_and_what_it_leaves_running_is_ended() {
        let fault = run(&["sh", "-c", "sleep 600 & head -c 1000000 /dev/zero | tr '\\0' x; printf '\\033[31m'; exit 1"], false);
        let cause = fault.unwrap_err().cause.unwrap();
        assert!(cause.len() < 2 * MAX_OUTPUT_BYTES && !cause.contains('\u{1b}'), "{}", cause.len());
    }
}
