//! No input makes it panic, slow or large.

use std::time::Duration;

use proptest::prelude::*;

use super::{rendered, resolved, small};

/// Fragments that mean something, so that random texts get past the parser.
fn fragment() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "[worker.api]\n",
        "[kv.x]\n",
        "[environment]\n",
        "[secret.s]\n",
        "[file.f]\n",
        "[edge.e]\n",
        "[cloudflare.main]\n",
        "[d1.d]\nmigrations = 'w'\n",
        "[queue.q]\nconsumer = { worker = 'api', dead_letter_queue = 'q' }\n",
        "[hyperdrive.h]\norigin = { scheme = 'mysql', password = { secret = 's' } }\n",
        "[tunnel.t]\ningress = [{ path = '[' }, 1]\n",
        "[vpc_service.v]\nhost = '::1'\ntunnel = 't'\n",
        "[mtls_certificate.m]\ncertificate = 'w'\n",
        "[worker.api.bindings]\n",
        "[worker.api.vars]\n",
        "on = { region = 'eu' }\n",
        "on = { targets = ['e', 3] }\n",
        "main = 'w/api/i.js'\n",
        "main = '../x'\n",
        "modules = ['w/**', '[', '**']\n",
        "S = { kv = 'x' }\n",
        "S = { service = 'api' }\n",
        "S = { secret = 's', kv = 1 }\n",
        "path = '/etc/x'\n",
        "path = 'é'\n",
        "template = 'f.tmpl'\n",
        "content = '''x'''\n",
        "mode = '9'\n",
        "extends = ['bases/b', 'environments/p']\n",
        "remove = ['kv.x', 'x', '.']\n",
        "routes = [{ pattern = '*.a.b/*', zone_name = 'a.b' }, 1]\n",
        "triggers = { crons = ['* * * * *', ''] }\n",
        "interval = 'é'\n",
        "[environment.sync]\n",
        "api_token = { secret = 's' }\n",
        "account_id = ''\n",
        "endpoint = 'http://127.0.0.1:1'\n",
        "a.b.c = 1\n",
        "[[worker]]\n",
        "worker = 1\n",
        "moved = 'x'\n",
        "name = \"\\u202e\"\n",
        "= \n",
        "\"\"\"",
        "[",
        "x = nan\n",
        "y = 99999999999999999999\n",
    ]);
    prop_oneof![8 => words.prop_map(str::to_owned), 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(
        parts in prop::collection::vec(fragment(), 0..20),
        base in prop::collection::vec(fragment(), 0..6),
        template in ".{0,60}",
    ) {
        let mut tree = small();
        tree.insert("environments/p/b.toml", parts.concat());
        tree.insert("bases/b/kv.toml", base.concat());
        tree.insert("f.tmpl", &template);
        let resolution = resolved(&tree, "p");
        let text = rendered(&tree, &resolution);
        prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        prop_assert_eq!(resolution.bundle.is_some(), !text.contains("error"), "{}", text);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut tree = small();
        tree.insert("environments/p/b.toml", &bytes);
        tree.insert("f.tmpl", &bytes);
        rendered(&tree, &resolved(&tree, "p"));
    }
}

/// What this thread has computed so far: nothing that others do on the machine is in it.
fn of_this_thread() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(spent.tv_sec.unsigned_abs(), u32::try_from(spent.tv_nsec).unwrap())
}

fn faults_quickly(name: &str, change: impl FnOnce(&mut trunkline::model::MemoryTree)) {
    let mut tree = small();
    change(&mut tree);
    let start = of_this_thread();
    let resolution = resolved(&tree, "p");
    let took = of_this_thread() - start;
    assert!(resolution.bundle.is_none(), "{name}");
    assert!(resolution.diagnostics.len() <= 500, "{name}: {}", resolution.diagnostics.len());
    assert!(rendered(&tree, &resolution).len() < 1_000_000, "{name}");
    // A development build; what must not happen is minutes.
    assert!(took < Duration::from_secs(20), "{name} took {took:?}");
}

#[test]
fn bombs_are_refused() {
    let file = "environments/p/c.toml";
    faults_quickly("a large file", |tree| tree.insert(file, "x".repeat(1_100_000)));
    faults_quickly("many large files", |tree| {
        for index in 0..5 {
            tree.insert(&format!("environments/p/x{index}.toml"), format!("# {index}{}", "x".repeat(1_000_000)));
        }
    });
    faults_quickly("deep arrays", |tree| tree.insert(file, format!("a = {}", "[".repeat(500_000))));
    faults_quickly("many faults", |tree| tree.insert(file, "[kv.a]\nx = 1\n".repeat(20_000)));
    faults_quickly("many unknown keys", |tree| {
        let keys: String = (0..20_000).map(|index| format!("[worker.w{index}]\nmian = 1\n")).collect();
        tree.insert(file, keys);
    });
    faults_quickly("many bases", |tree| {
        for index in 0..40 {
            let text = format!("[environment]\nextends = ['bases/c{0}', 'bases/c{0}']\n", index + 1);
            tree.insert(&format!("bases/c{index}/a.toml"), text);
        }
        tree.insert("environments/p/a.toml", "[environment]\nextends = ['bases/c0']\n");
    });
    faults_quickly("many modules", |tree| {
        for index in 0..10_100 {
            tree.insert(&format!("w/api/m{index}.js"), "");
        }
    });
    faults_quickly("large modules", |tree| tree.insert("w/api/big.js", vec![b' '; 11 * 1024 * 1024]));
}
