//! What an executor does with an order for a directory that came to be there after it was planned.

use trunkline::agent::{Answer, Order, OrderResult, Ordered, Policy, Request, Task, ThingOrder, VERSION, Wanted, execute};
use trunkline::model::{Digest, Marker, Properties, Value};
use trunkline::plan::Precondition;

/// A request to make `/srv/data`, which was not there.
fn request() -> Request {
    let key: trunkline::model::InstanceKey = "production/directory.data@fra1".parse().unwrap();
    let revision: trunkline::model::Revision = format!("main@sha1:{}", "a".repeat(40)).parse().unwrap();
    let fields = Properties::from([("path".to_owned(), Value::text("/srv/data")), ("mode".to_owned(), Value::text("0755"))]);
    let operation = uuid::Uuid::now_v7().to_string();
    let order = ThingOrder {
        key: key.clone(),
        from: None,
        claim: "/srv/data".to_owned(),
        precondition: Precondition::Absent,
        marker: Marker { key, revision, desired: Digest::of(b"desired"), operation },
        wanted: Some(Box::new(Wanted { fields, contents: Default::default(), values: Default::default() })),
    };
    let orders = vec![Order { after: Default::default(), what: Ordered::Thing(order) }];
    Request { version: VERSION, environment: "production".parse().unwrap(), heals: true, task: Task::Apply { epoch: 1, orders } }
}

#[test]
fn a_directory_that_somebody_made_meanwhile_is_a_conflict_and_stays_theirs() {
    for is_there in [true, false] {
        let root = tempfile::tempdir().unwrap();
        if is_there {
            std::fs::create_dir_all(root.path().join("srv/data")).unwrap();
        }
        let policy = Policy::local(Some(root.path().to_owned()), "/nonexistent".into());
        let Answer::Applied(results) = execute(request(), &policy) else { panic!("it was refused as a whole") };
        assert_eq!(matches!(results.as_slice(), [OrderResult::Conflict(_)]), is_there, "{results:?}");
        assert_eq!(matches!(results.as_slice(), [OrderResult::Done { .. }]), !is_there, "{results:?}");
        assert!(root.path().join("srv/data").is_dir());
    }
}
