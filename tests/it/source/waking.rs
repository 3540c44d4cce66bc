//! When the daemon looks: watch, poll, schedule, request.

use std::path::Path;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use trunkline::trigger::{Options, TriggerError, Triggers, Wake, start};

use super::remote::Remote;

fn quiet() -> Options {
    Options { poll: None, watch: None, schedules: Vec::new(), quiet: Duration::from_millis(40) }
}

fn watching(path: &Path) -> (Triggers, CancellationToken) {
    let stop = CancellationToken::new();
    (start(Options { watch: Some(path.to_owned()), ..quiet() }, stop.clone()).unwrap(), stop)
}

async fn soon(triggers: &mut Triggers) -> Option<Wake> {
    timeout(Duration::from_secs(10), triggers.next()).await.ok()
}

async fn nothing(triggers: &mut Triggers) {
    let wake = timeout(Duration::from_millis(300), triggers.next()).await;
    assert!(wake.is_err(), "{wake:?} for no reason");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_pushes_are_few_wakes_and_the_last_is_seen() {
    let remote = Remote::new();
    let (mut triggers, _stop) = watching(&remote.bare());
    nothing(&mut triggers).await;
    let pushing = tokio::task::spawn_blocking(move || {
        for n in 0..50 {
            remote.commit(&[], &format!("{n}"));
        }
        let commits = remote.git(&["rev-list", "-n", "50", "--reverse", "HEAD"]);
        for commit in commits.lines() {
            remote.git(&["push", "-q", "origin", &format!("{commit}:main")]);
        }
        remote
    });
    let mut seen = String::new();
    let mut wakes = 0;
    let mut remote = None;
    let mut pushing = Some(pushing);
    let last = loop {
        match timeout(Duration::from_secs(2), triggers.next()).await {
            Ok(wake) => {
                assert_eq!(wake, Wake::Changed);
                wakes += 1;
                // A pass takes its time.
                sleep(Duration::from_millis(200)).await;
            }
            Err(_) => match pushing.take() {
                Some(task) => remote = Some(task.await.unwrap()),
                None => break remote.unwrap(),
            },
        }
        if let Some(remote) = &remote {
            seen = remote.git_in(&remote.bare(), &["rev-parse", "main"]);
        }
    };
    assert!((1..=25).contains(&wakes), "{wakes} wakes for 50 pushes");
    assert_eq!(seen, last.git(&["rev-parse", "HEAD"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_which_a_branch_moves_wakes() {
    let remote = Remote::new();
    remote.commit(&[], "next");
    let (mut bare, _stop) = watching(&remote.bare());
    let (mut work, _stop) = watching(&remote.work());
    remote.push();
    assert_eq!(soon(&mut bare).await, Some(Wake::Changed), "a push");
    remote.commit(&[], "more");
    assert_eq!(soon(&mut work).await, Some(Wake::Changed), "a commit in a clone with files");
    remote.git_in(&remote.bare(), &["branch", "short-lived", "main"]);
    remote.git_in(&remote.bare(), &["pack-refs", "--all"]);
    assert_eq!(soon(&mut bare).await, Some(Wake::Changed), "refs are packed");
    nothing(&mut bare).await;
    remote.git_in(&remote.bare(), &["branch", "-q", "-D", "short-lived"]);
    assert_eq!(soon(&mut bare).await, Some(Wake::Changed), "a packed ref is deleted");
    remote.git_in(&remote.bare(), &["branch", "deep/er/branch", "main"]);
    assert_eq!(soon(&mut bare).await, Some(Wake::Changed), "a new folder of refs");
    sleep(Duration::from_millis(100)).await;
    remote.git_in(&remote.bare(), &["branch", "deep/er/second", "main"]);
    assert_eq!(soon(&mut bare).await, Some(Wake::Changed), "within the new folder");
    std::fs::write(remote.work().join("file"), "not committed").unwrap();
    remote.git_in(&remote.bare(), &["hash-object", "-w", "--stdin-paths", "--no-filters", "-t", "blob"]);
    nothing(&mut bare).await;
    nothing(&mut work).await;

    remote.git_in(remote.folder.path(), &["init", "-q", "--bare", "-b", "main", "--ref-format=reftable", "table.git"]);
    let (mut table, _stop) = watching(&remote.folder.path().join("table.git"));
    remote.git(&["push", "-q", remote.folder.path().join("table.git").to_str().unwrap(), "HEAD:main"]);
    assert_eq!(soon(&mut table).await, Some(Wake::Changed), "a push to a reftable repository");
    remote.git(&["worktree", "add", "-q", "-b", "side", remote.folder.path().join("linked").to_str().unwrap()]);
    let (mut linked, _stop) = watching(&remote.folder.path().join("linked"));
    remote.commit(&[], "on main");
    assert_eq!(soon(&mut linked).await, Some(Wake::Changed), "a linked worktree shares its branches");
    let nowhere = start(Options { watch: Some("/nonexistent".into()), ..quiet() }, CancellationToken::new());
    assert!(matches!(nowhere, Err(TriggerError::NoRepository(_))));
}

#[tokio::test]
async fn requests_coalesce_and_none_is_lost_while_nobody_listens() {
    let stop = CancellationToken::new();
    let mut triggers = start(quiet(), stop.clone()).unwrap();
    let waker = triggers.waker();
    for _ in 0..1000 {
        waker.wake();
    }
    assert_eq!(soon(&mut triggers).await, Some(Wake::Request));
    nothing(&mut triggers).await;
    // Calls that are dropped half-way lose nothing.
    waker.wake();
    for _ in 0..10 {
        let _ = timeout(Duration::from_millis(2), triggers.next()).await;
    }
    assert_eq!(soon(&mut triggers).await, Some(Wake::Request));
    // A burst without end is cut.
    let endless = waker.clone();
    let task = tokio::spawn(async move {
        loop {
            endless.wake();
            sleep(Duration::from_millis(5)).await;
        }
    });
    assert_eq!(timeout(Duration::from_secs(2), triggers.next()).await, Ok(Wake::Request));
    task.abort();
    stop.cancel();
    assert_eq!(soon(&mut triggers).await, Some(Wake::Stop));
    assert_eq!(soon(&mut triggers).await, Some(Wake::Stop), "and again");
}

#[tokio::test]
async fn it_polls_and_a_look_for_another_reason_counts() {
    let options = Options { poll: Some(Duration::from_millis(200)), ..quiet() };
    let mut triggers = start(options, CancellationToken::new()).unwrap();
    let started = tokio::time::Instant::now();
    for _ in 0..3 {
        assert_eq!(soon(&mut triggers).await, Some(Wake::Poll));
    }
    assert!((540..1500).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    sleep(Duration::from_millis(100)).await;
    triggers.waker().wake();
    let started = tokio::time::Instant::now();
    assert_eq!(soon(&mut triggers).await, Some(Wake::Request));
    assert_eq!(soon(&mut triggers).await, Some(Wake::Poll));
    assert!(started.elapsed() >= Duration::from_millis(200), "counted from the last wake");
}

#[tokio::test]
async fn a_schedule_fires_at_its_minute() {
    let options = Options { schedules: vec!["* * * * *".parse().unwrap()], ..quiet() };
    let mut triggers = start(options, CancellationToken::new()).unwrap();
    let wake = timeout(Duration::from_secs(65), triggers.next()).await.unwrap();
    assert_eq!(wake, Wake::Schedule);
    assert!(chrono::Utc::now().timestamp() % 60 < 3);
}
