//! The release of workerd that goes with this release of ours: fetched from a registry of npm, and kept in the data folder.
//!
//! Goes in: a registry. Comes out: the program, or why there is none yet.
//!
//! **Invariant:** nothing is unpacked but the archive whose digest is compiled in, and of that nothing but the program;
//! nothing has the program's name before it is whole. No word of an answer is believed.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, BufReader, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha512};
use tokio_util::sync::CancellationToken;

use super::runtime::version_of;

/// The release of workerd that is fetched, by the number of its packages; the one that the tests run against.
pub const WORKERD: &str = "1.20261117.1";
/// Where it is fetched from, unless said otherwise.
pub const REGISTRY: &str = "https://registry.npmjs.org";
/// For how long nothing may come before a download is given up.
const SILENCE: Duration = Duration::from_secs(60);

/// The package for the machine that this is built for, without its scope.
#[cfg(target_arch = "aarch64")]
const PACKAGE: &str = "workerd-linux-arm64";
#[cfg(not(target_arch = "aarch64"))]
const PACKAGE: &str = "workerd-linux-64";

/// SHA-512 of the archive of each package, in base64, as the registry's own record of it says (`dist.integrity`).
const INTEGRITY: [(&str, &str); 2] = [
    ("workerd-linux-64", "gZLA8X11m/luZwn+YA3+mDu61vdxNJzpksP/QZqjydKTQ+VUCulsK5gtn9Bqst1p3KJu2kafQpJ1nDQv4B23jA=="),
    ("workerd-linux-arm64", "gxWngFojq41ULKNKb9rpWYvKotN5hT2I/xot+Bpy31cXzrwcTgtDLSMb2t75sW5BJxH7hihFvikgYb577kB3Zg=="),
];

/// What the program is called within the archive.
const PROGRAM: &[u8] = b"package/bin/workerd";
/// The archive has 45 MiB, the program 155.
const MAX_ARCHIVE_BYTES: u64 = 256 << 20;
const MAX_PROGRAM_BYTES: u64 = 1 << 30;
/// The pause after an attempt that failed; doubled up to the longest.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// Where the program is fetched from, and where to.
#[derive(Debug, Clone)]
pub struct Release {
    /// The edge's data folder.
    pub data: PathBuf,
    /// The registry, without a final slash: https, or on this machine.
    pub registry: String,
    /// For how long nothing may come before a download is given up.
    pub silence: Duration,
}

/// What is to be told of a download.
#[derive(Debug)]
pub enum Fetching<'a> {
    /// So many bytes came, of so many where the registry says it.
    Came(u64, Option<u64>),
    /// An attempt failed; the next is made after the time.
    Failed(&'a FetchError, Duration),
}

/// Why the program was not fetched. `Display` never repeats the cause.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The registry would be asked in the clear, or is no address.
    #[error("`{0}` is no registry: it has to be an https address, or one on this machine")]
    Registry(String),
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made")]
    Client(#[source] reqwest::Error),
    /// The registry cannot be asked, or the download broke.
    #[error("{url} cannot be fetched")]
    Broken {
        /// What was asked for.
        url: String,
        /// The cause.
        source: reqwest::Error,
    },
    /// The registry answered with something else.
    #[error("{url} is answered with status {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
    },
    /// Nothing came for too long.
    #[error("nothing came from {url} for {} s", .silence.as_secs())]
    Silent {
        /// What was asked for.
        url: String,
        /// For how long.
        silence: Duration,
    },
    /// It is longer than any that is ours.
    #[error("{0} is longer than any archive of workerd")]
    TooLong(String),
    /// It is not the archive that was released.
    #[error("what came from {0} is not workerd {WORKERD}: its digest is another, and nothing of it was kept")]
    Digest(String),
    /// The archive has no program.
    #[error("the archive of workerd holds no program")]
    NoProgram,
    /// A file cannot be written or read.
    #[error("cannot use {}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It was told to stop.
    #[error("it was stopped")]
    Stopped,
}

impl Release {
    /// The release for the edge with this data folder.
    pub fn new(data: PathBuf, registry: &str) -> Self {
        Self { data, registry: registry.trim_end_matches('/').to_owned(), silence: SILENCE }
    }

    /// The packages, one for each sort of machine, and the SHA-512 of their archives as npm writes it into a lock file.
    pub fn packages() -> impl Iterator<Item = (String, String)> {
        INTEGRITY.iter().map(|(package, digest)| (format!("@cloudflare/{package}"), format!("sha512-{digest}")))
    }

    /// The program, where it is there and runs: that of this release, and whether it is; else that of another one, which
    /// serves until then.
    pub fn installed(&self) -> Option<(PathBuf, bool)> {
        let runs = |path: &Path| path.is_file() && version_of(path).is_ok();
        let own = self.program();
        if runs(&own) {
            return Some((own, true));
        }
        let mut others: Vec<PathBuf> =
            fs::read_dir(self.folder()).ok()?.flatten().map(|entry| entry.path().join("workerd")).collect();
        others.sort();
        others.into_iter().rev().find(|path| runs(path)).map(|path| (path, false))
    }

    /// Removes what other releases left. What cannot be removed is no reason to stop.
    pub fn sweep(&self) {
        for entry in fs::read_dir(self.folder()).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_name() != WORKERD && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let _ = fs::remove_dir_all(path);
            }
        }
    }

    /// Fetches the program, and tries again for as long as it takes; `None` once it is told to stop.
    pub async fn obtain(&self, stop: &CancellationToken, told: impl Fn(Fetching<'_>)) -> Option<PathBuf> {
        let mut pause = SHORTEST;
        loop {
            let attempt = tokio::select! {
                fetched = self.fetch(stop, |came, of| told(Fetching::Came(came, of))) => fetched,
                () = stop.cancelled() => return None,
            };
            match attempt {
                Ok(program) => return Some(program),
                Err(FetchError::Stopped) => return None,
                Err(error) => told(Fetching::Failed(&error, pause)),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return None,
            }
            pause = (pause * 2).min(LONGEST);
        }
    }

    /// One attempt. It may be dropped at any instant: what it leaves has no name that anybody looks for.
    ///
    /// # Errors
    /// [`FetchError`]; nothing has changed then.
    pub async fn fetch(&self, stop: &CancellationToken, came: impl Fn(u64, Option<u64>)) -> Result<PathBuf, FetchError> {
        let client = self.client()?;
        let folder = self.folder();
        let used = |path: &Path| {
            let path = path.to_owned();
            move |source| FetchError::File { path, source }
        };
        make_folder(&folder).map_err(used(&folder))?;
        let archive = folder.join(".incoming.tgz");
        let file = self.download(&client, &archive, came).await;
        let file = file.inspect_err(|_| drop(fs::remove_file(&archive)))?;
        let (program, stop) = (self.program(), stop.clone());
        let unpacked = tokio::task::spawn_blocking(move || {
            let unpacked = unpack(file, &program, &stop);
            let _ = fs::remove_file(&archive);
            unpacked.map(|()| program)
        });
        unpacked.await.map_err(|error| FetchError::File { path: folder, source: io::Error::other(error) })?
    }

    fn folder(&self) -> PathBuf {
        self.data.join("workerd")
    }

    fn program(&self) -> PathBuf {
        self.folder().join(WORKERD).join("workerd")
    }

    fn client(&self) -> Result<reqwest::Client, FetchError> {
        let url = reqwest::Url::parse(&self.registry).ok();
        let here = |host: &str| {
            host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        };
        let local = match url.as_ref().map(|url| (url.scheme(), url.host_str().unwrap_or_default())) {
            Some(("https", _)) => false,
            Some(("http", host)) if here(host) => true,
            _ => return Err(FetchError::Registry(self.registry.clone())),
        };
        let authorities = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|der| reqwest::Certificate::from_der(der.as_ref()));
        let authorities = authorities.collect::<Result<Vec<_>, _>>().map_err(FetchError::Client)?;
        let client = reqwest::Client::builder()
            .tls_certs_merge(authorities)
            .referer(false)
            .retry(reqwest::retry::never())
            .no_gzip()
            .connect_timeout(self.silence.min(Duration::from_secs(20)))
            .user_agent(concat!("trunkline/", env!("CARGO_PKG_VERSION")));
        // What a registry has elsewhere is taken from there: the digest decides, and nothing of ours is sent.
        let client = if local {
            client.no_proxy().redirect(reqwest::redirect::Policy::none())
        } else {
            client.https_only(true).redirect(reqwest::redirect::Policy::limited(5))
        };
        client.build().map_err(FetchError::Client)
    }

    /// The archive, whole and checked, read from its beginning.
    async fn download(&self, client: &reqwest::Client, to: &Path, came: impl Fn(u64, Option<u64>)) -> Result<File, FetchError> {
        let url = format!("{}/@cloudflare/{PACKAGE}/-/{PACKAGE}-{WORKERD}.tgz", self.registry);
        let silent = |_| FetchError::Silent { url: url.clone(), silence: self.silence };
        let broken = |source: reqwest::Error| FetchError::Broken { url: url.clone(), source: source.without_url() };
        let used = |source| FetchError::File { path: to.to_owned(), source };
        let mut response = tokio::time::timeout(self.silence, client.get(&url).send()).await.map_err(silent)?.map_err(broken)?;
        if response.status() != http::StatusCode::OK {
            return Err(FetchError::Status { url, status: response.status().as_u16() });
        }
        let whole = response.content_length();
        let mut file = File::options().read(true).write(true).create(true).truncate(true).mode(0o600).open(to).map_err(used)?;
        let mut hasher = Sha512::new();
        let mut size = 0;
        while let Some(chunk) = tokio::time::timeout(self.silence, response.chunk()).await.map_err(silent)?.map_err(broken)? {
            size += chunk.len() as u64;
            if size > MAX_ARCHIVE_BYTES {
                return Err(FetchError::TooLong(url));
            }
            hasher.update(&chunk);
            file.write_all(&chunk).map_err(used)?;
            came(size, whole);
        }
        let digest = STANDARD.encode(hasher.finalize());
        if !INTEGRITY.contains(&(PACKAGE, digest.as_str())) {
            return Err(FetchError::Digest(url));
        }
        file.rewind().map_err(used)?;
        Ok(file)
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o700))
}

/// Takes the program out of the archive, and puts it in its place as a whole.
fn unpack(archive: File, program: &Path, stop: &CancellationToken) -> Result<(), FetchError> {
    let folder = program.parent().unwrap_or(program);
    let incoming = folder.with_file_name(".incoming");
    let used = |source| FetchError::File { path: incoming.clone(), source };
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(BufReader::new(archive)));
    for entry in archive.entries().map_err(used)? {
        let entry = entry.map_err(used)?;
        if &*entry.path_bytes() != PROGRAM || !entry.header().entry_type().is_file() {
            continue;
        }
        match fs::remove_file(&incoming) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(used(error)),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o700).open(&incoming).map_err(used)?;
        let mut bytes = entry.take(MAX_PROGRAM_BYTES);
        let mut buffer = vec![0; 256 << 10];
        loop {
            if stop.is_cancelled() {
                let _ = fs::remove_file(&incoming);
                return Err(FetchError::Stopped);
            }
            let count = bytes.read(&mut buffer).map_err(used)?;
            if count == 0 {
                break;
            }
            file.write_all(&buffer[..count]).map_err(used)?;
        }
        let placed = file
            .set_permissions(Permissions::from_mode(0o755))
            .and_then(|()| file.sync_all())
            .and_then(|()| make_folder(folder))
            .and_then(|()| fs::rename(&incoming, program))
            .and_then(|()| File::open(folder)?.sync_all());
        return placed.map_err(used);
    }
    Err(FetchError::NoProgram)
}
