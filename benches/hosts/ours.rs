//! What ours takes.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::line;
use crate::site::Site;
use crate::target::{Ssh, Target};

/// A first apply, one with nothing to do, one with a single change; `None` where it was not measured.
pub(crate) type Times = [Option<Duration>; 3];

pub(crate) const HEADING: &str =
    "                                    first apply    no change   one change   commands, connections";

/// The text of a unit of the bench: as the others write it.
pub(crate) const UNIT: &str = "[Service]\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";

/// Each apply by a process of its own, with a connection of its own to each host.
pub(crate) fn run(way: &str, targets: &[Target], files: usize, units: bool) -> Times {
    let site = prepared(targets, files, units);
    let first = step(&site, targets, 6);
    let again = step(&site, targets, 1);
    shown(way, [Some(first), Some(again), Some(changed(&site, targets))])
}

/// The same through a daemon that runs: its connections are there already, and stay.
pub(crate) fn through_a_daemon(way: &str, targets: &[Target], files: usize, units: bool) {
    let site = prepared(targets, files, units);
    site.apply();
    let mut daemon = site.start(&["run"]);
    let begun = Instant::now();
    // An apply before it listens would take the data folder, and the daemon would end.
    while !site.path("data/control.sock").exists() {
        assert!(begun.elapsed() < Duration::from_secs(120), "the daemon does not listen");
        std::thread::sleep(Duration::from_millis(100));
    }
    // Its connections are made.
    site.apply();
    let again = step(&site, targets, 1);
    // What is pushed it sees by itself: there is no moment from which an apply of ours could be timed.
    shown(way, [None, Some(again), None]);
    let pid = rustix::process::Pid::from_child(&daemon);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(daemon.wait().unwrap().success());
}

/// How long a step took, the commands of all hosts, and the connections to them.
struct Step {
    time: Duration,
    commands: usize,
    connections: usize,
}

/// One of the files is another.
fn changed(site: &Site, targets: &[Target]) -> Step {
    site.write("files/f0", &format!("{:b>1024}", "then"));
    site.commit("One of them");
    step(site, targets, 2)
}

/// One apply, of at most `most` commands for each host, the copy of the executor not counted.
fn step(site: &Site, targets: &[Target], most: usize) -> Step {
    let before = Ssh::counts_of(targets);
    let start = Instant::now();
    site.apply();
    let (time, after) = (start.elapsed(), Ssh::counts_of(targets));
    let (commands, connections) = (after.0 - before.0, after.1 - before.1);
    assert!(most == 6 || commands <= most * targets.len(), "{commands} commands for {} hosts", targets.len());
    assert!(connections <= targets.len(), "{connections} connections to {} hosts", targets.len());
    Step { time, commands, connections }
}

fn shown(way: &str, steps: [Option<Step>; 3]) -> Times {
    let counts = steps.iter().flatten().map(|step| format!("{}, {}", step.commands, step.connections));
    let counts: Vec<String> = counts.collect();
    let times = steps.map(|step| step.map(|step| step.time));
    line(&format!("trunkline, {way}"), &times, &counts.join("   "));
    times
}

/// A repository with files, and units where they are asked for.
fn prepared(targets: &[Target], files: usize, units: bool) -> Site {
    let key = targets.iter().find_map(|target| target.ssh.as_ref().map(|ssh| ssh.key.clone()));
    let site = Site::new(key.as_deref().unwrap_or(Path::new("/nonexistent")));
    let mut hosts = String::new();
    for (n, target) in targets.iter().enumerate() {
        writeln!(hosts, "[host.h{n}]\n{}", target.table).unwrap();
    }
    site.write("fleet/hosts.toml", &hosts);
    let folder = &targets[0].folder;
    let text = (0..files).fold(String::new(), |mut text, n| {
        writeln!(text, "[file.f{n}]\npath = \"{folder}/f{n}\"\nsource = \"files/f{n}\"").unwrap();
        site.write(&format!("files/f{n}"), &format!("{n:0>1024}"));
        text
    });
    let named = (0..if units { 3 } else { 0 }).fold(text, |mut text, n| {
        writeln!(text, "[unit.u{n}]\nname = \"u{n}.service\"\nsource = \"units/u{n}.service\"\nenabled = true").unwrap();
        site.write(&format!("units/u{n}.service"), UNIT);
        text
    });
    site.write("environments/production.toml", &named);
    site.commit("All of it");
    site
}
