//! An installation on an edge that stores what is deployed and runs none of it: for what is counted and never called.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::world::{Daemon, TOKEN, World};

/// The edge is a process of its own without a runtime, and keeps the records of what no edge runs.
pub(crate) async fn stored() -> World {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("edge-token"), TOKEN).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    command.args(["edge", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--stand-in", "--private-network"]);
    command.arg("--data").arg(folder.path().join("edge")).arg("--token-file").arg(folder.path().join("edge-token"));
    command.env_clear().env("PATH", "/nonexistent");
    let mut program = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(program.stderr.take().unwrap());
    let program = Daemon(program);
    let mut line = String::new();
    let api = loop {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the edge did not start");
        if line.starts_with("REST API") {
            let url = line.split_whitespace().last().unwrap().trim_start_matches("http://");
            break url.split('/').next().unwrap().parse().unwrap();
        }
    };
    // Whatever else it says is read, so that it never waits for us.
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    World::on(folder, (None, Some(program)), api).await
}
