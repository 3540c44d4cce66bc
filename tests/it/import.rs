//! Files of wrangler to definitions: data cases, and the verb.

#[path = "import/cases.rs"]
mod cases;
#[path = "import/verb.rs"]
mod verb;
