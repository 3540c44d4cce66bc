//! How many Workers there are makes no difference: what a pass without changes reads, and what one change writes.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use super::passes::{Cost, Passes};
use crate::world::{Daemon, TOKEN, World};

const FILE: &str = "environments/production/production.toml";

/// What a pass that changes nothing may read, besides the pages of lists after the first ones.
const MOST: usize = 12 + 2 * ZONES.len();

/// The zones that the Workers have routes in.
const ZONES: [&str; 2] = ["example.com", "example.org"];

/// Two of each of the other kinds.
const OTHERS: &str = "[kv.a]\n[kv.b]\n[r2.a]\n[r2.b]\n";

/// An installation on an edge that stores Workers and runs none: for what is counted and never called.
async fn stored() -> World {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("edge-token"), TOKEN).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    command.args(["edge", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]).env_clear().env("PATH", "/nonexistent");
    command.arg("--data").arg(folder.path().join("edge")).arg("--token-file").arg(folder.path().join("edge-token"));
    let mut program = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(program.stderr.take().unwrap());
    let program = Daemon(program);
    let mut line = String::new();
    let api = loop {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the edge did not start");
        if line.starts_with("REST API") {
            let url = line.split_whitespace().last().unwrap().trim_start_matches("http://");
            break url.split('/').next().unwrap().parse().unwrap();
        }
    };
    // Whatever else it says is read, so that it never waits for us.
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    World::on(folder, (None, Some(program)), api).await
}

/// An environment of `size` Workers and of every other kind, on an edge that stores Workers and runs none: what is counted
/// here are calls.
pub(super) async fn world(size: usize, interval: &str) -> World {
    let world = stored().await;
    let mut text = format!(
        "[environment.sync]\ninterval = \"{interval}\"\n\n[cloudflare.main]\nendpoint = \"{}\"\naccount_id = \"{}\"\napi_token = {{ secret = \"edge-token\" }}\n\n{OTHERS}",
        world.endpoint(),
        "0".repeat(32)
    );
    for at in 0..size {
        let zone = ZONES[at % ZONES.len()];
        text.push_str(&format!(
            "\n[worker.w{at:04}]\nmain = \"workers/w/index.js\"\nvars = {{ AT = \"at {at}\" }}\ntriggers = {{ crons = [\"{} {} * * *\"] }}\nroutes = [{{ pattern = \"w{at}.{zone}/*\", zone_name = \"{zone}\" }}]\n",
            at % 60,
            at / 60
        ));
    }
    world.write("trunkline.toml", "format = 1\n");
    world.write(FILE, &text);
    world.write("environments/production/secrets.toml", "");
    world.write("workers/w/index.js", "export default { fetch: (_, env) => new Response(env.AT) };\n");
    world.set_secret("production", "edge-token", TOKEN);
    world.commit("Many Workers");
    world
}

/// The list that comes in pages of a hundred.
const PAGED: &str = "GET /workers/workers";

/// The reads without those of further pages.
fn lists(cost: &Cost) -> Vec<String> {
    let mut pages = 0;
    let first = |line: &&String| {
        pages += usize::from(*line == PAGED);
        *line != PAGED || pages == 1
    };
    cost.reads.iter().filter(first).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pass_reads_does_not_grow_with_the_number_of_workers_and_a_change_costs_two_writes() {
    let mut of_sizes = Vec::new();
    for size in [10, 101] {
        let world = world(size, "1d").await;
        let passes = Passes::of(&world);
        let first = passes.pass("production", false).await;
        let uploads =
            first.writes.iter().filter(|line| line.starts_with("PUT /workers/scripts/w") && !line.ends_with("/schedules"));
        assert_eq!(uploads.count(), size);

        world.edit(FILE, "[kv.a]", "# Nothing new.\n[kv.a]");
        world.commit("A comment");
        let nothing = passes.pass("production", false).await;
        assert_eq!(nothing.writes, [""; 0]);
        let pages = size.div_ceil(100) - 1;
        assert!(nothing.reads.len() <= MOST + pages, "{size}: {:?}", nothing.reads);
        assert_eq!(nothing.reads.len() - lists(&nothing).len(), pages, "{:?}", nothing.reads);

        // One Worker: a version and its deployment; and one write for each trigger that differs.
        let two = ["versions", "deployments"].map(|rest| format!("POST /workers/scripts/w0007-production/{rest}"));
        world.edit(FILE, "\"at 7\"", "\"still at 7\"");
        world.commit("A var");
        let one = passes.pass("production", false).await;
        assert_eq!(one.writes, two);
        world.edit(FILE, "\"still at 7\"", "\"at last\"");
        world.edit(FILE, "\"7 0 * * *\"", "\"7 9 * * *\"");
        world.edit(FILE, "w7.example.org/*\"", "w7.example.org/api/*\"");
        world.commit("A var, a cron and a route");
        let more = passes.pass("production", false).await;
        assert_eq!(more.writes.len(), 2 + 1 + 2, "a route less and a route more: {:?}", more.writes);
        assert_eq!(more.writes[..2], two);
        of_sizes.push((lists(&nothing), one.reads.len() - 2 * pages, more.reads.len() - 2 * pages));
        drop(passes);
        world.end().await;
    }
    // A pass that writes reads the lists three times: to plan, before the writes and after them.
    let [(few, one, more), (many, one_of_many, more_of_many)] = &of_sizes[..] else { panic!("two sizes") };
    assert_eq!(few, many);
    assert_eq!((one + 1, more + 1), (*one_of_many, *more_of_many), "one further page for the third reading");
}
