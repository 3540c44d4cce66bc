//! What an idle daemon holds in memory: `cargo bench --bench idle [-- SECONDS]` (idle for 5 s without an argument).
//!
//! The daemon is built for release and follows the example, with both of its environments applied: Workers, KV and secrets
//! through the REST API of two edges, files on a host; it alone is measured, not what runs beside it. It has made
//! its passes, pushed its records, and waits. The mark is 30 MiB resident.

mod stage;

use std::time::Duration;

use stage::Outcome;
use stage::figures::show;
use stage::programs::{Daemon, start_edge, workerd, write_example};
use stage::repository::Repository;

/// The mark, in KiB.
const MARK: u64 = 30 * 1024;

fn main() -> Outcome<()> {
    let idle = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(5);
    let folder = tempfile::tempdir()?;
    let host = folder.path().join("host");
    std::fs::create_dir_all(&host)?;
    let workerd = workerd()?;
    let edges =
        [start_edge(&folder.path().join("account"), Some(&workerd))?, start_edge(&folder.path().join("edge"), Some(&workerd))?];
    let repository = Repository::make(folder.path())?;
    let daemon = Daemon::new(&folder.path().join("daemon"), &repository)?;
    write_example(&repository, &daemon, (&edges[0], &edges[1]), &host)?;
    repository.commit("begin")?;
    repository.push()?;
    let running = daemon.start()?;
    daemon.settled(&repository, 2)?;
    std::thread::sleep(Duration::from_secs(idle));

    let folder = std::path::Path::new("/proc").join(running.pid().to_string());
    let status = std::fs::read_to_string(folder.join("status"))?;
    let rollup = std::fs::read_to_string(folder.join("smaps_rollup"))?;
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
    };
    let resident = field(&status, "VmRSS").ok_or("no VmRSS")?;
    let kib = |what: &str, kib: Option<u64>| {
        if let Some(kib) = kib {
            show(&format!("{what:<44} {:>8.1} MiB", kib as f64 / 1024.0));
        }
    };
    show(&format!("an idle daemon, {idle} s after its last pass, {} threads", field(&status, "Threads").unwrap_or(0)));
    kib("resident (VmRSS)", Some(resident));
    kib("  of which its own (RssAnon)", field(&status, "RssAnon"));
    kib("  of which the program's file (RssFile)", field(&status, "RssFile"));
    kib("proportional (Pss)", field(&rollup, "Pss"));
    kib("highest so far (VmHWM)", field(&status, "VmHWM"));
    show(&format!("the mark of {} MiB is {}", MARK / 1024, if resident < MARK { "reached" } else { "missed" }));
    Ok(())
}
