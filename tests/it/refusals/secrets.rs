//! Secrets that cannot be opened: nothing is applied, nothing is blanked.

use super::{assert_production_untouched, assert_says, assert_staging_goes_on, turn_staging, two_environments, wait_refused};

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_for_another_identity_holds_its_environment_only() {
    let world = two_environments().await;
    let mut daemon = world.daemon();
    let good = world.head();
    world.wait_ready("production", &good).await;
    world.wait_ready("staging", &good).await;
    world.proxy.reset();

    let other = world.path("other-identity");
    assert_eq!(world.trunkline(&["secrets", "keygen", other.to_str().unwrap()]).status, 0);
    let mut set = world.command(&["secrets", "set", "production", "key", "--folder", world.path("clone").to_str().unwrap()]);
    set.env("TRUNKLINE_IDENTITY", &other);
    set.stdin(std::process::Stdio::piped());
    let mut child = set.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"a value for others").unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    turn_staging(&world, 1);
    let commit = world.commit("A secret that production cannot open");
    let message = wait_refused(&world, &commit, "secret").await;
    assert_says(&message, &["nothing is applied", "`secret.key`", "identity"]);
    assert_staging_goes_on(&world, &commit, 1).await;
    assert_production_untouched(&world).await;
    assert_eq!(daemon.terminate(), 0, "{}", world.log());

    for verb in ["plan", "apply"] {
        let ran = world.trunkline(&[verb, "production"]);
        assert_eq!(ran.status, 1, "{ran:?}");
        assert_says(&format!("{}{}", ran.out, ran.err), &["production", "nothing is applied", "`secret.key`"]);
    }
    assert_production_untouched(&world).await;
    let listed = world.trunkline(&["secrets", "list", "production", "--folder", world.path("clone").to_str().unwrap()]);
    assert_says(&listed.out, &["key"]);

    // Mended: sealed again for us.
    world.set_secret("production", "key", "key-of-the-worker");
    world.commit("Sealed for us");
    world.apply();
    assert_production_untouched(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_identity_nothing_is_applied_and_nothing_is_blanked() {
    let world = two_environments().await;
    world.apply();
    world.proxy.reset();
    world.edit("environments/production/production.toml", "GREETING = \"hello\"", "GREETING = \"good evening\"");
    let commit = world.commit("Greet");
    let mut daemon = world.daemon_with(|command| {
        command.env_remove("TRUNKLINE_IDENTITY");
    });
    let message = wait_refused(&world, &commit, "secret").await;
    assert_says(&message, &["nothing is applied", "no identity", "--identity"]);
    assert_production_untouched(&world).await;
    assert_eq!(daemon.terminate(), 0, "{}", world.log());

    // An identity that is named and not there, or reachable by others, is no identity.
    let missing = world.path("not-there");
    let open = world.path("open");
    std::fs::copy(world.path("identity"), &open).unwrap();
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let garbage = world.path("garbage");
    std::fs::write(&garbage, "AGE-SECRET-KEY-1NONSENSE\n").unwrap();
    std::fs::set_permissions(&garbage, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    for (file, says) in [
        (&missing, ["cannot be read", "trunkline secrets keygen"]),
        (&open, ["others than its owner can reach it", "chmod 600"]),
        (&garbage, ["line 1 of the identity", "AGE-SECRET-KEY-1…"]),
    ] {
        for verb in ["plan", "apply", "run"] {
            let ran = world.trunkline(&[verb, "--identity", file.to_str().unwrap()]);
            assert_eq!(ran.status, 1, "{ran:?}");
            assert_says(&ran.err, &says);
            assert!(!ran.err.contains("NONSENSE"), "{ran:?}");
        }
    }
    assert_production_untouched(&world).await;
    world.apply();
    assert_eq!(world.get("api.example.com", "/").await.1, "good evening with key");
    world.end().await;
}
