//! The programs of the sweep as they are started: at trace level, with a `git` that tells.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::edge::bench::workerd;
use crate::world::World;

/// With everything in the log, and a `git` and a folder for temporary files of our own.
pub(super) fn at_trace(world: &World, command: &mut Command) {
    let path = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths([world.path("bin")].into_iter().chain(std::env::split_paths(&path))).unwrap();
    command.env("PATH", path).env("TMPDIR", world.path("tmp")).env("TRUNKLINE_LOG", "trace").env("RUST_BACKTRACE", "full");
}

/// A `git` that writes down how it was called: most calls are too short to be sampled.
pub(super) fn wrap_git(world: &World) {
    let real = std::env::split_paths(&std::env::var_os("PATH").unwrap()).map(|path| path.join("git")).find(|path| path.exists());
    std::fs::create_dir(world.path("bin")).unwrap();
    let text = format!(
        "#!/bin/sh\n{{ printf '%s\\n' \"$@\"; cat /proc/$$/environ; }} >> '{}'\nexec '{}' \"$@\"\n",
        world.path("git.log").display(),
        real.expect("git on PATH").display()
    );
    std::fs::write(world.path("bin/git"), text).unwrap();
    std::fs::set_permissions(world.path("bin/git"), std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// An edge, and the address of its API.
pub(super) fn edge(world: &World) -> (Child, String) {
    let log = world.path("edge.log");
    let mut command = world.command(&["edge", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--stand-in"]);
    command.arg("--data").arg(world.path("edge-process")).arg("--token-file").arg(world.path("edge-token"));
    command.arg("--workerd").arg(workerd());
    at_trace(world, &mut command);
    let edge = command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    for _ in 0..1000 {
        let text = std::fs::read_to_string(&log).unwrap();
        // The runtime's line comes last.
        let address = text.lines().find_map(|line| line.strip_prefix("REST API   http://")?.strip_suffix("/client/v4"));
        if let Some(address) = address.filter(|_| text.contains("\nruntime ")) {
            return (edge, address.to_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the edge did not start: {}", std::fs::read_to_string(&log).unwrap());
}
