//! A daemon that is killed in the middle leaves a database that opens and works.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use trunkline::source::{Options, Source, SourceError};

use super::remote::{Remote, running};

/// What is killed: a process that fetches, records and proposes without end.
#[test]
#[ignore = "started, and killed, by the tests below"]
fn victim() {
    let database: PathBuf = std::env::var_os("VICTIM_DATABASE").expect("started by the tests below").into();
    let remote = std::env::var("VICTIM_REMOTE").unwrap().parse().unwrap();
    let source = Source::open(Options::new(database.clone(), remote, "main".parse().unwrap())).unwrap();
    fs::write(database.with_extension("ready"), "").unwrap();
    let first = source.head().unwrap();
    for n in 0u64.. {
        let Ok(fetched) = source.fetch() else { continue };
        let head = fetched.revision.commit;
        source.annotate(&head, &json!({ "n": n, "process": std::process::id() })).unwrap();
        source.set_applied(&"production".parse().unwrap(), &head).unwrap();
        let _ = source.push_records();
        if let Some(first) = &first {
            let _ = source.propose_revert("trunkline/revert", &head, &first.commit, None, &format!("revert {n}"));
        }
    }
}

fn start(database: &Path, remote: &str) -> Child {
    let ready = database.with_extension("ready");
    let _ = fs::remove_file(&ready);
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["source::killed::victim", "--exact", "--ignored"])
        .env("VICTIM_DATABASE", database)
        .env("VICTIM_REMOTE", remote)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let give_up = Instant::now() + Duration::from_secs(30);
    while !ready.exists() {
        assert!(Instant::now() < give_up, "the database could not be opened after a kill");
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

#[test]
fn killed_at_any_time_it_opens_again_with_everything_that_was_there() {
    let remote = Remote::new();
    let url = remote.bare().to_str().unwrap().to_owned();
    let mut head = remote.open().fetch().unwrap().revision.commit;
    let mut lines = 0;
    for round in 0..25u64 {
        let mut victim = start(&remote.database(), &url);
        remote.change("a.toml", &format!("{}\n", "x".repeat(round as usize * 1000)));
        // Spread over everything that a round of the victim does.
        std::thread::sleep(Duration::from_millis(round * 37 % 120));
        victim.kill().unwrap();
        victim.wait().unwrap();

        let source = remote.open();
        let kept = source.head().unwrap().unwrap().commit;
        assert!(source.is_ancestor(&head, &kept).unwrap());
        let records = source.records().unwrap();
        assert!(records.len() >= lines, "a recorded line was lost");
        assert!(records.iter().all(|(_, line)| serde_json::from_str::<serde_json::Value>(line).is_ok()));
        lines = records.len();
        head = source.fetch().unwrap().revision.commit;
        source.annotate(&head, &json!({ "round": round })).unwrap();
        lines += 1;
    }
    assert!(lines > 25, "the victim never came to write a line");
    remote.git_in(&remote.database(), &["fsck", "--full", "--strict", "--no-dangling"]);
    assert_eq!(remote.open().records().unwrap().len(), lines);
}

#[test]
fn a_git_process_that_outlived_its_daemon_is_ended() {
    // A remote that takes the call and never answers: the fetch hangs.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let remote = Remote::new();
    let url = format!("http://127.0.0.1:{}/x.git", listener.local_addr().unwrap().port());
    // As the processes of the fetch have it among their arguments; the victim has it in its environment.
    let helper = url.clone();
    let mut victim = start(&remote.database(), &url);
    let _call = listener.accept().unwrap();
    assert!(matches!(Source::open(remote.options()), Err(SourceError::Busy(_))), "one owner at a time");
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert!(running(&helper) > 0, "the fetch goes on without its daemon");
    let lock = remote.database().join("refs/heads/main.lock");
    fs::write(&lock, "").unwrap();
    let source = remote.open();
    let give_up = Instant::now() + Duration::from_secs(60);
    while running(&helper) > 0 {
        assert!(Instant::now() < give_up, "the process still runs");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(source.fetch().unwrap().changed);
}
