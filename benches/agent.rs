//! What an agent costs its host while there is nothing to do: `cargo bench --bench agent [-- SECONDS]` (50 s without an
//! argument).
//!
//! A daemon and an agent as processes, built for release, on loopback; the agent is enrolled, has twenty files of one
//! environment in place, and nothing changes. It is measured alone: memory at the end; the time of the processor, how often it
//! woke, and what went over its connection each way, over the time of waiting. A frame is a record of TLS with data in it,
//! counted on the way between the two: a message of the protocol is one, and so is a ping. The kernels of some virtual
//! machines account so little time only now and then: how often it woke says more there.

mod stage;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stage::Outcome;
use stage::figures::show;
use stage::programs::{Daemon, Running, heap};
use stage::repository::Repository;

/// How many files are in place.
const FILES: usize = 20;
/// How long it may take until everything is in place.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Outcome<()> {
    let idle = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(50);
    let folder = tempfile::tempdir()?;
    let (repository, daemon) = definitions(folder.path())?;
    let listen = free()?;
    let counts = Arc::new(Counts::default());
    let way = between(listen, Arc::clone(&counts))?;
    let settings = folder.path().join("daemon.toml");
    std::fs::write(&settings, format!("[agents]\nlisten = \"{listen}\"\naddress = \"{way}\"\n"))?;

    let token = daemon.words(&["agent", "token", "fra1"]).env("TRUNKLINE_CONFIG", &settings).output()?;
    if !token.status.success() {
        return Err(String::from_utf8_lossy(&token.stderr).into());
    }
    let log = std::fs::File::create(folder.path().join("daemon.log"))?;
    let mut run = daemon.words(&["run"]);
    run.env("TRUNKLINE_CONFIG", &settings).envs(heap()).stdout(Stdio::null()).stderr(log);
    let _daemon = Running::of(run.spawn()?);
    let agent = agent(folder.path(), &token.stdout)?;
    daemon.settled(&repository, 1)?;
    let placed = std::fs::read_dir(folder.path().join("host/srv"))?.count();
    if placed != FILES {
        return Err(format!("{placed} of {FILES} files are in place").into());
    }
    // What its start has left to do is done, and the threads that did it are gone.
    std::thread::sleep(Duration::from_secs(15));

    let (before, start) = (counts.now(), worked(agent.pid())?);
    let begun = Instant::now();
    std::thread::sleep(Duration::from_secs(idle));
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let after = counts.now();
    let end = worked(agent.pid())?;
    report(agent.pid(), idle)?;
    let (computed, wakings) = since(&start, &end);
    let computed = computed.as_secs_f64() * 1e3 / minutes;
    show(&format!("{:<44} {computed:>8.2} ms a minute", "time of the processor"));
    show(&format!("{:<44} {:>8.1} a minute", "wakings of its threads", wakings as f64 / minutes));
    for (way, at) in [("from the agent", 0), ("to the agent", 2)] {
        let per_minute = |at: usize| (after[at] - before[at]) as f64 / minutes;
        show(&format!("frames {way:<37} {:>8.1} a minute, {:.0} bytes", per_minute(at), per_minute(at + 1)));
    }
    Ok(())
}

/// A repository with one environment on one host that dials out, and a daemon for it.
fn definitions(folder: &Path) -> Outcome<(Repository, Daemon)> {
    let repository = Repository::make(folder)?;
    let daemon = Daemon::new(&folder.join("daemon"), &repository)?;
    repository.write("trunkline.toml", "format = 1\n")?;
    repository.write("fleet/hosts.toml", "[host.fra1]\nconnect = \"agent\"\n")?;
    let files = (0..FILES).map(|n| format!("[file.f{n}]\npath = \"/srv/f{n}\"\ncontent = \"{n:0>1024}\"\n"));
    let text = format!("[environment.sync]\ninterval = \"1d\"\n\n{}", files.collect::<String>());
    repository.write("environments/production.toml", &text)?;
    repository.commit("begin")?;
    repository.push()?;
    Ok((repository, daemon))
}

/// The agent, enrolled and running; its host is a folder.
fn agent(folder: &Path, token: &[u8]) -> Outcome<Running> {
    let host = folder.join("host");
    std::fs::create_dir_all(&host)?;
    let (file, state, policy) = (folder.join("token"), folder.join("agent"), folder.join("agent.toml"));
    std::fs::write(&file, token)?;
    std::fs::write(&policy, format!("roots = [\"/srv\"]\nroot = {host:?}\n"))?;
    let program = |verb: &str| {
        let mut command = Command::new(stage::programs::PROGRAM);
        command.args(["agent", verb, "--state"]).arg(&state).stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    let begun = Instant::now();
    // The daemon may not listen yet.
    loop {
        let output = program("enrol").arg("--token-file").arg(&file).output()?;
        if output.status.success() {
            break;
        }
        if begun.elapsed() > PATIENCE {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let log = std::fs::File::create(folder.join("agent.log"))?;
    Ok(Running::of(program("run").arg("--policy").arg(&policy).stderr(log).spawn()?))
}

fn report(pid: u32, idle: u64) -> Outcome<()> {
    let folder = Path::new("/proc").join(pid.to_string());
    let status = std::fs::read_to_string(folder.join("status"))?;
    let rollup = std::fs::read_to_string(folder.join("smaps_rollup"))?;
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
    };
    let kib = |what: &str, kib: Option<u64>| {
        if let Some(kib) = kib {
            show(&format!("{what:<44} {:>8.1} MiB", kib as f64 / 1024.0));
        }
    };
    show(&format!("an idle agent, over {idle} s, {} threads", field(&status, "Threads").unwrap_or(0)));
    kib("resident (VmRSS)", field(&status, "VmRSS"));
    kib("  of which its own (RssAnon)", field(&status, "RssAnon"));
    kib("  of which the program's file (RssFile)", field(&status, "RssFile"));
    kib("proportional (Pss)", field(&rollup, "Pss"));
    kib("highest so far (VmHWM)", field(&status, "VmHWM"));
    Ok(())
}

/// For how long each thread of a process has computed so far, and how often it went to sleep.
type Worked = BTreeMap<OsString, (Duration, u64)>;

fn worked(pid: u32) -> Outcome<Worked> {
    let mut worked = Worked::default();
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?;
        let text = std::fs::read_to_string(thread.path().join("schedstat"))?;
        let nanoseconds = text.split_whitespace().next().and_then(|word| word.parse().ok()).ok_or("no schedstat")?;
        let status = std::fs::read_to_string(thread.path().join("status"))?;
        let switches = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        let switches = switches.and_then(|count| count.trim().parse().ok()).ok_or("no count of switches")?;
        worked.insert(thread.file_name(), (Duration::from_nanos(nanoseconds), switches));
    }
    Ok(worked)
}

/// What the threads that are there at the end have done since the start.
fn since(start: &Worked, end: &Worked) -> (Duration, u64) {
    end.iter().fold((Duration::ZERO, 0), |(computed, wakings), (thread, (until, times))| {
        let (before, already) = start.get(thread).copied().unwrap_or_default();
        (computed + until.saturating_sub(before), wakings + times.saturating_sub(already))
    })
}

/// An address where nobody listens.
fn free() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// What went over connections: frames and bytes from the caller, then to it.
#[derive(Default)]
struct Counts([AtomicU64; 4]);

impl Counts {
    fn now(&self) -> [u64; 4] {
        [0, 1, 2, 3].map(|at| self.0[at].load(Ordering::Relaxed))
    }
}

/// Listens in front of `listen`, hands everything on, and counts.
fn between(listen: SocketAddr, counts: Arc<Counts>) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for caller in listener.incoming().flatten() {
            let Ok(called) = TcpStream::connect(listen) else { continue };
            let (Ok(back), Ok(forth)) = (caller.try_clone(), called.try_clone()) else { continue };
            for (from, to, at) in [(caller, forth, 0), (called, back, 2)] {
                let counts = Arc::clone(&counts);
                std::thread::spawn(move || {
                    let _ = records(&from, &to, &counts.0[at..at + 2]);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    Ok(address)
}

/// Hands records of TLS on until the connection ends. Source: RFC 8446, section 5.1.
fn records(mut from: &TcpStream, mut to: &TcpStream, counts: &[AtomicU64]) -> std::io::Result<()> {
    const APPLICATION_DATA: u8 = 23;
    let mut record = vec![0; 5 + usize::from(u16::MAX)];
    loop {
        from.read_exact(&mut record[..5])?;
        let end = 5 + usize::from(u16::from_be_bytes([record[3], record[4]]));
        from.read_exact(&mut record[5..end])?;
        to.write_all(&record[..end])?;
        if record[0] == APPLICATION_DATA {
            counts[0].fetch_add(1, Ordering::Relaxed);
            counts[1].fetch_add(end as u64, Ordering::Relaxed);
        }
    }
}
