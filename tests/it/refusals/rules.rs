//! What a rule denies: the repository's own, those that the settings pin, and the ratchet between revisions.

use super::{assert_production_untouched, assert_says, assert_staging_goes_on, turn_staging, two_environments, wait_refused};
use crate::world::World;

const FILE: &str = "environments/production/production.toml";

const RULE: &str = r#"package trunkline.team

deny contains {
	"address": resource.address,
	"msg": sprintf("mode %s lets everyone write", [resource.properties.mode]),
	"hint": "take the last digit's write bit away",
} if {
	some resource in input.desired.resources
	resource.kind == "file"
	regex.match(`[2367]$`, resource.properties.mode)
}
"#;

fn open_mode(world: &World) {
    world.edit(FILE, "mode = \"0640\"", "mode = \"0646\"");
}

fn close_mode(world: &World) {
    world.edit(FILE, "mode = \"0646\"", "mode = \"0640\"");
}

fn mode(world: &World) -> u32 {
    let metadata = std::fs::metadata(world.host("/etc/engine/engine.conf")).unwrap();
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_the_repository_denies_and_a_commit_cannot_relax_the_rules_that_judge_it() {
    let world = two_environments().await;
    world.write("policies/files.rego", RULE);
    let good = world.commit("A rule");
    let mut daemon = world.daemon();
    world.wait_ready("production", &good).await;
    world.wait_ready("staging", &good).await;
    world.proxy.reset();

    open_mode(&world);
    turn_staging(&world, 1);
    let commit = world.commit("A mode that the rule denies");
    let message = wait_refused(&world, &commit, "denied").await;
    assert_says(
        &message,
        &["denied: production/file.engine: mode 0646 lets everyone write", "take the last digit's", "trunkline.team"],
    );
    assert_staging_goes_on(&world, &commit, 1).await;
    assert_production_untouched(&world).await;
    assert_eq!(mode(&world), 0o640);
    let planned = world.trunkline(&["plan", "production"]);
    assert_eq!(planned.status, 1, "{planned:?}");
    assert_says(&planned.out, &["mode", "0646"]);
    assert_says(&planned.err, &["this plan would not be applied", "lets everyone write"]);

    // With the weakening beside it.
    world.git(&["rm", "--quiet", "policies/files.rego"]);
    let commit = world.commit("And the rule goes");
    let message = wait_refused(&world, &commit, "denied").await;
    assert_says(&message, &["mode 0646 lets everyone write"]);
    assert_production_untouched(&world).await;
    assert_eq!(mode(&world), 0o640);

    // The weakening alone is taken, and is what judges the next.
    close_mode(&world);
    let commit = world.commit("Only the rule goes");
    world.wait_ready("production", &commit).await;
    assert_production_untouched(&world).await;
    open_mode(&world);
    let commit = world.commit("The mode, now that nothing denies it");
    world.wait_ready("production", &commit).await;
    assert_eq!(mode(&world), 0o646);
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_the_settings_pin_judge_whatever_the_repository_says() {
    let world = two_environments().await;
    let rules = world.path("rules");
    std::fs::create_dir(&rules).unwrap();
    let settings = world.path("daemon.toml");
    std::fs::write(&settings, format!("[policy]\npinned = {rules:?}\n")).unwrap();
    let with = |arguments: &[&str]| {
        let ran = world.command(arguments).env("TRUNKLINE_CONFIG", &settings).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (ran.status.code().unwrap(), text(ran.stdout), text(ran.stderr))
    };
    // No rules where rules are to be: nothing is applied.
    let (status, out, _) = with(&["apply"]);
    assert_eq!(status, 1);
    assert_says(&out, &["the folder of pinned policies", "holds no rules"]);
    assert!(!world.host("/etc/motd").exists());

    std::fs::write(rules.join("files.rego"), RULE).unwrap();
    let (status, out, err) = with(&["apply"]);
    assert_eq!(status, 0, "{out}{err}");
    world.proxy.reset();
    // The repository brings none, or says that all is well: it is not asked.
    world.write("policies/all-is-well.rego", "package trunkline.team\n\ndeny := set()\n");
    open_mode(&world);
    turn_staging(&world, 1);
    let commit = world.commit("A mode that the pinned rule denies");
    let mut daemon = world.daemon_with(|command| {
        command.env("TRUNKLINE_CONFIG", &settings);
    });
    let message = wait_refused(&world, &commit, "denied").await;
    assert_says(&message, &["mode 0646 lets everyone write", "trunkline.team"]);
    assert_staging_goes_on(&world, &commit, 1).await;
    assert_production_untouched(&world).await;
    assert_eq!(mode(&world), 0o640);
    assert_eq!(daemon.terminate(), 0, "{}", world.log());

    // A fault in a pinned rule holds everything, with its place.
    std::fs::write(rules.join("files.rego"), RULE.replace("some resource in", "some resource inn")).unwrap();
    close_mode(&world);
    world.edit(FILE, "kept by trunkline", "kept again");
    world.commit("Innocent");
    let (status, out, _) = with(&["apply", "production"]);
    assert_eq!(status, 1, "{out}");
    assert_says(&out, &["in the pinned rules", "files.rego:8:", "^"]);
    assert_production_untouched(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_does_not_compile_is_told_with_its_place() {
    let world = two_environments().await;
    world.apply();
    world.proxy.reset();
    world.write("policies/files.rego", &RULE.replace("some resource in", "some resource inn"));
    let commit = world.commit("A broken rule");
    let mut daemon = world.daemon();
    let message = wait_refused(&world, &commit, "denied").await;
    assert_says(&message, &["policies/files.rego:8:", "^"]);
    assert_production_untouched(&world).await;
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    world.end().await;
}
