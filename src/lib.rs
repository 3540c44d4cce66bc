//! Trunkline keeps Cloudflare Workers and VPS hosts in line with the trunk of one Git repository.
//!
//! Teams open pull requests against TOML definitions; what is merged is what runs; `git log` is the audit history;
//! rolling back is reverting. One binary, `trunkline`; this library is all of it but `main`.
//!
//! This page is the architecture: the words, the line that data walks, the promises, and the rooms of `src/` with what
//! each may import. A test (`tests/it/house.rs`) reads the table of rooms and fails on an import that it does not allow.
//!
//! # Words
//!
//! One sense each; where the field has a word, it is that one.
//!
//! | word | sense |
//! |---|---|
//! | revision | a commit of the configuration repository, shown as `main@sha1:1a2b3c4` |
//! | definition | what a TOML file says; *desired state* is all definitions of an environment, resolved |
//! | bundle | desired state with every byte that it refers to: what is recorded, and what a rollback applies |
//! | environment | the unit of reconciliation: `production`, `staging`; has targets and sync rules |
//! | tenant | an owner of environments and secrets: part of every identity and of what a secret is bound to; there is always one, `default` |
//! | resource | one managed thing, by its address `production/worker.ads-api`: environment, kind and name |
//! | target | where instances live: a Cloudflare account, a self-hosted edge, a host |
//! | instance | a resource on one target, `production/worker.ads-api@main`: the identity in inventory, journal, markers and refs |
//! | claim | what an instance is called at its target: a script's name, a namespace's title, a path. Two owners of one claim are an error |
//! | host | a VPS, declared above the environments that use it |
//! | edge | a self-hosted Workers plane: Cloudflare's own runtime, workerd, behind the Workers part of the REST API |
//! | provider | the code that observes and changes one sort of target |
//! | observed state | `Present` with its evidence, `Absent` or `Unknown`; nothing is ever created or deleted on `Unknown` |
//! | drift | observed differs from what was last applied, with no commit to explain it |
//! | change, plan | one create, update, delete, adopt or move with its before and after; the ordered set of them, plain data with a digest |
//! | inventory | what we own, because we applied it; only that can be pruned |
//! | orphan | owned, no longer defined, and not deleted now, with the reason |
//! | apply, prune, reconcile | carry out an approved plan; delete owned instances that left the definitions; one whole pass |
//! | operation | one call that changes something, by a UUIDv7; its *marker* is written at the target |
//! | generation | one run that changes something, applied or failed, by a forward-only number per environment: a rollback is a new generation of an old revision, and a pass with nothing to do is none |
//! | inputs | everything that the resolution of an environment read or looked for, absent paths and listings included; while they stand as they were there is no work |
//! | condition | where an environment stands: `Ready`, `Reconciling` or `Stalled`, with one of a closed set of reasons ([`record::ConditionReason`]) |
//! | rollout | how a changed version of a Worker comes to have all requests: by shares, `traffic` in percent, that go up one step at a time |
//! | hold | a `Stalled` environment that stays at what runs until a person acts: for a budget or an acknowledgement, a quarantine, a branch that was rewritten. Drift of what runs is healed meanwhile |
//! | quarantine | the pairs of address and desired digest that an abandoned generation introduced, what it took away included. A revision that still carries one is held, naming it; one that carries none ends the quarantine, and so does `trunkline resume` |
//! | acknowledgement | a person's word for one dangerous step, by name, in a commit's trailer |
//! | policy ratchet | the rules that judge a plan: a commit never relaxes the rules that judge it (see [`policy`]) |
//!
//! # The line that data walks
//!
//! ```text
//!              git commit                                          live world
//!                  |                                                   |
//!    source: fetch | Tree                         provider: observe    | ObservedState
//!                  v                                                   v
//!   definition ----------> Bundle -----------------> plan <----- store: Inventory
//!          | Diagnostics                               | Plan
//!          v                                           v
//!     stalled, shown                                policy -------> Held | Denied
//!                                                      | ApprovedPlan
//!                                                      v
//!                                    apply ------> providers ------> one Outcome for each order
//!                                                      | records
//!                                                      v
//!     git notes, refs <---- store ------> status: fold ------> command line
//!                                                      |
//!                                   when to look again | trigger ------> next pass
//! ```
//!
//! # Promises that the shape keeps
//!
//! 1. **The plan is data, and what is shown is what is run.** One [`plan::Plan`] is rendered for people and carried out;
//!    the executor makes no choices; a dry run is *not calling* apply. The digest covers addresses, actions, before,
//!    after and preconditions, and neither reasons nor commit nor time.
//! 2. **Level-triggered.** A watch, a poll or a schedule only says "look"; nothing is read from the event.
//! 3. **The core is pure**: the rooms marked so below do no input or output and read no clock; the house test holds them to
//!    it, and rules in Rego are held to it by [`policy`].
//! 4. **Definitions are read from the commit's tree**, never from a checkout: no symbolic link, hook or filter is followed.
//!    Only `check`, `plan --worktree` and `secrets` read a folder; apply never does.
//! 5. **Nothing is lost or done twice when killed at any instant.** Intent is durable before the call; a timeout or a crash
//!    means *unknown*; unknown settles, then is observed by marker, before anything is repeated.
//! 6. **Absence is never a command.** An outage, an empty tree, a parse error or a missing folder never deletes; an
//!    environment ends by `retire = true`. What leaves the definitions is pruned within a budget; what holds data only with
//!    an acknowledgement, and until then it is an orphan.
//! 7. **Secrets have one type that cannot be printed or serialized**, [`model::Secret`], from decryption to the wire. What
//!    stands for one in plans and records is an HMAC under the environment's digest key; without the identity a plan says
//!    "not comparable", never "changed".
//! 8. **Values not known yet are typed**: [`model::Pending`], such as the id of a namespace that the same plan creates.
//! 9. **An empty list closes the door.** Without a token an edge does not listen; a folder of pinned rules that holds none
//!    denies; nothing but the daemon's own control socket, in a folder of mode 0700, takes orders.
//! 10. **Dangerous steps are acknowledged by name**, by a trailer such as `Acknowledge: production/kv.sessions delete`
//!     between the last applied revision and the new one, used once.
//!
//! # Rooms
//!
//! Imports point one way. `above` stands for every room above in the table; providers are within one room. What several
//! rooms need is a noun of `model` or a trait there. A room comes when it is needed, and its row with it: health gates, waves,
//! web pages and notifications have none yet.
//!
//! | room | purpose | may import |
//! |---|---|---|
//! | `model` (pure) | the shared nouns: names, addresses, revisions, desired and observed state, secrets, the traits behind which input and output stand | — |
//! | `document` (pure) | TOML with places: parse, locate, render a diagnostic with line and caret | model |
//! | `definition` (pure) | files to desired state: schema, bases, references, validation, templates; all faults at once | model, document |
//! | `plan` (pure) | desired minus observed: changes, order, inventory, rendering | model |
//! | `policy` (pure) | may this plan run: rules in Rego, budget, acknowledgements; the only maker of an approved plan | model, document, plan |
//! | `record` (pure) | what the store keeps and everyone reads: generations, operations, conditions, quarantine, the line in Git | model, plan |
//! | `status` (pure) | records folded into what people see | model, record |
//! | `settings` | the daemon's settings: its own file, under what flags and variables said; decided nowhere else | model, document |
//! | `secrets` | values encrypted with age: open, seal; implements the resolver of `model` | model, document |
//! | `source` | Git: remote, database, choice of a commit, its tree, notes and revert commits | model, record |
//! | `boundary` | the named boundaries of an apply, at which the crash tests kill the process; nothing without their feature | — |
//! | `build` | a project's own bundler, isolated, without network: a request of the definitions to the modules of a Worker; what was built, by its digest | model, document |
//! | `agent` | the host executor: what is on a host, and changing it, in process or at the far end of a channel | model, plan, boundary |
//! | `link` | agents that dial out: the certificate authority, enrolment, renewal and revocation, the connections that requests travel on, what an agent does alone | model, plan, agent |
//! | `provider` | observe and change the sorts of target behind one trait: the REST API of Cloudflare and the edge, hosts in process, over SSH and by their agents | model, plan, agent, link, boundary |
//! | `store` | durable records: journal, inventory, bundles | model, plan, record |
//! | `apply` | an approved plan carried out: intents before calls, outcomes with the inventory | model, plan, policy, record, boundary, provider, store |
//! | `trigger` | why to look: watch, poll, schedule; one closed enum, and the queue that lets bursts coalesce | model |
//! | `reconcile` | one pass: resolve, observe, take up what a crash left, plan, judge, apply, record; rollback and quarantine | above |
//! | `edge` | the self-hosted Workers plane: REST API, what is deployed on disk, supervision of workerd, and the services that Workers bind | model |
//! | `import` | the files of wrangler and live accounts to definitions, and a list of what they cannot say | model, document, definition, provider |
//! | `daemon` | wire everything; wake, fetch, a pass for each environment, until told to stop; the control socket | above |
//! | `cli` | the verbs, all text for the terminal, and the demo | above |
//!
//! # Habits
//!
//! Files of one noun or one verb, at most 400 lines; free functions over objects that do; a small error enum per room;
//! ordered maps in everything planned, rendered or stored; ids and times come in as arguments, in the pure rooms. No static
//! that can change: what lives long is made by [`daemon`] or a verb and handed on; the kill points of the crash tests, in no
//! release, are the exception. No shell. Domain code returns data; text is made by rendering and the command line.

pub mod agent;
pub mod apply;
pub mod boundary;
pub mod build;
pub mod cli;
pub mod daemon;
pub mod definition;
pub mod document;
pub mod edge;
pub mod import;
pub mod link;
pub mod model;
pub mod plan;
pub mod policy;
pub mod provider;
pub mod reconcile;
pub mod record;
pub mod secrets;
pub mod settings;
pub mod source;
pub mod status;
pub mod store;
pub mod trigger;
