//! The demo where there is no workerd: everything is deployed, nothing runs, and it says so.

use std::process::{Command, Stdio};

#[test]
fn without_workerd_the_story_is_told_and_ends_with_status_3() {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_trunkline"))
        .args(["demo", "--once", "--no-install"])
        .env_remove("TRUNKLINE_WORKERD")
        .env("HOME", home.path())
        // git and the system's programs are there, and no workerd.
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{out}\n{err}");
    assert!(out.contains("Every step was as it should be.") && out.contains("do not run"), "{out}");
    assert!(err.contains("made without their migrations") && err.contains("exit status 3"), "{err}");
}
