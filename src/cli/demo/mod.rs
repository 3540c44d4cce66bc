//! `demo`: everything on loopback from nothing but this binary.
//!
//! Two edges (one plays the account at Cloudflare), a folder that plays a host's `/`, a bare repository made from the
//! example, and the daemon that `run` runs.

mod evidence;
mod install;
mod stage;
mod story;

use std::path::{Path, PathBuf};

use super::arguments::{Demo, Global};
use super::output::{Failure, note, show};
use super::{NO_RUNTIME, OK, daemon_run};
use stage::Stage;

pub(super) async fn demo(global: &Global, verb: &Demo) -> Result<u8, Failure> {
    let stop = daemon_run::stop_on_signal()?;
    let workerd = install::workerd(verb.no_install);
    let has_runtime = workerd.is_some();
    let (folder, _temporary) = folder(verb)?;
    let stage = tokio::select! {
        stage = begin(&folder, workerd.as_deref()) => stage?,
        () = stop.cancelled() => return Err(Failure::new("stopped")),
    };
    let told = if verb.once {
        tokio::select! {
            told = story::tell(&stage, has_runtime, global.colour()) => told,
            () = stop.cancelled() => Err(Failure::new("stopped")),
        }
    } else {
        let introduced = introduce(&stage);
        stop.cancelled().await;
        introduced
    };
    stage.stop().await?;
    told?;
    if has_runtime {
        return Ok(OK);
    }
    note("no workerd: the Workers were deployed and did not run; exit status 3");
    Ok(NO_RUNTIME)
}

/// The folder for the demo's files, and what removes it at the end, where it is not the user's.
fn folder(verb: &Demo) -> Result<(PathBuf, Option<tempfile::TempDir>), Failure> {
    match &verb.folder {
        Some(folder) => {
            let taken = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
            if taken {
                return Err(Failure::new(format!("{} is not empty", folder.display())).hint(Some("name a new folder".to_owned())));
            }
            std::fs::create_dir_all(folder)?;
            Ok((folder.canonicalize()?, None))
        }
        None => {
            let folder = tempfile::Builder::new().prefix("trunkline-demo-").tempdir()?;
            Ok((folder.path().to_owned(), Some(folder)))
        }
    }
}

/// Makes the world, pushes the first commit, and starts the daemon.
async fn begin(folder: &Path, workerd: Option<&Path>) -> Result<Stage, Failure> {
    let places = stage::make(folder)?;
    let edges = stage::start_edges(&places, workerd).await?;
    stage::git(&places, &places.clone, &["add", "--all"])?;
    stage::git(&places, &places.clone, &["commit", "--quiet", "--message", "Ads platform: staging and production"])?;
    stage::git(&places, &places.clone, &["push", "--quiet", "--set-upstream", "origin", "main"])?;
    stage::start_daemon(places, edges)
}

/// Where things are, and what to try.
fn introduce(stage: &Stage) -> Result<(), Failure> {
    let places = &stage.places;
    let (clone, data, account) = (places.clone.display(), places.data.display(), stage.edges.account.http_addr());
    // By its path: whoever began with `cargo run` has no `trunkline` on the PATH.
    let program = std::env::current_exe().map_or_else(|_| "trunkline".to_owned(), |path| path.display().to_string());
    show(&format!(
        "\nEverything runs. Ctrl-C ends it.\n\n\
         repository   {} (a bare remote; yours to change is the clone {clone})\n\
         account      http://{} speaks the Workers REST API; requests for Workers go to http://{account}\n\
         edge         http://{} and http://{}\n\
         host         {} is its /\n\
         data         {data}\n\n\
         Try, in another terminal:\n\
         \x20 curl -H 'Host: ads-api.example.com' http://{account}/\n\
         \x20 cd {clone}\n\
         \x20 sed -i 's/^BANNER = .*/BANNER = \"Hello\"/' bases/ads/workers.toml && git commit -qam 'Greet' && git push -q\n\
         \x20 curl -H 'Host: ads-api.example.com' http://{account}/\n\
         \x20 {program} status --data {data}\n\
         \x20 git revert --no-edit HEAD && git push -q\n\
         \x20 {program} history --data {data}\n",
        places.remote.display(),
        stage.edges.account.api_addr(),
        stage.edges.edge.api_addr(),
        stage.edges.edge.http_addr(),
        places.host.display(),
    ))
}
