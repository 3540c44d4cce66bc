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
    timeout(Duration::from_secs(60), triggers.next()).await.ok()
}

async fn nothing(triggers: &mut Triggers) {
    let wake = timeout(Duration::from_millis(300), triggers.next()).await;
    assert!(wake.is_err(), "{wake:?} for no reason");
}

/// Hears what is left of a burst that a busy machine drew out, until it is quiet.
async fn drained(triggers: &mut Triggers) {
    while timeout(Duration::from_millis(500), triggers.next()).await.is_ok() {}
}

/// It wakes, for what was done last and nothing before.
async fn wakes(triggers: &mut Triggers, why: &str) {
    assert_eq!(soon(triggers).await, Some(Wake::Changed), "{why}");
    drained(triggers).await;
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
        let (last, early) =
            commits.lines().collect::<Vec<_>>().split_last().map(|(last, early)| (*last, early.to_vec())).unwrap();
        remote.git(&["push", "-q", "origin", "HEAD:refs/heads/all"]);
        // As a push moves it, and faster than any machine pushes: how busy this one is must not count.
        let bare = git2::Repository::open_bare(remote.bare()).unwrap();
        for commit in early {
            bare.reference("refs/heads/main", commit.parse().unwrap(), true, "push").unwrap();
        }
        remote.git(&["push", "-q", "origin", &format!("{last}:main")]);
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
    wakes(&mut bare, "a push").await;
    remote.commit(&[], "more");
    wakes(&mut work, "a commit in a clone with files").await;
    remote.git_in(&remote.bare(), &["branch", "short-lived", "main"]);
    remote.git_in(&remote.bare(), &["pack-refs", "--all"]);
    wakes(&mut bare, "refs are packed").await;
    nothing(&mut bare).await;
    remote.git_in(&remote.bare(), &["branch", "-q", "-D", "short-lived"]);
    wakes(&mut bare, "a packed ref is deleted").await;
    remote.git_in(&remote.bare(), &["branch", "deep/er/branch", "main"]);
    wakes(&mut bare, "a new folder of refs").await;
    sleep(Duration::from_millis(100)).await;
    remote.git_in(&remote.bare(), &["branch", "deep/er/second", "main"]);
    wakes(&mut bare, "within the new folder").await;
    std::fs::write(remote.work().join("file"), "not committed").unwrap();
    remote.git_in(&remote.bare(), &["hash-object", "-w", "--stdin-paths", "--no-filters", "-t", "blob"]);
    nothing(&mut bare).await;
    nothing(&mut work).await;

    remote.git_in(remote.folder.path(), &["init", "-q", "--bare", "-b", "main", "--ref-format=reftable", "table.git"]);
    let (mut table, _stop) = watching(&remote.folder.path().join("table.git"));
    remote.git(&["push", "-q", remote.folder.path().join("table.git").to_str().unwrap(), "HEAD:main"]);
    wakes(&mut table, "a push to a reftable repository").await;
    remote.git(&["worktree", "add", "-q", "-b", "side", remote.folder.path().join("linked").to_str().unwrap()]);
    let (mut linked, _stop) = watching(&remote.folder.path().join("linked"));
    remote.commit(&[], "on main");
    wakes(&mut linked, "a linked worktree shares its branches").await;
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
    // On a busy machine one of them may end.
    let mut heard = None;
    for _ in 0..10 {
        heard = heard.or(timeout(Duration::from_millis(2), triggers.next()).await.ok());
    }
    if heard.is_none() {
        heard = soon(&mut triggers).await;
    }
    assert_eq!(heard, Some(Wake::Request));
    // A burst without end is cut.
    let endless = waker.clone();
    let task = tokio::spawn(async move {
        loop {
            endless.wake();
            sleep(Duration::from_millis(5)).await;
        }
    });
    assert_eq!(timeout(Duration::from_secs(30), triggers.next()).await, Ok(Wake::Request));
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
    assert!(started.elapsed() >= Duration::from_millis(540), "{:?}", started.elapsed());
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
    let wake = timeout(Duration::from_secs(90), triggers.next()).await.unwrap();
    assert_eq!(wake, Wake::Schedule);
    let second = chrono::Utc::now().timestamp() % 60;
    assert!(second < 20, "at second {second}");
}
