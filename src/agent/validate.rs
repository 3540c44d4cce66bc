//! Run a command on the candidate before it replaces the file.
//!
//! **Invariant:** the command is run as every program is (see [`super::call`]). Of a candidate that holds secrets no word of
//! the output is kept: a checker quotes the line that it does not like, and no filter knows every way in which it may write
//! a value down.

use std::path::Path;

use super::Fault;
use super::call::{Call, NotCalled, fit};

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
    let called = match Call::new(fill(program)).with(arguments.iter().map(fill)).run() {
        Ok(called) => called,
        Err(NotCalled::NotRun(error)) => {
            let what = format!("the validate command of `{shown}` cannot be run");
            return Err(Fault { transient: false, ..Fault::system(what, error) }
                .hint(format!("install `{}` on the host", program.escape_debug())));
        }
        Err(NotCalled::TimeUp(patience)) => return Err(refused(format!("it was stopped after {} seconds", patience.as_secs()))),
    };
    let status = called.status;
    if status.success() {
        return Ok(());
    }
    let output = if secret { String::new() } else { fit(&format!("{}{}", called.out, called.err)) };
    Err(refused(if output.is_empty() { status.to_string() } else { format!("{status}: {output}") }))
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
        assert!(names.iter().all(|name| ["PATH", "PWD", "SHLVL", "_", "LC_ALL"].contains(name) || name.contains(' ')), "{cause}");
        let fault = run(&["echo $(id); false"], false).unwrap_err();
        assert!(fault.to_string().contains("cannot be run"), "{fault}");
        assert!(run(&["./true"], false).is_err());
        assert!(run(&[], false).is_err());
    }

    #[test]
    fn output_is_bounded_and_what_it_leaves_running_is_ended() {
        let fault = run(&["sh", "-c", "sleep 600 & head -c 1000000 /dev/zero | tr '\\0' x; printf '\\033[31m'; exit 1"], false);
        let cause = fault.unwrap_err().cause.unwrap();
        assert!(cause.len() < 2 * 4096 && !cause.contains('\u{1b}'), "{}", cause.len());
    }
}
