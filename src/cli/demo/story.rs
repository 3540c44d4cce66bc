//! The story of `demo --once`: apply, change, plan, the live Worker, revert, history. Each step shows its evidence, and
//! the first that is not so ends the story with an error.

use std::process::Command;

use super::super::output::{Failure, show};
use super::evidence::{answer_with, ready_at};
use super::stage::{Stage, git};

const OLD: &str = "Summer sale: 20% off";
const NEW: &str = "Autumn sale: 30% off";
const FILE: &str = "bases/ads/workers.toml";
/// The Worker that shows the change, in production.
const HOST: &str = "ads-api.example.com";

struct Teller<'a> {
    stage: &'a Stage,
    client: reqwest::Client,
    has_runtime: bool,
    colour: bool,
    step: usize,
}

/// Tells the story.
pub(super) async fn tell(stage: &Stage, has_runtime: bool, colour: bool) -> Result<(), Failure> {
    let client = reqwest::Client::builder().no_proxy().build().map_err(|error| Failure::of(&error))?;
    let mut teller = Teller { stage, client, has_runtime, colour, step: 0 };
    teller.first_apply().await?;
    teller.plan_of_a_change()?;
    teller.change().await?;
    teller.revert().await?;
    teller.history()?;
    show("\nEvery step was as it should be.")
}

impl Teller<'_> {
    fn title(&mut self, text: &str) -> Result<(), Failure> {
        self.step += 1;
        let (bold, reset) = if self.colour { ("\u{1b}[1m", "\u{1b}[0m") } else { ("", "") };
        show(&format!("\n{bold}{}. {text}{reset}", self.step))
    }

    fn git(&self, arguments: &[&str]) -> Result<String, Failure> {
        git(&self.stage.places, &self.stage.places.clone, arguments)
    }

    fn head(&self) -> Result<String, Failure> {
        Ok(self.git(&["rev-parse", "HEAD"])?.trim().to_owned())
    }

    async fn first_apply(&mut self) -> Result<(), Failure> {
        self.title("The first commit becomes running Workers and configured files")?;
        show(&indent(&self.git(&["log", "--oneline"])?))?;
        for line in ready_at(&self.stage.settings, &self.head()?, 2).await? {
            show(&format!("  {line}"))?;
        }
        self.live(OLD).await?;
        let path = self.stage.places.host.join("etc/ads-engine/config.toml");
        let text =
            std::fs::read_to_string(&path).map_err(|error| Failure::new(format!("{} is not there: {error}", path.display())))?;
        let rendered = text.lines().find(|line| line.starts_with("environment")).unwrap_or_default();
        if rendered != "environment = \"production\"" {
            return Err(Failure::new(format!("{} does not hold what its template says: {rendered:?}", path.display())));
        }
        show(&format!("  host file /etc/ads-engine/config.toml: {rendered}"))
    }

    /// The Worker answers `wanted`, on both planes.
    async fn live(&self, wanted: &str) -> Result<(), Failure> {
        if !self.has_runtime {
            return show("  (no workerd: the Workers are deployed and do not run)");
        }
        for (name, http) in [("account", self.stage.edges.account.http_addr()), ("edge", self.stage.edges.edge.http_addr())] {
            let (text, _) = answer_with(&self.client, http, HOST, wanted).await?;
            show(&format!("  GET http://{HOST}/ on the {name}: {text}"))?;
        }
        Ok(())
    }

    fn plan_of_a_change(&mut self) -> Result<(), Failure> {
        self.title("A change is made in a clone; its plan, before anything is pushed")?;
        let path = self.stage.places.clone.join(FILE);
        let text = std::fs::read_to_string(&path)?;
        if !text.contains(OLD) {
            return Err(Failure::new(format!("{FILE} does not hold {OLD:?}")));
        }
        std::fs::write(&path, text.replace(OLD, NEW))?;
        show(&indent(&self.git(&["diff", "--unified=0", "--", FILE])?))?;
        let (status, text) =
            self.trunkline(&["plan", "production", "--worktree", &self.stage.places.clone.display().to_string()])?;
        show(&indent(&text))?;
        if status != 2 || !text.contains(NEW) {
            return Err(Failure::new(format!("the plan's exit status is {status}, and 2 stands for changes")));
        }
        show("  exit status 2: there are changes")
    }

    async fn change(&mut self) -> Result<(), Failure> {
        self.title("Committed and pushed: what is merged is what runs")?;
        self.git(&["commit", "--quiet", "--all", "--message", "Autumn campaign"])?;
        let begun = std::time::Instant::now();
        self.git(&["push", "--quiet"])?;
        if self.has_runtime {
            answer_with(&self.client, self.stage.edges.account.http_addr(), HOST, NEW).await?;
            show(&format!("  from the push to the answering Worker: {} ms", begun.elapsed().as_millis()))?;
        }
        for line in ready_at(&self.stage.settings, &self.head()?, 2).await? {
            show(&format!("  {line}"))?;
        }
        self.live(NEW).await
    }

    async fn revert(&mut self) -> Result<(), Failure> {
        self.title("Rolling back is reverting")?;
        self.git(&["revert", "--no-edit", "HEAD"])?;
        self.git(&["push", "--quiet"])?;
        for line in ready_at(&self.stage.settings, &self.head()?, 2).await? {
            show(&format!("  {line}"))?;
        }
        self.live(OLD).await
    }

    fn history(&mut self) -> Result<(), Failure> {
        self.title("The history, in Git and in the store")?;
        self.git(&["fetch", "--quiet", "origin", "refs/notes/trunkline:refs/notes/trunkline"])?;
        let log = self.git(&["log", "--notes=trunkline", "--format=%h %s%n%N"])?;
        show(&indent(&log.lines().filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect::<String>()))?;
        let (status, text) = self.trunkline(&["history"])?;
        show(&indent(&text))?;
        let generations = text.lines().filter(|line| line.contains("apply")).count();
        if status != 0 || generations != 6 || log.matches("\"generation\"").count() != 6 {
            return Err(Failure::new(format!(
                "two environments with three generations each were expected, and {generations} are recorded"
            )));
        }
        Ok(())
    }

    /// This program, run as a person would run it beside the daemon: its exit status and what it printed.
    fn trunkline(&self, arguments: &[&str]) -> Result<(i32, String), Failure> {
        let settings = &self.stage.settings;
        let output = Command::new(std::env::current_exe()?)
            .args(arguments)
            .arg("--data")
            .arg(&settings.data)
            .args(settings.identity.iter().flat_map(|identity| [std::ffi::OsStr::new("--identity"), identity.as_os_str()]))
            .env("CREDENTIALS_DIRECTORY", self.stage.places.credentials())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let status = output.status.code().unwrap_or(-1);
        if status == 1 {
            return Err(Failure::new(format!(
                "trunkline {} failed: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            )));
        }
        Ok((status, text))
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
