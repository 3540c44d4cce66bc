//! A request that is more than a connection takes is not sent: it says what makes it so large.

use trunkline::model::{Connect, HostTarget, SshTarget};
use trunkline::plan::{Action, Precondition};
use trunkline::provider::host::{ChannelOptions, Channels};
use trunkline::provider::{Outcome, Provider as _, chain};

use super::stage::{Stage, file, shown};

/// A stage whose host is reached so, by a connection that takes 8 KiB.
fn stage(connect_by: Connect) -> Stage {
    let target = HostTarget { connect: connect_by, root: None, offline: Default::default() };
    let options = ChannelOptions { request_bytes: 8 * 1024, executor: "/bin/true".into(), ..ChannelOptions::default() };
    Stage::over(std::path::Path::new("/nonexistent"), target, Channels::new(options))
}

/// What becomes of files of so many bytes, in one request.
async fn outcomes(stage: &Stage, sizes: &[(&str, usize)]) -> Vec<Outcome> {
    let order = |(name, size): &(&str, usize)| {
        let path = format!("/srv/{name}");
        stage.order_of(name, Action::Create, Precondition::Absent, Some(&file(&path, &"x".repeat(*size))), &path)
    };
    stage.provider.carry_out(&sizes.iter().map(order).collect::<Vec<_>>()).await
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_sent_and_the_large_ones_are_named() {
    let ssh = SshTarget {
        user: None,
        host: "host.invalid".to_owned(),
        port: None,
        host_key: None,
        elevate: false,
        state: "/nonexistent".into(),
    };
    for (way, name) in [(Connect::Agent { name: "fra1".parse().unwrap() }, "fra1"), (Connect::Ssh(ssh), "ssh://host.invalid")] {
        let stage = stage(way);
        let sizes =
            [("small", 10), ("large", 5_000), ("huge", 20_480), ("a", 100), ("b", 101), ("c", 102), ("d", 103), ("none", 0)];
        for outcome in outcomes(&stage, &sizes).await {
            let Outcome::Refused(error) = &outcome else { panic!("{name}: {}", shown(&outcome)) };
            let said = chain(error);
            assert!(said.contains(&format!("the request for {name} is too large to be sent")), "{said}");
            assert!(said.contains("8192 bytes travel at once"), "{said}");
            let list = "production/file.huge (20 KiB), production/file.large (5000 bytes), production/file.d (103 bytes), \
                        production/file.c (102 bytes), production/file.b (101 bytes) and 2 more";
            assert!(said.contains(list), "{said}");
            assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("commit of their own")), "{error:?}");
        }
        // Bytes travel as base64: what is half as long in a file may be too long, and what is a little shorter is sent.
        for (size, is_sent) in [(7_000, false), (2_000, true)] {
            let outcome = outcomes(&stage, &[("one", size)]).await.remove(0);
            let Outcome::Refused(error) = &outcome else { panic!("{name}: {}", shown(&outcome)) };
            assert_eq!(!chain(error).contains("too large"), is_sent, "{name}, {size}: {}", chain(error));
        }
    }
}
