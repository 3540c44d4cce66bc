//! Whatever the definitions say: applied, there is nothing left to do; imported, they come to the same.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::account::{Account, lines};
use super::generated::{BASE, SECRETIVE, Written, of_each, text_of};

/// How many sets of definitions; each has some of every kind.
const CASES: u32 = 4;

/// One of each kind, and some more of whichever.
fn definitions() -> impl Strategy<Value = Vec<Written>> {
    let more = proptest::collection::vec(proptest::strategy::Union::new(of_each()), 0..12);
    // An account takes a certificate once.
    let further = |written: &Written| written.kind != "mtls_certificate";
    (of_each(), more).prop_map(move |(each, more)| each.into_iter().chain(more.into_iter().filter(further)).collect())
}

async fn holds(tables: &[Written]) -> Result<(), TestCaseError> {
    let mut account = Account::start().await;
    let is_secretive = |(_, written): &(usize, &Written)| SECRETIVE.contains(&written.kind);
    let open = text_of(tables.iter().enumerate().filter(|table| !is_secretive(table)));
    let secretive = text_of(tables.iter().enumerate().filter(is_secretive));
    account.define(&format!("{BASE}{open}"));
    account.write("environments/p/secretive.toml", &secretive);
    account.apply().await;
    for deep in [false, true] {
        let (_, planned) = account.plan(deep).await;
        prop_assert_eq!(lines(&planned), [""; 0], "deep: {}", deep);
        prop_assert!(planned.blocked.is_empty() && planned.orphaned.is_empty(), "{:#?}", planned);
    }
    let owned = account.world.inventory.len();

    // Somebody without a record of it reads the account. What has a part that cannot be read is a person's to write.
    account.world.inventory.clear();
    let imported = account.import().await;
    prop_assert!(imported.left.is_empty(), "{:#?}", imported.left);
    let (_, planned) = account.plan(true).await;
    prop_assert_eq!(lines(&planned), [""; 0], "{:#?}", imported.files.iter().map(|file| &file.text).collect::<Vec<_>>());
    prop_assert!(planned.blocked.is_empty(), "{:#?}", planned.blocked);
    let left_to_a_person = tables.iter().filter(|written| SECRETIVE.contains(&written.kind)).count();
    prop_assert_eq!(account.world.inventory.len(), owned - left_to_a_person, "everything else is ours again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_is_as_written_and_what_is_imported_is_as_applied() {
    let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 60, ..Config::default() };
    let outcome = TestRunner::new(config)
        .run(&definitions(), |tables| tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(holds(&tables))));
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
