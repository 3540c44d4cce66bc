//! Packages, from a repository that is a folder on the host.

use super::site::Site;

/// Makes packages of nothing but a name and a version, and a repository of them on the host.
fn repository(site: &Site, packages: &[(&str, &str, &str)]) {
    site.host.run(&["sh", "-c", "rm -rf /srv/apt; mkdir -p /srv/apt; rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*"]);
    for (name, version, depends) in packages {
        let depends = if depends.is_empty() { String::new() } else { format!("Depends: {depends}\n") };
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Ada <ada@example.com>\nDescription: {name}\n{depends}"
        );
        let folder = format!("/srv/build/{name}-{version}");
        site.host.run(&["mkdir", "-p", &format!("{folder}/DEBIAN"), &format!("{folder}/usr/share/{name}")]);
        site.host.write(&format!("{folder}/DEBIAN/control"), &control);
        site.host.write(&format!("{folder}/usr/share/{name}/version"), version);
        site.host.run(&["dpkg-deb", "--build", &folder, &format!("/srv/apt/{name}_{version}_all.deb")]);
    }
    let index = "cd /srv/apt && for f in *.deb; do dpkg-deb -f $f; printf 'Filename: ./%s\\nSize: %s\\nSHA256: %s\\n\\n' $f $(stat -c %s $f) $(sha256sum $f | cut -d' ' -f1); done > Packages";
    site.host.run(&["sh", "-c", index]);
    site.host.write("/etc/apt/sources.list", "deb [trusted=yes] file:/srv/apt ./\n");
}

fn version(site: &Site, name: &str) -> String {
    let output = site.host.try_run(&["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", name]);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_package_is_installed_kept_and_removed() {
    let site = Site::new("[package.ads-tool]\n[package.pinned]\nname = \"ads-lib\"\nversion = \"1.0-1\"\n");
    repository(&site, &[("ads-tool", "1.0-1", "ads-lib"), ("ads-lib", "1.0-1", ""), ("ads-lib", "2.0-1", "")]);
    site.converge();
    assert_eq!(version(&site, "ads-tool"), "installed 1.0-1");
    assert_eq!(version(&site, "ads-lib"), "installed 1.0-1", "the version that is asked for");

    // Somebody upgraded what is pinned, and removed the other: shown, and put right.
    site.host.run(&["apt-get", "install", "-y", "-q", "ads-lib=2.0-1"]);
    site.host.run(&["dpkg", "--remove", "ads-tool"]);
    assert_eq!(
        site.changes(),
        [
            ("production/package.ads-tool".into(), "create".into(), vec!["name".to_owned()]),
            ("production/package.pinned".into(), "update".into(), vec!["version".to_owned()]),
        ]
    );
    site.converge();
    assert_eq!((version(&site, "ads-tool"), version(&site, "ads-lib")), ("installed 1.0-1".into(), "installed 1.0-1".into()));

    // What something else needs is not removed, and says so.
    site.define("[package.ads-tool]\n");
    let ran = site.trunkline(&["apply"]);
    assert!(ran.status != 0 && format!("{}{}", ran.out, ran.err).contains("depend"), "{ran:?}");
    assert_eq!(version(&site, "ads-lib"), "installed 1.0-1");
    site.define("");
    site.apply();
    assert!(!version(&site, "ads-tool").starts_with("installed"));
}

#[test]
fn what_was_there_before_stays_and_what_cannot_be_had_is_said() {
    let site = Site::new("[package.bash]\n[package.ads-nothing]\n");
    repository(&site, &[("ads-lib", "1.0-1", "")]);
    let ran = site.trunkline(&["apply"]);
    let said = format!("{}{}", ran.out, ran.err);
    assert!(ran.status != 0 && said.contains("`ads-nothing` cannot be installed") && said.contains("Unable to locate"), "{said}");
    let before = version(&site, "bash");
    site.define("[package.bash]\n");
    site.converge();
    site.define("");
    let ran = site.apply();
    assert!(format!("{}{}", ran.out, ran.err).contains("was there before: it stays"), "{ran:?}");
    assert_eq!(version(&site, "bash"), before);
}
