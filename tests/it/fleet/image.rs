//! The container image: made without a registry, and run: it follows a repository as its own user, and ends when it is told to.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use super::bed::docker;

const IMAGE: &str = "trunkline:of-the-tests";
const CONTAINER: &str = "trunkline-of-the-tests";
/// The user of the image.
const USER: u32 = 990;

struct Container;

impl Drop for Container {
    fn drop(&mut self) {
        docker(&["rm", "--force", CONTAINER]);
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn git(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]).args(arguments).current_dir(folder);
    let output = command.env("HOME", folder).env("GIT_CONFIG_NOSYSTEM", "1").output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", said(&output));
}

/// A bare repository with one environment, owned by the user of the image.
fn repository(folder: &Path) -> PathBuf {
    let (clone, remote) = (folder.join("clone"), folder.join("remote.git"));
    std::fs::create_dir_all(clone.join("environments")).unwrap();
    std::fs::create_dir_all(clone.join("fleet")).unwrap();
    std::fs::write(clone.join("trunkline.toml"), "format = 1\n").unwrap();
    std::fs::write(clone.join("fleet/here.toml"), "[host.here]\nconnect = \"local\"\nroot = \"/tmp\"\n").unwrap();
    let file = "[environment]\n\n[file.motd]\npath = \"/etc/motd\"\ncontent = \"from an image\\n\"\n";
    std::fs::write(clone.join("environments/production.toml"), file).unwrap();
    git(folder, &["init", "--quiet", "--bare", "--initial-branch=main", "remote.git"]);
    git(&clone, &["init", "--quiet", "--initial-branch=main"]);
    git(&clone, &["add", "--all"]);
    git(&clone, &["commit", "--quiet", "--message", "The first"]);
    git(&clone, &["push", "--quiet", remote.to_str().unwrap(), "main"]);
    let owned = Command::new("chown").args(["-R", &format!("{USER}:{USER}")]).arg(&remote).status().unwrap();
    assert!(owned.success());
    remote
}

#[test]
fn an_image_that_is_made_without_a_registry_follows_a_repository_and_ends_when_told() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let client = format!("{} docker", root.join("tests/fleet/bed").display());
    let made =
        Command::new(root.join("deploy/image")).args([IMAGE, env!("CARGO_BIN_EXE_trunkline")]).env("DOCKER", client).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{}", said(&made));

    let version = docker(&["run", "--rm", "--network", "none", IMAGE, "--version"]);
    assert!(said(&version).starts_with("trunkline "), "{}", said(&version));

    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(folder.path(), Some(USER), Some(USER)).unwrap();
    let volume = format!("{}:/srv/config.git", repository(folder.path()).display());
    docker(&["rm", "--force", CONTAINER]);
    let _container = Container;
    let ran = docker(&[
        "run",
        "--detach",
        "--name",
        CONTAINER,
        "--network",
        "none",
        "--volume",
        &volume,
        "--env",
        "TRUNKLINE_REMOTE=/srv/config.git",
        IMAGE,
    ]);
    assert!(ran.status.success(), "{}", said(&ran));
    let begun = Instant::now();
    loop {
        // 0: every environment is ready.
        let status = docker(&["exec", CONTAINER, "trunkline", "status"]);
        if status.status.success() {
            break;
        }
        let logs = || said(&docker(&["logs", CONTAINER]));
        assert!(begun.elapsed() < Duration::from_secs(60), "{}\n{}", said(&status), logs());
        std::thread::sleep(Duration::from_millis(200));
    }
    let motd = docker(&["exec", CONTAINER, "cat", "/tmp/etc/motd"]);
    assert_eq!(said(&motd), "from an image\n");
    let user = docker(&["exec", CONTAINER, "id", "--user"]);
    assert_eq!(said(&user).trim(), USER.to_string());
    assert!(docker(&["stop", "--time", "30", CONTAINER]).status.success());
    let ended = docker(&["inspect", "--format", "{{ .State.ExitCode }}", CONTAINER]);
    assert_eq!(said(&ended).trim(), "0", "{}", said(&docker(&["logs", CONTAINER])));
}
