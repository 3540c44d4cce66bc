//! Directories.

use super::site::Site;

const TWO: &str = "[directory.data]\npath = \"/srv/ads/data\"\nmode = \"0750\"\ngroup = \"games\"\n[file.seed]\npath = \"/srv/ads/data/deep/seed\"\ncontent = \"1\"\n";

#[test]
fn a_directory_is_made_kept_and_removed_once_it_is_empty() {
    let site = Site::new(TWO);
    site.converge();
    let mode = |path: &str| site.host.run(&["stat", "-c", "%a %U %G", path]);
    assert_eq!(mode("/srv/ads/data"), "750 root games");
    assert_eq!(mode("/srv/ads"), "755 root root");

    site.host.run(&["chmod", "777", "/srv/ads/data"]);
    site.host.run(&["chown", "nobody:nogroup", "/srv/ads/data"]);
    assert_eq!(
        site.changes(),
        [("production/directory.data".into(), "update".into(), vec!["group".to_owned(), "mode".to_owned()])]
    );
    site.converge();
    assert_eq!(mode("/srv/ads/data"), "750 nobody games", "an owner that is not defined is left alone");

    // With the directory goes what the same commit no longer defines in it: the file comes first.
    site.define("");
    let ran = site.apply();
    assert!(!ran.err.contains("not empty"), "{ran:?}");
    assert!(!site.host.try_run(&["test", "-e", "/srv/ads/data"]).status.success());
}

#[test]
fn what_somebody_put_into_a_directory_stays_with_it() {
    let site = Site::new("[directory.data]\npath = \"/srv/data\"\n");
    site.converge();
    site.host.write("/srv/data/theirs", "theirs");
    site.define("");
    let ran = site.apply();
    assert!(format!("{}{}", ran.out, ran.err).contains("`/srv/data` is not empty: it stays"), "{ran:?}");
    assert_eq!(site.host.read("/srv/data/theirs"), "theirs");
    assert!(site.changes().is_empty(), "and is no longer ours");
}

#[test]
fn a_directory_that_is_there_is_somebody_elses_until_it_is_adopted() {
    let site = Site::new("[directory.data]\npath = \"/srv/data\"\nmode = \"0700\"\n");
    site.host.run(&["mkdir", "-m", "755", "/srv/data"]);
    let ran = site.trunkline(&["apply"]);
    assert!(ran.status != 0 && format!("{}{}", ran.out, ran.err).contains("adopt"), "{ran:?}");
    assert_eq!(site.host.run(&["stat", "-c", "%a", "/srv/data"]), "755");
    site.define("[directory.data]\npath = \"/srv/data\"\nmode = \"0700\"\nadopt = true\n");
    site.converge();
    assert_eq!(site.host.run(&["stat", "-c", "%a", "/srv/data"]), "700");
    // A link in its place is not followed.
    site.host.run(&["sh", "-c", "rmdir /srv/data && mkdir /srv/elsewhere && ln -s elsewhere /srv/data"]);
    let ran = site.trunkline(&["apply"]);
    assert!(ran.status != 0 && format!("{}{}", ran.out, ran.err).contains("symbolic link"), "{ran:?}");
    assert_eq!(site.host.run(&["stat", "-c", "%a", "/srv/elsewhere"]), "755");
}
