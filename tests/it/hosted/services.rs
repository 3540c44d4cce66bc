//! Units that are written for a definition: the connector of a tunnel, and an edge.

use std::path::Path;
use std::time::{Duration, Instant};

use super::site::Site;

/// Stands for cloudflared, which is in no registry that tests reach: says what it was given, and that it is ready.
const CLOUDFLARED: &str = r#"#!/usr/bin/perl
use Socket;
$| = 1;
print "ARGUMENT $_\n" for @ARGV;
for my $name (qw(token credentials.json config.yml)) {
    open(my $file, '<', "$ENV{CREDENTIALS_DIRECTORY}/$name") or next;
    print "CREDENTIAL $name ", join('', <$file>), "\n";
}
socket(my $notify, AF_UNIX, SOCK_DGRAM, 0);
send($notify, 'READY=1', 0, sockaddr_un($ENV{NOTIFY_SOCKET}));
sleep 1000000;
"#;

const TOKEN: &str = "token-of-the-tunnel-4711";

fn stand_in(site: &Site) {
    site.host.write("/usr/bin/cloudflared", CLOUDFLARED);
    site.host.run(&["chmod", "755", "/usr/bin/cloudflared"]);
}

fn journal(site: &Site, unit: &str) -> String {
    let run = site.unit(unit, "InvocationID");
    site.host.run(&["journalctl", "--no-pager", "-o", "cat", &format!("_SYSTEMD_INVOCATION_ID={run}")])
}

#[test]
fn a_connector_runs_with_its_token_as_a_credential_and_starts_anew_with_another() {
    let text = "[tunnel_connector.main]\ntoken = { secret = \"tunnel\" }\nmetrics = \"127.0.0.1:20241\"\nprotocol = \"http2\"\n";
    let site = Site::new("");
    site.secret("tunnel", TOKEN);
    site.define(text);
    let ran = site.trunkline(&["apply"]);
    let said = format!("{}{}", ran.out, ran.err);
    assert!(ran.status != 0 && said.contains("/usr/bin/cloudflared"), "it is not installed: {said}");
    stand_in(&site);
    site.converge();
    let unit = "trunkline-connector-main.service";
    let wrote = journal(&site, unit);
    for word in ["tunnel", "--no-autoupdate", "--metrics", "127.0.0.1:20241", "run", "--protocol", "http2", "--token-file"] {
        assert!(wrote.contains(&format!("ARGUMENT {word}\n")), "{word}: {wrote}");
    }
    assert!(wrote.contains(&format!("CREDENTIAL token {TOKEN}")), "{wrote}");
    assert!(!site.host.run(&["systemctl", "cat", unit]).contains(TOKEN));
    assert_eq!(site.host.run(&["stat", "-c", "%a %U", "/etc/trunkline/trunkline-connector-main/token"]), "600 root");
    let exposure = site.host.try_run(&["systemd-analyze", "security", "--threshold=25", "--no-pager", unit]);
    assert!(exposure.status.success(), "{}", String::from_utf8_lossy(&exposure.stdout));
    let plan = site.trunkline(&["plan", "--output", "json"]);
    assert!(!plan.out.contains(TOKEN));

    let before = site.unit(unit, "InvocationID");
    site.secret("tunnel", "another-token-4712");
    site.commit();
    assert_eq!(site.changes()[0].2, ["files.token.secret"]);
    site.converge();
    assert_ne!(site.unit(unit, "InvocationID"), before);
    assert!(journal(&site, unit).contains("CREDENTIAL token another-token-4712"));

    // Somebody wrote into its token: seen without a word of it, and put right.
    site.host.write("/etc/trunkline/trunkline-connector-main/token", "edited-token");
    let plan = site.trunkline(&["plan"]);
    assert!(plan.out.contains("files.token") && !plan.out.contains("edited-token"), "{}", plan.out);
    site.converge();
    assert_eq!(site.host.read("/etc/trunkline/trunkline-connector-main/token"), "another-token-4712");

    site.define("");
    site.apply();
    assert_eq!(site.unit(unit, "LoadState"), "not-found");
    assert!(
        !site.host.try_run(&["test", "-e", "/etc/trunkline/trunkline-connector-main"]).status.success(),
        "its folder goes too"
    );
}

#[test]
fn a_connector_has_its_rules_at_cloudflare_or_here_and_never_both() {
    let local = "tunnel = \"6ff42ae2-765d-4adf-8112-31c55c1551ef\"\ncredentials = { secret = \"tunnel\" }\ningress = [{ hostname = \"api.example.com\", service = \"http://localhost:8080\" }]\n";
    let site = Site::new("");
    site.secret("tunnel", "{\"AccountTag\":\"x\"}");
    for (text, message) in [
        (format!("[tunnel_connector.main]\ntoken = {{ secret = \"tunnel\" }}\n{local}"), "never in both places"),
        ("[tunnel_connector.main]\n".to_owned(), "nothing says which tunnel it is"),
        ("[tunnel_connector.main]\ntunnel = \"x\"\n".to_owned(), "the key `credentials` is missing"),
        ("[tunnel_connector.main]\ntoken = { secret = \"tunnel\" }\nprotocol = \"h2mux\"\n".to_owned(), "is not known here"),
        (
            "[tunnel_connector.main]\ntoken = { secret = \"tunnel\" }\nprogram = \"/bin/sh -c id\"\n".to_owned(),
            "is not the path of a program",
        ),
        ("[tunnel_connector.main]\nname = \"../x\"\ntoken = { secret = \"tunnel\" }\n".to_owned(), "is not a name"),
    ] {
        site.write("environments/production/production.toml", &text);
        let ran = site.check();
        assert!(ran.status != 0 && format!("{}{}", ran.out, ran.err).contains(message), "{text}: {}{}", ran.out, ran.err);
    }
    stand_in(&site);
    site.define(&format!("[tunnel_connector.main]\n{local}"));
    site.converge();
    let wrote = journal(&site, "trunkline-connector-main.service");
    assert!(wrote.contains("ARGUMENT --config\n") && !wrote.contains("--token-file"), "{wrote}");
    assert!(wrote.contains("http_status:404") && wrote.contains("api.example.com") && wrote.contains("AccountTag"), "{wrote}");
}

/// Plays the registry of npm on the host itself: gives the archive of workerd, and notes what it was asked for.
const REGISTRY: &str = r#"#!/usr/bin/perl
use IO::Socket::INET;
my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1:4873', Listen => 5, ReuseAddr => 1) or die;
while (my $caller = $listener->accept) {
    my $asked = <$caller>;
    while (my $line = <$caller>) { last if $line =~ /^\r?\n$/; }
    open(my $log, '>>', '/root/asked'); print $log $asked; close $log;
    open(my $archive, '<:raw', '/root/workerd.tgz') or die;
    print $caller "HTTP/1.1 200 OK\r\nContent-Length: ", -s $archive, "\r\nConnection: close\r\n\r\n";
    my $bytes;
    print $caller $bytes while read($archive, $bytes, 65536);
    close $caller;
}
"#;

/// Waits until something is so on the host.
fn until(site: &Site, what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        let log = || site.host.run(&["journalctl", "--no-pager", "-n", "60", "-o", "cat"]);
        assert!(begun.elapsed() < Duration::from_secs(120), "not so after two minutes: {what}\n{}", log());
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_region_is_a_host_and_ten_lines() {
    let region = "[edge_runtime.fra]\ntoken = { secret = \"edge-token\" }\nregistry = \"http://127.0.0.1:4873\"\n\n[edge.fra]\nendpoint = \"http://127.0.0.1:8787/client/v4\"\napi_token = { secret = \"edge-token\" }\n";
    let worker = "[worker.hello]\nmain = \"workers/hello.js\"\ncompatibility_date = \"2026-11-01\"\nroutes = [{ pattern = \"hello.example.com/*\", zone_name = \"example.com\" }]\n";
    let site = Site::new("");
    site.write("workers/hello.js", "export default { fetch() { return new Response('hello from fra'); } };\n");
    site.secret("edge-token", "token-of-the-edge-0123456789abcdef");
    // Nothing is on the host before but the daemon; what an edge runs with comes from a registry.
    site.copy(&crate::edge::bench::cache().join("workerd.tgz"), "/root/workerd.tgz");
    site.host.write("/root/registry", REGISTRY);
    site.host.run(&["systemd-run", "--quiet", "--unit", "registry", "perl", "/root/registry"]);
    let unit = "trunkline-edge-fra.service";
    site.define(&format!("{}\n", region.split("[edge.fra]").next().unwrap()));
    site.converge();
    assert_eq!(site.unit(unit, "SubState"), "running");
    let program = trunkline::model::EDGE_PROGRAM;
    assert_eq!(site.host.run(&["stat", "-c", "%a %U %G", program]), "755 root root");
    site.host.run(&["cmp", program, "/usr/bin/trunkline"]);
    let runs = || site.host.run(&["journalctl", "--no-pager", "-o", "cat", "-u", unit]).contains("runtime    workerd ");
    until(&site, "workerd was fetched", runs);
    let data = "/var/lib/private/trunkline-edge-fra/workerd";
    assert_eq!(site.host.run(&["stat", "-c", "%a", data]), "700");
    assert!(site.host.run(&["find", data, "-type", "f", "-printf", "%P %m"]).ends_with("/workerd 755"));
    assert!(Path::new(&site.host.run(&["readlink", &format!("/proc/{}/exe", site.unit(unit, "MainPID"))])) == Path::new(program));
    site.define(&format!("{region}{worker}"));
    site.converge();
    let ask = "use IO::Socket::INET; my $s = IO::Socket::INET->new('127.0.0.1:8788'); print $s \"GET / HTTP/1.1\\r\\nHost: hello.example.com\\r\\nConnection: close\\r\\n\\r\\n\"; print <$s>";
    assert!(site.host.run(&["perl", "-e", ask]).contains("hello from fra"));

    // Somebody put another program in its place: seen, put right, and started anew.
    site.host.run(&["sh", "-c", &format!("cp {program} /root/other; echo x >>/root/other; mv /root/other {program}")]);
    assert_eq!(site.changes(), [("production/edge_runtime.fra".to_owned(), "update".to_owned(), vec!["program".to_owned()])]);
    let before = site.unit(unit, "InvocationID");
    site.converge();
    site.host.run(&["cmp", program, "/usr/bin/trunkline"]);
    assert_ne!(site.unit(unit, "InvocationID"), before);
    site.host.run(&["rm", program]);
    site.converge();
    site.host.run(&["cmp", program, "/usr/bin/trunkline"]);

    // A machine that was turned off and on serves it without us.
    site.host.restart();
    let serves = || String::from_utf8_lossy(&site.host.try_run(&["perl", "-e", ask]).stdout).contains("hello from fra");
    until(&site, "it serves", serves);
    // What was fetched stays: the registry is gone, and was asked once.
    assert_eq!(site.host.run(&["grep", "-c", "workerd", "/root/asked"]), "1");

    // With the last edge its program goes.
    site.define(region);
    site.converge();
    site.define("");
    site.converge();
    assert!(!site.host.try_run(&["test", "-e", Path::new(program).parent().unwrap().to_str().unwrap()]).status.success());
}

#[test]
fn a_connector_has_the_token_of_a_tunnel_that_is_defined_beside_it() {
    const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";
    let site = Site::new("");
    stand_in(&site);
    // What plays Cloudflare is on the host itself.
    site.host.run(&["sh", "-c", "umask 077; printf %s token-of-the-account >/root/account-token"]);
    site.host.run(&[
        "systemd-run",
        "--quiet",
        "--unit",
        "account",
        "/usr/bin/trunkline",
        "edge",
        "--stand-in",
        "--data",
        "/root/account",
        "--token-file",
        "/root/account-token",
    ]);
    let call = |method: &str, path: &str, body: &str| -> serde_json::Value {
        let script = format!(
            "use IO::Socket::INET; my $s = IO::Socket::INET->new('127.0.0.1:8787') or die; print $s \"{method} /client/v4/accounts/{ACCOUNT}{path} HTTP/1.1\\r\\nHost: x\\r\\nAuthorization: Bearer token-of-the-account\\r\\nContent-Type: application/json\\r\\nContent-Length: {}\\r\\nConnection: close\\r\\n\\r\\n\", '{body}'; local $/; print <$s>",
            body.len()
        );
        let answer = site.host.run(&["perl", "-e", &script]);
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1.trim()).unwrap_or_else(|error| panic!("{error}: {answer}"))
    };
    until(&site, "the account answers", || {
        site.host.try_run(&["perl", "-MIO::Socket::INET", "-e", "exit !IO::Socket::INET->new('127.0.0.1:8787')"]).status.success()
    });
    site.secret("account-token", "token-of-the-account");
    let commit = site.define(&format!(
        "[cloudflare.main]\naccount_id = \"{ACCOUNT}\"\nendpoint = \"http://127.0.0.1:8787/client/v4\"\napi_token = {{ secret = \"account-token\" }}\n\n[tunnel.edge]\n\n[tunnel_connector.main]\ntoken = {{ tunnel = \"edge\" }}\n"
    ));
    assert!(!commit.is_empty());
    // The tunnel is made first, in the same apply.
    let order: Vec<String> = site.changes().into_iter().map(|(address, action, _)| format!("{action} {address}")).collect();
    assert_eq!(order, ["create production/tunnel.edge", "create production/tunnel_connector.main"]);
    site.converge();
    let id = call("GET", "/cfd_tunnel?is_deleted=false", "")["result"][0]["id"].as_str().unwrap().to_owned();
    let token = || call("GET", &format!("/cfd_tunnel/{id}/token"), "")["result"].as_str().unwrap().to_owned();
    let (unit, first) = ("trunkline-connector-main.service", token());
    assert!(journal(&site, unit).contains(&format!("CREDENTIAL token {first}")));
    let file = "/etc/trunkline/trunkline-connector-main/token";
    assert_eq!(site.host.run(&["stat", "-c", "%a %U", file]), "600 root");

    // Somebody rotates it: the connector starts anew with the new one, and no plan shows either.
    call("PATCH", &format!("/cfd_tunnel/{id}"), &format!("{{\"tunnel_secret\":\"{}\"}}", "A".repeat(44)));
    let second = token();
    assert_ne!(first, second);
    assert_eq!(
        site.changes(),
        [("production/tunnel_connector.main".to_owned(), "update".to_owned(), vec!["files.token.secret".to_owned()])]
    );
    let plan = site.trunkline(&["plan"]);
    assert!(!plan.out.contains(&first) && !plan.out.contains(&second), "{}", plan.out);
    let before = site.unit(unit, "InvocationID");
    site.converge();
    assert_ne!(site.unit(unit, "InvocationID"), before);
    assert!(journal(&site, unit).contains(&format!("CREDENTIAL token {second}")));
    assert_eq!(site.host.read(file), second);
    for folder in ["/var/lib/trunkline/store.db", "/root/remote.git"] {
        assert!(!site.host.try_run(&["grep", "-rqF", &second, folder]).status.success(), "the token is in {folder}");
    }

    // The connector goes before its tunnel.
    site.define(&format!(
        "[cloudflare.main]\naccount_id = \"{ACCOUNT}\"\nendpoint = \"http://127.0.0.1:8787/client/v4\"\napi_token = {{ secret = \"account-token\" }}\n"
    ));
    let order: Vec<String> = site.changes().into_iter().map(|(address, action, _)| format!("{action} {address}")).collect();
    assert_eq!(order, ["delete production/tunnel_connector.main", "delete production/tunnel.edge"]);
    site.converge();
    assert_eq!(site.unit(unit, "LoadState"), "not-found");
}
