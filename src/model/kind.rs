//! The sorts of thing that are managed, and what sets each apart.
//!
//! **Invariant:** what a room must know of a kind as a kind stands here, once; no room keeps a list of kinds of its own.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The sorts of thing that Trunkline manages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A Workers KV namespace.
    Kv,
    /// An R2 bucket.
    R2,
    /// A D1 database.
    D1,
    /// A queue.
    Queue,
    /// What takes the messages of a queue. It is defined with the queue and comes after the Worker that it names, which may
    /// itself be bound to the queue.
    QueueConsumer,
    /// A Hyperdrive configuration: pooled connections to a database.
    Hyperdrive,
    /// A Cloudflare Tunnel and its ingress rules.
    Tunnel,
    /// A service of a private network that Workers reach through a tunnel.
    VpcService,
    /// A client certificate that Workers present to an origin.
    MtlsCertificate,
    /// A dispatch namespace of Workers for Platforms.
    DispatchNamespace,
    /// A DNS record.
    Dns,
    /// A custom domain of a Worker.
    Domain,
    /// A cache rule of a zone.
    CacheRule,
    /// A Worker.
    Worker,
    /// A package of a host's distribution.
    Package,
    /// A directory on a host.
    Directory,
    /// A file on a host.
    File,
    /// A systemd unit on a host.
    Unit,
    /// A Docker container on a host.
    Container,
    /// A Docker Compose project on a host.
    Compose,
    /// An application that PM2 runs on a host.
    Pm2,
    /// The connector of a Cloudflare Tunnel, kept as a unit of a host.
    TunnelConnector,
    /// A self-hosted Workers plane, kept as a unit of a host.
    EdgeRuntime,
}

/// The property of a thing that was remade: what it took the place of and is still there. It is never desired, so that a
/// plan takes it away once nothing uses it any more.
pub const SUPERSEDED: &str = "superseded";

/// The property of a thing on a host whose change was cut short. It is never desired, so that a plan finishes the change.
pub const INTERRUPTED: &str = "interrupted";

/// How a thing at a target is known as ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// It carries our mark from its creation on.
    Mark,
    /// It has no place for a mark; it is known by the id that it was given when we made it.
    Id,
}

/// Whether a thing can be called otherwise at its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renaming {
    /// The target gives it another name, and it stays what it is.
    InPlace,
    /// The old one is deleted, then the new one is made: nothing is lost that the definitions do not hold.
    Replaced,
    /// Neither: a replacement would destroy data.
    Refused,
}

/// How a Worker is bound to an instance of a kind, in the words of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The binding's `type`.
    pub sort: &'static str,
    /// The field that says which one.
    pub field: &'static str,
    /// Which attribute of the instance stands in it.
    pub attribute: &'static str,
}

impl Kind {
    /// Every kind, in the order in which they are listed for people.
    pub const ALL: [Self; 23] = [
        Self::Kv,
        Self::R2,
        Self::D1,
        Self::Queue,
        Self::QueueConsumer,
        Self::Hyperdrive,
        Self::Tunnel,
        Self::VpcService,
        Self::MtlsCertificate,
        Self::DispatchNamespace,
        Self::Dns,
        Self::Domain,
        Self::CacheRule,
        Self::Worker,
        Self::Package,
        Self::Directory,
        Self::File,
        Self::Unit,
        Self::Container,
        Self::Compose,
        Self::Pm2,
        Self::TunnelConnector,
        Self::EdgeRuntime,
    ];

    /// The word used in definitions and addresses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kv => "kv",
            Self::R2 => "r2",
            Self::D1 => "d1",
            Self::Queue => "queue",
            Self::QueueConsumer => "queue_consumer",
            Self::Hyperdrive => "hyperdrive",
            Self::Tunnel => "tunnel",
            Self::VpcService => "vpc_service",
            Self::MtlsCertificate => "mtls_certificate",
            Self::DispatchNamespace => "dispatch_namespace",
            Self::Dns => "dns",
            Self::Domain => "domain",
            Self::CacheRule => "cache_rule",
            Self::Worker => "worker",
            Self::Package => "package",
            Self::Directory => "directory",
            Self::File => "file",
            Self::Unit => "unit",
            Self::Container => "container",
            Self::Compose => "compose",
            Self::Pm2 => "pm2",
            Self::TunnelConnector => "tunnel_connector",
            Self::EdgeRuntime => "edge_runtime",
        }
    }

    /// Whether deleting an instance destroys data that Git does not hold; in a dispatch namespace, the Workers of others.
    pub fn holds_data(self) -> bool {
        matches!(self, Self::Kv | Self::R2 | Self::D1 | Self::Queue | Self::DispatchNamespace)
    }

    /// Whether its instances live on hosts.
    pub fn is_of_hosts(self) -> bool {
        matches!(
            self,
            Self::Package
                | Self::Directory
                | Self::File
                | Self::Unit
                | Self::Container
                | Self::Compose
                | Self::Pm2
                | Self::TunnelConnector
                | Self::EdgeRuntime
        )
    }

    /// Whether it needs a whole system: a host whose paths are taken beneath a folder has none of its own.
    pub fn needs_a_system(self) -> bool {
        self.is_of_hosts() && !matches!(self, Self::Directory | Self::File)
    }

    /// Whether being there already is no reason not to take it over: nothing of it is overwritten, and nothing of it goes
    /// when it is no longer defined.
    pub fn is_shared(self) -> bool {
        self == Self::Package
    }

    /// What becomes of an instance on a host that is no longer defined, for people; `None` for what lives elsewhere.
    pub fn when_it_goes(self) -> Option<&'static str> {
        Some(match self {
            Self::Package => {
                "removed by dpkg, its configuration kept; one that was there before, or that another environment wants, stays"
            }
            Self::Directory => "removed where it is empty; else it stays, with a warning, and is no longer seen to",
            Self::File => "deleted, its last 10 versions kept on the host; one that was edited since stays, and the plan says so",
            Self::Unit => {
                "stopped, disabled, its text deleted; one that was edited since stays, and so does one that a package brings, as it is"
            }
            Self::Container => "stopped and removed; its volumes and its image stay",
            Self::Compose => "stopped and removed, its networks with it; its volumes and its images stay",
            Self::Pm2 => "stopped and deleted from PM2, and from what PM2 brings back after a reboot; its logs stay",
            Self::TunnelConnector => "stopped and disabled; its unit, its token and its rules are deleted",
            Self::EdgeRuntime => {
                "stopped and disabled; its unit and its token are deleted, and what was deployed stays in `/var/lib`"
            }
            _ => return None,
        })
    }

    /// How an instance is known as ours.
    pub fn identity(self) -> Identity {
        match self {
            Self::Worker | Self::Dns | Self::CacheRule => Identity::Mark,
            // The manifest on the host is the mark.
            _ if self.is_of_hosts() => Identity::Mark,
            _ => Identity::Id,
        }
    }

    /// Whether an instance can be called otherwise.
    pub fn renaming(self) -> Renaming {
        match self {
            Self::Kv
            | Self::Queue
            | Self::QueueConsumer
            | Self::Hyperdrive
            | Self::Tunnel
            | Self::VpcService
            | Self::MtlsCertificate
            | Self::Dns
            | Self::CacheRule => Renaming::InPlace,
            Self::R2 | Self::D1 | Self::DispatchNamespace => Renaming::Refused,
            Self::Domain | Self::Worker => Renaming::Replaced,
            Self::Package | Self::Directory | Self::File | Self::Unit => Renaming::Replaced,
            Self::Container | Self::Compose | Self::Pm2 => Renaming::Replaced,
            Self::TunnelConnector | Self::EdgeRuntime => Renaming::Replaced,
        }
    }

    /// The property that holds what an instance is called at the target.
    pub fn claim_field(self) -> &'static str {
        match self {
            Self::Kv => "title",
            Self::Queue | Self::QueueConsumer => "queue_name",
            Self::Domain => "hostname",
            Self::Worker => "script",
            Self::Directory | Self::File => "path",
            Self::CacheRule => "ref",
            Self::Compose => "project",
            Self::DispatchNamespace => "namespace_name",
            Self::R2 | Self::D1 | Self::Hyperdrive | Self::Tunnel | Self::VpcService | Self::MtlsCertificate | Self::Dns => {
                "name"
            }
            Self::Package | Self::Unit | Self::Container | Self::Pm2 => "name",
            Self::TunnelConnector | Self::EdgeRuntime => "name",
        }
    }

    /// How a Worker is bound to an instance; `None` for what no Worker is bound to so.
    pub fn binding(self) -> Option<Bound> {
        let (sort, field, attribute) = match self {
            Self::Kv => ("kv_namespace", "namespace_id", "id"),
            Self::R2 => ("r2_bucket", "bucket_name", "name"),
            Self::D1 => ("d1", "database_id", "id"),
            Self::Queue => ("queue", "queue_name", "name"),
            Self::Hyperdrive => ("hyperdrive", "id", "id"),
            Self::VpcService => ("vpc_service", "service_id", "id"),
            Self::MtlsCertificate => ("mtls_certificate", "certificate_id", "id"),
            Self::DispatchNamespace => ("dispatch_namespace", "namespace", "name"),
            Self::QueueConsumer | Self::Tunnel | Self::Dns | Self::Domain | Self::CacheRule | Self::Worker => return None,
            Self::Package | Self::Directory | Self::File | Self::Unit => return None,
            Self::Container | Self::Compose | Self::Pm2 | Self::TunnelConnector | Self::EdgeRuntime => return None,
        };
        Some(Bound { sort, field, attribute })
    }

    /// The property that names a Worker by its name at the target.
    pub fn worker_field(self) -> Option<&'static str> {
        match self {
            Self::Domain => Some("service"),
            Self::QueueConsumer => Some("script_name"),
            _ => None,
        }
    }

    /// The properties that cannot be changed on a thing: another one is made in its place, under another id, before the old
    /// one goes.
    pub fn remade_by(self) -> &'static [&'static str] {
        match self {
            Self::MtlsCertificate => &["certificates", "private_key", "ca", "name"],
            _ => &[],
        }
    }

    /// Whether `field` is one thing as a whole, in which an item that somebody added is drift. In other tables others may
    /// have items of their own, and the executor keeps them.
    ///
    /// The code of a Worker and the flags that say how it runs are uploaded together and mean something only together.
    pub fn is_whole(self, field: &str) -> bool {
        match self {
            Self::Worker => matches!(field, "modules" | "compatibility_flags" | "assets"),
            Self::File => field == "secrets",
            Self::MtlsCertificate => field == SUPERSEDED,
            // The executor shows what it was asked for, and nobody adds to that.
            _ => self.is_of_hosts(),
        }
    }

    /// Whether `field` is a set of items, each of which is somebody's: what of it is not ours is kept, item by item.
    pub fn is_set(self, field: &str) -> bool {
        self == Self::Worker && matches!(field, "bindings" | "crons" | "routes")
    }

    /// Whether a change of `field` makes a new version, which can be given a share of the requests.
    pub fn is_versioned(self, field: &str) -> bool {
        const FIELDS: [&str; 10] = [
            "main_module",
            "modules",
            "compatibility_date",
            "compatibility_flags",
            "bindings",
            "limits",
            "placement",
            "exports",
            "migration_tag",
            "assets",
        ];
        self == Self::Worker && FIELDS.contains(&field)
    }

    /// Whether a change of `field` takes effect for all requests at once, since it is about the classes of Durable Objects.
    pub fn is_lifecycle(self, field: &str) -> bool {
        self == Self::Worker && matches!(field, "migration_tag" | "exports")
    }

    /// Whether the absence of `field` in a definition means "as it is", not "none".
    pub fn is_left_alone(self, field: &str) -> bool {
        matches!(self, Self::Directory | Self::File) && matches!(field, "owner" | "group")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
