//! Units that are written for a definition: the connector of a tunnel, and an edge.

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

#[test]
fn a_region_is_a_host_and_ten_lines() {
    let region = "[edge_runtime.fra]\ntoken = { secret = \"edge-token\" }\n\n[edge.fra]\nendpoint = \"http://127.0.0.1:8787/client/v4\"\napi_token = { secret = \"edge-token\" }\n";
    let worker = "[worker.hello]\nmain = \"workers/hello.js\"\ncompatibility_date = \"2026-11-01\"\nroutes = [{ pattern = \"hello.example.com/*\", zone_name = \"example.com\" }]\n";
    let site = Site::new("");
    site.write("workers/hello.js", "export default { fetch() { return new Response('hello from fra'); } };\n");
    site.secret("edge-token", "token-of-the-edge-0123456789abcdef");
    let workerd = std::env::var("TRUNKLINE_WORKERD").expect("tests/run names workerd");
    site.copy(&std::fs::canonicalize(workerd).unwrap(), "/usr/local/bin/workerd");
    site.define("[edge_runtime.fra]\ntoken = { secret = \"edge-token\" }\n");
    site.converge();
    assert_eq!(site.unit("trunkline-edge-fra.service", "SubState"), "running");
    site.define(&format!("{region}{worker}"));
    site.converge();
    let ask = "use IO::Socket::INET; my $s = IO::Socket::INET->new('127.0.0.1:8788'); print $s \"GET / HTTP/1.1\\r\\nHost: hello.example.com\\r\\nConnection: close\\r\\n\\r\\n\"; print <$s>";
    assert!(site.host.run(&["perl", "-e", ask]).contains("hello from fra"));

    // A machine that was turned off and on serves it without us.
    site.host.restart();
    let serves = || String::from_utf8_lossy(&site.host.try_run(&["perl", "-e", ask]).stdout).contains("hello from fra");
    let begun = std::time::Instant::now();
    while !serves() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "it does not serve");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}
