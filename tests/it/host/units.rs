//! The systemd units that are shipped: well-formed, and hardened.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const UNITS: [&str; 2] = ["trunkline.service", "trunkline-edge.service"];

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

fn analyze(arguments: &[&str]) -> Output {
    let output = Command::new("systemd-analyze").args(arguments).output();
    output.unwrap_or_else(|error| panic!("systemd-analyze cannot be run ({error}); install it: apt-get install systemd"))
}

fn exposure(unit: &Path) -> Output {
    analyze(&["security", "--no-pager", "--offline=true", "--threshold=15", unit.to_str().unwrap()])
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_exposure_of_each_unit_is_at_most_1_5() {
    for unit in UNITS {
        let output = exposure(&shipped(unit));
        assert!(output.status.success(), "{unit}: {}", text(&output));
    }
}

/// The control: what the threshold is good for.
#[test]
fn a_unit_without_its_hardening_does_not_pass() {
    let folder = tempfile::tempdir().unwrap();
    for unit in UNITS {
        let whole = std::fs::read_to_string(shipped(unit)).unwrap();
        for missing in ["SystemCallFilter=", "CapabilityBoundingSet=", "DynamicUser="] {
            let path = folder.path().join(unit);
            let kept: Vec<&str> = whole.lines().filter(|line| !line.starts_with(missing)).collect();
            std::fs::write(&path, kept.join("\n")).unwrap();
            assert!(!exposure(&path).status.success(), "{unit} passes without {missing}");
        }
    }
}

#[test]
fn systemd_understands_every_line_of_the_units_and_of_the_drop_in() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let units = root.join("etc/systemd/system");
    std::fs::create_dir_all(units.join("trunkline.service.d")).unwrap();
    std::fs::create_dir_all(root.join("usr/bin")).unwrap();
    std::fs::copy("/bin/true", root.join("usr/bin/trunkline")).unwrap();
    let all = UNITS.into_iter().chain(["trunkline-agent.service"]);
    for unit in all.clone() {
        std::fs::copy(shipped(unit), units.join(unit)).unwrap();
    }
    std::fs::copy(shipped("local-host.conf"), units.join("trunkline.service.d/local-host.conf")).unwrap();
    // What the units refer to, so that only they can be at fault.
    for (target, head) in [("network-online.target", ""), ("multi-user.target", ""), ("basic.target", ""), ("sysinit.target", "")]
    {
        std::fs::write(units.join(target), format!("[Unit]\nDescription={target}\n{head}")).unwrap();
    }
    let verify = |unit: &str| {
        let output = analyze(&["verify", "--man=no", "--recursive-errors=no", &format!("--root={}", root.display()), unit]);
        text(&output)
    };
    let complaints = |text: String| -> Vec<String> {
        text.lines().filter(|line| line.contains("trunkline") || line.contains("local-host")).map(str::to_owned).collect()
    };
    for unit in all {
        assert_eq!(complaints(verify(unit)), [""; 0]);
    }
    // The control: a misspelt directive is found, in the unit and in the drop-in.
    for (path, unit) in [("trunkline-edge.service", UNITS[1]), ("trunkline.service.d/local-host.conf", UNITS[0])] {
        let good = std::fs::read_to_string(units.join(path)).unwrap();
        std::fs::write(units.join(path), good.replace("[Service]", "[Service]\nNoSuchDirective=yes")).unwrap();
        assert!(!complaints(verify(unit)).is_empty(), "{path}");
    }
}
