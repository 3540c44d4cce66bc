//! What Git shows as a trailer is what counts: compared with the real `git interpret-trailers`.

use std::io::Write;
use std::process::{Command, Stdio};

use trunkline::policy::{Acknowledgement, acknowledgements};

/// The acknowledgements that Git finds in `message`.
fn by_git(message: &str) -> Vec<String> {
    let mut git = Command::new("git")
        .args(["interpret-trailers", "--parse", "--no-divider"])
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")])
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs `git` in PATH: install Git 2.39 or newer");
    git.stdin.take().unwrap().write_all(message.as_bytes()).unwrap();
    let output = git.wait_with_output().unwrap();
    assert!(output.status.success());
    let mut found: Vec<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| key.eq_ignore_ascii_case("acknowledge"))
        .filter_map(|(_, value)| value.trim().parse::<Acknowledgement>().ok())
        .map(|acknowledgement| acknowledgement.to_string())
        .collect();
    found.sort();
    found.dedup();
    found
}

#[test]
fn trailers_are_those_that_git_finds() {
    const A: &str = "Acknowledge: production/kv.sessions delete";
    const B: &str = "acknowledge: production delete-budget";
    let messages = [
        format!("title\n\n{A}\n"),
        format!("title\n\n{A}\n{B}\n"),
        format!("title\n\nBody.\n\n{A}\nSigned-off-by: A <a@example.com>\n"),
        format!("title\n\nBody.\n\n{A}\n\n\n"),
        format!("title\n\nBody.\n{A}\n"),
        format!("title\n\n{A}\nBody goes on.\n"),
        format!("title\n\n{A}\n\nBody after.\n"),
        format!("title\n{A}\n"),
        A.to_owned(),
        format!("\n\n{A}\n"),
        format!("title\n\nSigned-off-by: A <a@example.com>\nprose\n{A}\n"),
        format!("title\n\nSigned-off-by: A <a@example.com>\np\np\np\np\np\n{A}\n"),
        format!("title\n\nSigned-off-by: A <a@example.com>\np\np\np\np\np\np\np\n{A}\n"),
        format!("title\n\n(cherry picked from commit 1234)\nprose\n{A}\n"),
        format!("title\n\nsigned-off-by: A <a@example.com>\nprose\n{A}\n"),
        format!("title\n\n{A}\n# a comment\n{B}\n"),
        format!("title\n\n {A}\n"),
        "title\n\nAcknowledge: production/kv.sessions\n  delete\n".to_owned(),
        "title\n\nAcknowledge : production/kv.sessions delete\n".to_owned(),
        "title\n\nACKNOWLEDGE:production/kv.sessions delete\n".to_owned(),
        format!("title\n\nhttps://example.com/x\n{A}\n"),
        format!("title\r\n\r\n{A}\r\n"),
        format!("title\n   \n{A}\n"),
        String::new(),
    ];
    for message in &messages {
        let ours: Vec<String> = acknowledgements([message.as_str()]).iter().map(ToString::to_string).collect();
        let mut ours_sorted = ours.clone();
        ours_sorted.sort();
        assert_eq!(ours_sorted, by_git(message), "{message:?}");
    }
    let found = messages.iter().filter(|message| !by_git(message).is_empty()).count();
    assert!(found >= 8 && found < messages.len() - 6, "the cases no longer tell one from the other: {found}");
}
