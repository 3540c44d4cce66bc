//! What an import of an account says where it cannot.

use serde_json::json;

use super::scene::{import, run};
use crate::converge::scene::{ACCOUNT, kv};
use crate::proxy::{Answer, Fault};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_and_nothing_is_written() {
    let world = World::empty().await;
    world.foreign("POST", &kv(""), Some(json!({ "title": "ads" }))).await;
    let endpoint = world.endpoint();
    for (name, text) in [("wrong", "not-the-token".to_owned()), ("empty", "\n".to_owned()), ("large", "x".repeat(5_000))] {
        std::fs::write(world.path(name), text).unwrap();
    }
    let path = |name: &str| world.path(name).to_str().unwrap().to_owned();
    let (wrong, empty, large, none, out) = (path("wrong"), path("empty"), path("large"), path("none"), path("clone"));
    let base = ["import", "cloudflare", "--out", &out];
    let live = ["--environment", "live"];
    let cases: Vec<(Vec<&str>, i32, &str)> = vec![
        (vec!["--endpoint", &endpoint, "--token-file", &wrong], 1, "token"),
        (vec!["--endpoint", &endpoint, "--token-file", &empty], 1, "not a line of printable ASCII"),
        (vec!["--endpoint", &endpoint, "--token-file", &large], 1, "is no API token"),
        (vec!["--endpoint", &endpoint, "--token-file", &none], 1, "cannot be read"),
        (vec!["--endpoint", &endpoint, "--account", "0123"], 1, "not 32 lower-case hex digits"),
        (vec!["--endpoint", "http://example.com/client/v4"], 1, "would send the token in the clear"),
        (vec!["--endpoint", "http://127.0.0.1:9/client/v4", "--only", "kv"], 1, "error:"),
        (vec!["--endpoint", &endpoint, "--only", "workers"], 1, "did you mean `worker`"),
        (vec!["--endpoint", &endpoint, "--filter", "a[b"], 1, "is no pattern"),
        (vec!["--endpoint", &endpoint, "--filter", "no such*"], 1, "Nothing was found"),
        (vec![], 64, "--account"),
    ];
    for (arguments, status, says) in cases {
        let ran = run(&world, &[&base[..], &live, &arguments].concat());
        assert!(ran.status == status && ran.err.contains(says), "{arguments:?}: {says}: {ran:?}");
        assert!(!ran.err.contains("not-the-token"), "{ran:?}");
        assert!(!world.path("clone/environments").exists() && !world.path("clone/trunkline.toml").exists(), "{arguments:?}");
    }
    let ran = run(&world, &[&base[..], &["--environment", "Not A Name", "--endpoint", &endpoint]].concat());
    assert!(ran.status == 64 && ran.err.contains("--environment"), "{ran:?}");
    let mut without = world.command(&[&base[..], &live, &["--endpoint", &endpoint]].concat());
    let output = without.output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no API token"), "{output:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_the_token_may_not_see_is_an_error_and_one_list_of_it_a_remark() {
    let world = World::empty().await;
    world.foreign("POST", &kv(""), Some(json!({ "title": "ads" }))).await;
    for ending in ["/namespaces", "/buckets", "/scripts", "/zones"] {
        world.proxy.inject(http::Method::GET, ending, 100, Fault::AnswerBefore(Answer::error(404, 7003)));
    }
    let ran = import(&world, &["--only", "kv,r2,worker"]);
    assert!(ran.status == 1 && ran.err.contains("error:"), "{ran:?}");
    assert!(!world.path("clone/environments").exists());
    world.proxy.reset();
    world.proxy.inject(http::Method::GET, "/buckets", 100, Fault::AnswerBefore(Answer::error(403, 10042)));
    let ran = import(&world, &[]);
    assert!(ran.status == 0 && ran.err.contains("r2: it could not be read"), "{ran:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_is_there_is_somebodys_work() {
    let world = World::empty().await;
    world.foreign("POST", &kv(""), Some(json!({ "title": "ads" }))).await;
    world.upload_foreign(ACCOUNT, "api", "export default { fetch() { return new Response('api'); } };").await;
    world.write("workers/api/index.js", "// mine\n");
    let ran = import(&world, &[]);
    assert!(ran.status == 1 && ran.err.contains("there already is workers/api/index.js"), "{ran:?}");
    assert!(!world.path("clone/environments").exists());
    std::fs::remove_dir_all(world.path("clone/workers")).unwrap();
    world.write("environments/live/mine.toml", "# mine\n");
    let ran = import(&world, &[]);
    assert!(ran.status == 1 && ran.err.contains("there already is environments/live"), "{ran:?}");
    assert_eq!(std::fs::read_dir(world.path("clone/environments/live")).unwrap().count(), 1);
    let ran = import(&world, &["--force"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(std::fs::read_to_string(world.path("clone/environments/live/mine.toml")).unwrap(), "# mine\n");
    // Once more over itself: the same files.
    let before = std::fs::read(world.path("clone/environments/live/kv.toml")).unwrap();
    assert_eq!(import(&world, &["--force"]).status, 0);
    assert_eq!(std::fs::read(world.path("clone/environments/live/kv.toml")).unwrap(), before);
    std::fs::remove_dir_all(world.path("clone/environments")).unwrap();
    world.write("environments/live.toml", "# mine\n");
    let ran = import(&world, &[]);
    assert!(ran.status == 1 && ran.err.contains("there already is environments/live.toml"), "{ran:?}");
    world.end().await;
}
