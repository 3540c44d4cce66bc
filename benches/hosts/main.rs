//! What hosts cost: `cargo bench --bench hosts [-- FILES [FILES OF OTHERS]]`, 1,000 and 100 files without arguments.
//!
//! So many files of 1 KiB, by the program as people run it, from the fetch to the record: a first apply, one with nothing to
//! do, one with a single change. On the daemon's own machine; over SSH to a real sshd on loopback, each verb with a connection
//! of its own, and through a running daemon, whose connection stays; with three units over SSH, on a host of the fleet, where
//! `tests/fleet/bed up` was run; and on nineteen hosts of ten files, each a connection to an address of its own. Commands and
//! connections are those that sshd saw: a pass with nothing to do is one command for each host, and one that changes something
//! two, whatever the number of files; the bench fails where they are more.
//!
//! Beside it, where `benches/peers/install` put them, pyinfra, ansible-core with pipelining, and the same with mitogen, for
//! fewer files, since they take minutes; and ours for as many, so that the ratios are of one run.

#[path = "../stage/figures.rs"]
#[allow(dead_code, reason = "other benches use more of it")]
mod figures;
mod ours;
mod peers;
#[path = "../../tests/it/fleet/site.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod site;
#[path = "../../tests/it/fleet/sshd.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod sshd;
mod target;

use std::time::Duration;

use figures::show;
use ours::Times;
use peers::Peers;
use sshd::Sshd;
use target::Target;

/// Files of one host, and those of it where others take part.
const FILES: [usize; 2] = [1_000, 100];
/// Hosts, and files of each.
const FLEET: [usize; 2] = [19, 10];

fn main() {
    let given: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let [many, few] = [0, 1].map(|at| given.get(at).copied().unwrap_or(FILES[at]));
    let peers = Peers::find();

    show(&format!("{many} files of 1 KiB on one host\n{}", ours::HEADING));
    ours::run("local", &[Target::local()], many, false);
    // An sshd listens at sixteen addresses at most.
    let sshds = [1..=10, 11..=FLEET[0]].map(|some| Sshd::listening(&some.map(target::loopback).collect::<Vec<_>>()));
    // All of them take one key.
    let keys = sshds.each_ref().map(|sshd| sshd.folder.path().join("authorized"));
    std::fs::copy(&keys[0], &keys[1]).unwrap();
    let key = sshds[0].user_key();
    let loopback = |hosts: usize| (1..=hosts).map(|n| Target::loopback((&sshds[(n - 1) / 10], &key), n)).collect::<Vec<_>>();
    ours::run("ssh", &loopback(1), many, false);
    ours::through_a_daemon("ssh, beside a daemon", &loopback(1), many, false);

    let [hosts, files] = FLEET;
    show(&format!("\n{files} files of 1 KiB on each of {hosts} hosts\n{}", ours::HEADING));
    let own = ours::run("ssh", &loopback(hosts), files, false);
    ours::through_a_daemon("ssh, beside a daemon", &loopback(hosts), files, false);
    peers.all(&loopback(hosts), files, false, &own);

    let Some(host) = Target::of_fleet() else {
        show("\nNo host of the fleet is there, so that no units are measured: `tests/fleet/bed up`");
        return;
    };
    show(&format!("\n{many} files of 1 KiB and 3 units on a host of the fleet\n{}", ours::HEADING));
    ours::run("ssh", &[host], many, true);
    ours::through_a_daemon("ssh, beside a daemon", &fresh(), many, true);

    show(&format!("\n{few} files of 1 KiB and 3 units on a host of the fleet\n{}", ours::HEADING));
    let own = ours::run("ssh", &fresh(), few, true);
    peers.all(&fresh(), few, true, &own);
}

/// A host of the fleet, as new.
fn fresh() -> Vec<Target> {
    Target::of_fleet().into_iter().collect()
}

/// One line of a table: who, and the three times.
fn line(who: &str, times: &Times, rest: &str) {
    let time = |time: &Option<Duration>| time.map_or(format!("{:>11}", "-"), |time| format!("{:>9.2} s", time.as_secs_f64()));
    let shown: Vec<String> = times.iter().map(time).collect();
    show(&format!("{who:<34} {}   {rest}", shown.join("  ")));
}
