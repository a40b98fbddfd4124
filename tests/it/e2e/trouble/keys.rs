//! A key that is not what it was.

use serde_json::json;
use vz_sync::simulator::{Fault, FaultRule};

use crate::support::trouble::{LISTINGS, Meets, Trouble};

/// A collaborator sees a part of the account, and other people's environments besides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collaborators_key() {
    let rules = [
        FaultRule::new(Fault::DropFraction { fraction: 0.2 }).method(LISTINGS[0]),
        FaultRule::new(Fault::Result { code: 11, error: None }).method("getenvinfo"),
        FaultRule::new(Fault::Collaborator { foreign: 2, right: None }),
    ];
    Trouble::by(rules).meets(Meets::Doubt("invalid account_mismatch")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_other_than_the_owners() {
    let fault = Fault::Collaborator { foreign: 0, right: Some("USER".to_owned()) };
    let scene = Trouble::of(&fault).strikes(Meets::Doubt("invalid not_owner")).await;
    let served = scene.world.served().await;
    assert!(served.keys().eq(scene.before.keys()), "the same rows are served");
    let changed = served.iter().filter(|(id, row)| scene.before[*id] != **row).count();
    assert_eq!(changed, 1, "with what the platform says of them now");
    scene.recovers().await;
}

/// The team rests until the key is found to work again, by the prober or by its Owner.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_key_that_works_again() {
    let expired = FaultRule::new(Fault::Expired);
    let scene = Trouble::by([expired]).strikes(Meets::Refusal("auth result_702")).await;
    assert_eq!(scene.world.served().await, scene.before, "good rows stay");
    let refused = scene.world.owner("POST", "/teams/1/vz-sync", Some(&json!({}))).await;
    assert_eq!(refused.status, 409, "{}", refused.json);
    scene.recovers().await;
}

/// There is another method to list by.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_method_that_the_token_may_not_call() {
    let refused = FaultRule::new(Fault::NotAllowed).method(LISTINGS[0]);
    Trouble::by([refused]).meets(Meets::Success).await;
}

/// There is none: the key is of no use, although it is alive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_listing_method_that_the_token_may_call() {
    Trouble::of(&Fault::NotAllowed).meets(Meets::Refusal("auth listing_refused")).await;
}
