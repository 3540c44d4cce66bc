//! Many small environments on one repository and one host.

use crate::world::World;

const MANY: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_all_of_them_is_one_commit_of_notes() {
    let world = World::empty().await;
    world.write("trunkline.toml", "format = 1\n");
    let host = format!("[host.origin]\nconnect = \"local\"\nroot = {:?}\nlabels = {{ role = \"origin\" }}\n", world.path("host"));
    world.write("fleet/hosts.toml", &host);
    for at in 0..MANY {
        let file = format!("[file.data]\non = {{ role = \"origin\" }}\npath = \"/srv/e{at}\"\ncontent = \"begin\\n\"\n");
        world.write(&format!("environments/e{at}.toml"), &file);
    }
    let head = world.commit("Forty environments");
    world.apply();
    let remote = world.path("remote.git");
    let notes = || world.git_in(&remote, &["rev-list", "--count", "refs/notes/trunkline"]).trim().to_owned();
    let lines = |commit: &str| world.git_in(&remote, &["notes", "--ref=trunkline", "show", commit]).lines().count();
    let applied = || world.git_in(&remote, &["for-each-ref", "--format=%(objectname)", "refs/trunkline/applied/"]);
    assert_eq!((notes().as_str(), lines(&head)), ("1", MANY));
    assert_eq!(applied().matches(&head).count(), MANY);

    // One of them changes: a line of its own, on the commit that changed it.
    world.edit("environments/e7.toml", "begin", "changed");
    let changed = world.commit("One of them");
    world.apply();
    assert_eq!((notes().as_str(), lines(&head), lines(&changed)), ("2", MANY, 1));
    assert_eq!(std::fs::read_to_string(world.host("/srv/e7")).unwrap(), "changed\n");
    world.end().await;
}
