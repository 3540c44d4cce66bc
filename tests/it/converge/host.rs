//! What an editor on the host did.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::scene::{assert_heals, plan};
use crate::world::World;

const ENGINE: &str = "greeting = hello\npassword = password-of-the-file\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_an_editor_did_is_seen_and_healed() {
    let world = World::with_production().await;
    world.apply();
    let (engine, motd) = (world.host("/etc/engine/engine.conf"), world.host("/etc/motd"));
    let beside = world.host("/etc/engine/theirs");
    std::fs::write(&beside, "theirs").unwrap();

    std::fs::write(&motd, "edited").unwrap();
    std::fs::write(&engine, "edited").unwrap();
    assert_heals(&world, &[("file.engine", &["content", "secrets.password"]), ("file.motd", &["content"])]);
    assert_eq!(std::fs::read_to_string(&motd).unwrap(), "kept by trunkline\n");
    assert_eq!(std::fs::read_to_string(&engine).unwrap(), ENGINE);

    std::fs::set_permissions(&engine, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert_heals(&world, &[("file.engine", &["mode"])]);
    assert_eq!(std::fs::metadata(&engine).unwrap().permissions().mode() & 0o7777, 0o640);

    // An editor writes a new file of the same content, mode and owner in the place of the old: nothing drifted.
    std::fs::write(world.host("/etc/new"), "kept by trunkline\n").unwrap();
    std::fs::set_permissions(world.host("/etc/new"), std::fs::metadata(&motd).unwrap().permissions()).unwrap();
    std::fs::rename(world.host("/etc/new"), &motd).unwrap();
    world.assert_converged();

    std::fs::remove_file(&motd).unwrap();
    std::fs::remove_file(&engine).unwrap();
    assert_heals(&world, &[("file.engine", &[""]), ("file.motd", &[""])]);
    assert_eq!(std::fs::read_to_string(&engine).unwrap(), ENGINE);
    assert_eq!(std::fs::read_to_string(&beside).unwrap(), "theirs");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_or_a_folder_in_the_place_of_our_file_is_shown_and_never_written_through() {
    let world = World::with_production().await;
    world.apply();
    let motd = world.host("/etc/motd");
    let elsewhere = world.path("elsewhere");
    std::fs::write(&elsewhere, "theirs").unwrap();
    for folder in [false, true] {
        std::fs::remove_file(&motd).unwrap();
        if folder {
            std::fs::create_dir(&motd).unwrap();
            std::fs::write(motd.join("inside"), "theirs").unwrap();
        } else {
            symlink(&elsewhere, &motd).unwrap();
        }
        let blocked = plan(&world)["blocked"].clone();
        assert_eq!(blocked[0]["address"], "production/file.motd", "{blocked:#}");
        let what = if folder { "a folder" } else { "a symbolic link" };
        assert!(blocked[0]["message"].as_str().unwrap().contains(what), "{blocked:#}");
        let ran = world.trunkline(&["apply"]);
        assert_eq!(ran.status, 1, "{ran:?}");
        let status = world.status("production");
        assert!(status["message"].as_str().unwrap().contains("file.motd"), "{status:#}");
        if folder {
            assert_eq!(std::fs::read_to_string(motd.join("inside")).unwrap(), "theirs");
            std::fs::remove_dir_all(&motd).unwrap();
        } else {
            assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "theirs");
            std::fs::remove_file(&motd).unwrap();
        }
        assert_heals(&world, &[("file.motd", &[""])]);
        assert_eq!(std::fs::read_to_string(&motd).unwrap(), "kept by trunkline\n");
    }
    world.end().await;
}
