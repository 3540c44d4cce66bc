//! What exists elsewhere to definitions: files of wrangler as data cases, live accounts as round trips, and the verbs.

#[path = "import/account.rs"]
mod account;
#[path = "import/bad_account.rs"]
mod bad_account;
#[path = "import/cases.rs"]
mod cases;
#[path = "import/kinds.rs"]
mod kinds;
#[path = "import/round_trips.rs"]
mod round_trips;
#[path = "import/scene.rs"]
mod scene;
#[path = "import/verb.rs"]
mod verb;
#[path = "import/zones.rs"]
mod zones;
