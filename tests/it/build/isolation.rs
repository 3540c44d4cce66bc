//! What a build sees and may do, tried by commands that would do more.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use trunkline::build::BuildError;
use trunkline::model::Recipe;

use super::{line, options, request, run, text};

/// What a failing command printed.
fn printed(request: &trunkline::model::BuildRequest) -> String {
    let folder = tempfile::tempdir().unwrap();
    match run(&options(folder.path()), request) {
        Err(BuildError::Failed { printed, .. }) => printed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn there_is_no_network_not_even_this_machine() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let code = format!(
        "const net = require('net'); const s = net.connect({port}, '127.0.0.1'); \
         s.on('connect', () => {{ console.log('REACHED'); process.exit(7) }}); \
         s.on('error', (e) => {{ console.log('refused', e.code); process.exit(8) }});"
    );
    let command = ["node", "-e", &code].map(str::to_owned).into();
    let said = printed(&request(Recipe::Command { command, output: "dist".to_owned() }, "", &[("a.js", "")]));
    assert!(said.contains("refused") && !said.contains("REACHED"), "{said}");
    assert!(listener.accept().is_err(), "somebody came");
    // Names of the abstract namespace belong to a network namespace, too; and no resolver answers.
    let said = printed(&line(
        "node -e \"require('dns').lookup('example.com', (e) => { console.log(e ? e.code : 'FOUND'); process.exit(1) })\"",
    ));
    assert!(!said.contains("FOUND"), "{said}");
}

#[test]
fn the_machine_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("identity");
    std::fs::write(&secret, "AGE-SECRET-KEY-of-the-test").unwrap();
    let own = env!("CARGO_MANIFEST_DIR");
    let said = printed(&line(&format!(
        "cat {} {own}/Cargo.toml /etc/shadow /proc/1/environ 2>&1 | tr '\\0' ' '; ls -d /root /home /var /run /srv /sys 2>&1; \
         touch /usr/trace 2>&1; mount -o remount,rw /usr 2>&1; umount -l /usr 2>&1; kill -9 -1; exit 1",
        secret.display()
    )));
    assert!(!said.contains("AGE-SECRET") && !said.contains("[package]") && !said.contains("root:"), "{said}");
    assert!(!std::path::Path::new("/usr/trace").exists());
    let said =
        printed(&line("touch /usr/trace; mount -o remount,rw /usr; grep Cap /proc/self/status; ls -d /root /var /sys; exit 1"));
    assert!(said.contains("Read-only file system"), "{said}");
    assert!(said.matches("No such file").count() >= 3, "{said}");
    assert!(said.contains("CapBnd: 0000000000000000") && said.contains("CapEff: 0000000000000000"), "{said}");
}

#[test]
fn nothing_of_the_environment_is_inherited() {
    // The test binary has PATH, HOME and cargo's variables; a daemon has CREDENTIALS_DIRECTORY and the like.
    assert!(std::env::vars().any(|(name, _)| name.starts_with("CARGO")));
    let mut request = line("env; exit 1");
    request.env.insert("FLAVOUR".to_owned(), "sweet".to_owned());
    let said = printed(&request);
    assert!(said.contains("FLAVOUR=sweet") && said.contains("HOME=/tmp"), "{said}");
    for line in said.lines() {
        let name = line.split('=').next().unwrap();
        let known = [
            "PATH",
            "NODE_PATH",
            "HOME",
            "TMPDIR",
            "LANG",
            "TZ",
            "CI",
            "NO_COLOR",
            "SOURCE_DATE_EPOCH",
            "WRANGLER_SEND_METRICS",
            "npm_config_update_notifier",
            "FLAVOUR",
            "PWD",
            "_",
            "SHLVL",
            "OLDPWD",
        ];
        assert!(known.contains(&name), "{line}");
    }
}

#[test]
fn the_end_of_a_flood_is_kept_and_no_more() {
    let begun = Instant::now();
    let said = printed(&line("head -c 50000000 /dev/zero | tr '\\0' 'x'; echo; printf 'the \\033[31mlast\\tline\\n'; exit 9"));
    assert!(said.len() < 20_000 && said.ends_with("the \u{fffd}[31mlast line"), "{} {}", said.len(), &said[said.len() - 40..]);
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn what_takes_too_long_is_stopped_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path());
    options.timeout = Duration::from_secs(1);
    let marker = format!("{}", 31_000_000 + std::process::id());
    let begun = Instant::now();
    let request = line(&format!("echo begun; setsid sleep {marker} & (setsid sleep {marker} &); sleep {marker}"));
    match run(&options, &request) {
        Err(error @ BuildError::Failed { .. }) => {
            let text = error.to_string();
            assert!(text.contains("stopped after 1 s") && text.contains("begun"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(processes_with(&marker), 0);
    // And so is what a build that ends well leaves running.
    let left = line(&format!("setsid sleep {marker} & mkdir dist; cp in/a.js dist/"));
    options.timeout = Duration::from_secs(60);
    assert_eq!(run(&options, &left).unwrap().main, "a.js");
    assert_eq!(processes_with(&marker), 0);
    // And a build during which the process is told to end.
    let begun = Instant::now();
    options.stop = std::sync::Arc::new(move || begun.elapsed() > Duration::from_millis(300));
    assert!(matches!(run(&options, &line(&format!("sleep {marker}"))), Err(BuildError::Stopped { .. })));
    assert_eq!(processes_with(&marker), 0);
}

fn processes_with(marker: &str) -> usize {
    let lines = std::fs::read_dir("/proc").unwrap().filter_map(|entry| std::fs::read(entry.unwrap().path().join("cmdline")).ok());
    lines.filter(|line| line.windows(marker.len()).any(|part| part == marker.as_bytes()) && line.starts_with(b"sleep")).count()
}

#[test]
fn a_link_a_pipe_or_nothing_is_no_output() {
    let folder = tempfile::tempdir().unwrap();
    for (command, says) in [
        ("mkdir dist; ln -s /etc/passwd dist/a.js", "`a.js` is a symbolic link"),
        ("mkdir dist; mkfifo dist/a.js", "`a.js` is not a regular file"),
        ("mkdir x; cp in/a.js x/; ln -s x dist", "`dist` is not a folder"),
        ("mkdir dist", "holds no modules"),
        ("true", "there is no folder `dist`"),
        ("mkdir dist; cp in/a.js dist/; touch dist/b.css", "`b.css` is no module"),
        ("mkdir dist; head -c 11000000 /dev/zero > dist/a.js", "more than 10485760 bytes"),
        ("mkdir dist; cp in/a.js dist/a.js; cp in/a.js dist/b.js", "`a.js` or `b.js`"),
    ] {
        match run(&options(folder.path()), &line(command)) {
            Err(error @ BuildError::Output { .. }) => assert!(error.to_string().contains(says), "{command}: {error}"),
            other => panic!("{command}: {other:?}"),
        }
    }
    assert!(!folder.path().join("builds").exists(), "what cannot be used is not kept");
}

#[test]
fn the_folder_of_a_build_is_bounded() {
    let said = printed(&line(
        "head -c 600000000 /dev/zero > a; head -c 200000000 /dev/zero > b; head -c 200000000 /dev/zero > c; head -c 200000000 /dev/zero > d; exit 1",
    ));
    assert!(said.contains("No space left on device") || said.contains("File too large"), "{said}");
}

#[test]
fn without_isolation_nothing_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path());
    // What cannot be started within the namespaces, as where they are forbidden.
    options.program = folder.path().join("nothing");
    let error = run(&options, &line("mkdir dist; cp in/a.js dist/")).unwrap_err();
    assert!(matches!(error, BuildError::NoIsolation { .. }), "{error}");
    assert!(error.to_string().contains("cannot be isolated") && error.hint().unwrap().contains("user namespaces"), "{error}");
    options.program = env!("CARGO_BIN_EXE_trunkline").into();
    options.tools.clear();
    let esbuild = request(Recipe::Esbuild { entry: "a.ts".to_owned() }, "", &[("a.ts", "export default {}")]);
    let error = run(&options, &esbuild).unwrap_err();
    assert!(matches!(error, BuildError::NoTool { .. }) && error.hint().unwrap().contains("[build]"), "{error}");
}

#[test]
fn a_program_of_the_inputs_is_run_where_it_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let command = vec!["./make.sh".to_owned(), "x y".to_owned()];
    let recipe = Recipe::Command { command, output: "out/js".to_owned() };
    let script = "#!/bin/sh\nmkdir -p out/js\nprintf 'export default \"%s\"' \"$1\" > out/js/index.js\n";
    let built = run(&options(folder.path()), &request(recipe, "w", &[("w/make.sh", script)])).unwrap();
    assert_eq!(text(&built, "index.js"), "export default \"x y\"");
    let recipe = Recipe::Command { command: vec!["/bin/../etc/x".to_owned()], output: "o".to_owned() };
    assert!(matches!(run(&options(folder.path()), &request(recipe, "", &[("a", "")])), Err(BuildError::NoTool { .. })));
}
