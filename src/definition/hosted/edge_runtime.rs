//! `[edge_runtime.<name>]`: the self-hosted Workers plane of a region, on a host.
//!
//! Unless it is said otherwise nothing has to be on the host before: the executor puts its own program there, and that
//! fetches the runtime.

use schemars::JsonSchema;
use serde::Deserialize;

use super::service::{Service, Word, listen, name, program};
use super::tunnel_connector::secret_file;
use super::{Credential, HostedToml, Specs, Writing};
use crate::definition::address;
use crate::definition::reading::Reading;
use crate::definition::scope::required;
use crate::definition::selector::OnToml;
use crate::definition::written::SecretRefToml;
use crate::document::{Fault, Placed};
use crate::model::{EDGE_PROGRAM, Kind, ResourceName, TreeError};

/// `trunkline edge`, installed and kept as a unit. What it is deployed with is defined as for any edge: by `[edge.<name>]` with
/// the address of its API.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "EdgeRuntime")]
pub(in crate::definition) struct EdgeRuntimeToml {
    /// Where it lives; every host unless said otherwise.
    on: Option<Placed<OnToml>>,
    /// What its unit and its folders are called after; its key unless said otherwise.
    name: Option<Placed<String>>,
    /// The token by which its API is called.
    #[schemars(required)]
    token: Option<Placed<SecretRefToml>>,
    /// Where its API listens; `127.0.0.1:8787` unless said otherwise.
    listen: Option<Placed<String>>,
    /// Where its Workers answer; `127.0.0.1:8788` unless said otherwise.
    http: Option<Placed<String>>,
    /// Cloudflare's runtime, where it is on the host already, below `/usr`; unless said otherwise the edge fetches the release
    /// that it is made for.
    workerd: Option<Placed<String>>,
    /// The registry of npm that the runtime is fetched from; the public one unless said otherwise.
    registry: Option<Placed<String>>,
    /// Whether its Workers may call private addresses; false unless said otherwise.
    private_network: Option<Placed<bool>>,
    /// The program, where it is on the host already; unless said otherwise the daemon's own is put there.
    program: Option<Placed<String>>,
    /// Its former key, when it was renamed.
    moved: Option<Placed<ResourceName>>,
}

impl HostedToml for EdgeRuntimeToml {
    heads!(name);

    fn adopt(&self) -> bool {
        false
    }

    fn claim(&self, reading: &mut Reading<'_>, default: Placed<String>) -> Option<String> {
        let written = self.name.clone().unwrap_or(default);
        let name = reading.check(written.place, name(&written.value))?;
        Some(format!("trunkline-edge-{name}.service"))
    }

    fn specs(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Specs, TreeError> {
        let hint = "the token by which its API is called: `{ secret = \"edge-token\" }`";
        let draft = writing.draft;
        let token = required(writing.reading, (draft.key, &draft.dropped), "token", self.token.as_ref(), hint);
        let path = |writing: &mut Writing<'_, '_, '_>, written: Option<&Placed<String>>, default: &str| match written {
            Some(written) => writing.reading.check(written.place, program(&written.value)),
            None => Some(default.to_owned()),
        };
        let address = |writing: &mut Writing<'_, '_, '_>, written: Option<&Placed<String>>, default: &str| match written {
            Some(written) => writing.reading.check(written.place, listen(&written.value)),
            None => Some(default.to_owned()),
        };
        let program = path(writing, self.program.as_ref(), EDGE_PROGRAM);
        let runtime = self.runtime(writing);
        let api = address(writing, self.listen.as_ref(), "127.0.0.1:8787");
        let http = address(writing, self.http.as_ref(), "127.0.0.1:8788");
        let (Some(token), Some(program), Some(runtime), Some(api), Some(http), Some(claim)) =
            (token, program, runtime, api, http, draft.claim.clone())
        else {
            return Ok(Specs::new());
        };
        let SecretRefToml::Secret(secret) = &token.value;
        writing.scope.secret(writing.reading, secret);
        let stem = claim.trim_end_matches(".service").to_owned();
        let file = format!("/etc/trunkline/{stem}/token");
        let mut command = vec![
            Word::Theirs(program),
            Word::Ours("edge"),
            Word::Ours("--listen"),
            Word::Theirs(api),
            Word::Ours("--http"),
            Word::Theirs(http),
            Word::Ours("--data"),
            Word::Ours("%S/%p"),
            Word::Ours("--token-file"),
            Word::Ours("%d/token"),
        ];
        command.extend(runtime);
        if self.private_network.as_ref().is_some_and(|private| private.value) {
            command.push(Word::Ours("--private-network"));
        }
        let lines =
            ["Type=notify", "TimeoutStartSec=3min", "TimeoutStopSec=2min", "KillMode=mixed", "MemoryMax=4G", "TasksMax=2048"];
        let own = ["StateDirectory=%p", "StateDirectoryMode=0700"];
        let text = Service {
            description: format!("Trunkline edge {}", draft.name),
            command,
            credentials: vec![("token", file.clone())],
            lines: lines.into_iter().chain(own).map(str::to_owned).collect(),
        };
        writing.trace("content", Some(draft.key));
        let files = [("token".to_owned(), secret_file(&file))].into();
        let secret = ("files/token/secret".to_owned(), Credential::Secret(secret.value.clone()));
        let mut specs = writing.service(Kind::EdgeRuntime, text.text(), files, secret);
        writing.trace("program", Some(self.program.as_ref().map_or(draft.key, |program| program.place)));
        if self.program.is_none() {
            specs.values_mut().for_each(|spec| _ = spec.fields.insert("program".to_owned(), EDGE_PROGRAM.into()));
        }
        Ok(specs)
    }
}

impl EdgeRuntimeToml {
    /// Which runtime it uses, in the words of its command line.
    fn runtime(&self, writing: &mut Writing<'_, '_, '_>) -> Option<Vec<Word>> {
        match (&self.workerd, &self.registry) {
            (Some(workerd), None) => {
                let workerd = writing.reading.check(workerd.place, program(&workerd.value))?;
                Some(vec![Word::Ours("--workerd"), Word::Theirs(workerd)])
            }
            (None, None) => Some(vec![Word::Ours("--install-workerd")]),
            (None, Some(registry)) => {
                let registry = writing.reading.check(registry.place, address::registry(&registry.value))?;
                Some(vec![Word::Ours("--install-workerd"), Word::Ours("--registry"), Word::Theirs(registry)])
            }
            (Some(workerd), Some(registry)) => {
                let fault = Fault::new(registry.place, "where `workerd` is on the host, nothing is fetched from a registry");
                writing.reading.fault(fault.related(workerd.place, "it is on the host").hint("keep one of them"));
                None
            }
        }
    }
}
