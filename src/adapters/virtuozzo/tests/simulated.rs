//! The client against the simulator, which was written from the same facts by other means: where
//! the two disagree, one of them misread the platform.

use time::macros::datetime;
use vz_sync_actors::ports::platform::{ActionQuery, Lookup};

use super::*;
use crate::simulator::{self, Fault, FaultRule, SimulatorOptions};

const ENVIRONMENTS: usize = 40;

/// A bench whose server is the simulator; the scripted one stays unused.
async fn bench() -> (Bench, simulator::Simulator) {
    let mut options = SimulatorOptions::uniform(1, ENVIRONMENTS, 3);
    options.wide = true;
    let (uid, token) = (options.accounts[0].uid, options.accounts[0].token.clone());
    let simulator = simulator::start(options).await.expect("a simulator");
    let mut bench = Bench::new(Server::start([]).await);
    bench.access = Access {
        owner_uid: Some(uid),
        session: SecretString::from(token),
        ..access(simulator.base_url())
    };
    (bench, simulator)
}

#[tokio::test]
async fn full_lazy_and_single_answers_agree() {
    let (bench, simulator) = bench().await;
    let account = bench.platform.account(&bench.access).await.expect("an account");
    assert_eq!(Some(account.uid), bench.access.owner_uid);
    let mut sink = Collect(Vec::new());
    let empty = Baseline::default();
    let listing =
        bench.platform.environments(&bench.access, ListingMethod::Basic, &empty, &mut sink).await;
    let listing = listing.expect("a listing");
    assert!(listing.completeness.is_complete());
    let outlines = bench.platform.outlines(&bench.access).await.expect("outlines");
    assert_eq!((sink.0.len(), outlines.outlines.len()), (ENVIRONMENTS, ENVIRONMENTS));
    for (element, outline) in sink.0.iter().zip(&outlines.outlines) {
        let Element::Environment(listed) = element else { panic!("{element:?}") };
        assert!(listed.malformed_nodes.is_empty());
        assert_eq!(listed.environment.outline_version, Some(outline.version));
        let found = bench.platform.environment(&bench.access, &outline.env_name).await;
        let Ok(Lookup::Found { element: Element::Environment(found), .. }) = found else {
            panic!("{found:?}")
        };
        assert_eq!(found.environment.source_version, listed.environment.source_version);
        assert_eq!(found.nodes, listed.nodes);
    }
    let gone = bench.platform.environment(&bench.access, "no-such-environment").await;
    assert_eq!(gone, Ok(Lookup::Gone));
    let query = ActionQuery { from: datetime!(2000-01-01 00:00:00 UTC), start_row: 0, rows: 1000 };
    let page = bench.platform.actions(&bench.access, &query).await.expect("a page");
    assert!(page.malformed.is_empty() && page.completeness.is_complete());
    bench.platform.current_actions(&bench.access).await.expect("targets");
    simulator.shutdown().await;
}

#[tokio::test]
async fn both_listing_methods_give_the_same_items() {
    let (bench, simulator) = bench().await;
    let mut read = Vec::new();
    for method in [ListingMethod::Basic, ListingMethod::Whole] {
        let mut sink = Collect(Vec::new());
        let empty = Baseline::default();
        let listing = bench.platform.environments(&bench.access, method, &empty, &mut sink).await;
        assert!(listing.expect("a listing").completeness.is_complete());
        let items = sink.0.into_iter().map(|element| {
            let Element::Environment(element) = element else { panic!("{element:?}") };
            let mut nodes = element.nodes.expect("nodes");
            nodes.insert(0, element.environment);
            nodes.into_iter().map(|item| (item.id, item.source_version, item.payload))
        });
        read.push(items.flatten().collect::<Vec<_>>());
    }
    assert_eq!(read[0].len(), ENVIRONMENTS * 4);
    assert_eq!(read[0], read[1]);
    simulator.shutdown().await;
}

#[tokio::test]
async fn faults_are_what_they_are() {
    for (fault, expected) in [
        (Fault::Html, Err("html")),
        (Fault::Expired, Err("result_702")),
        (Fault::InfosNull, Err("infos_missing")),
        (Fault::Nested { code: 99 }, Err("result_99")),
        (Fault::Truncate { bytes: 20_000, clean: true }, Ok(false)),
        (Fault::MalformedElement { n: 3 }, Ok(true)),
        (Fault::Deep { levels: 5000 }, Ok(true)),
        (Fault::BadUtf8, Ok(true)),
        (Fault::Nul, Ok(true)),
        (Fault::UnknownStatus { code: 77, count: 2 }, Ok(true)),
        (Fault::EmptyList, Ok(true)),
    ] {
        let (bench, simulator) = bench().await;
        simulator.faults().add(FaultRule::new(fault.clone()));
        let mut sink = Collect(Vec::new());
        let empty = Baseline::default();
        let listing = bench
            .platform
            .environments(&bench.access, ListingMethod::Basic, &empty, &mut sink)
            .await;
        let got = listing.as_ref().map(|listing| listing.completeness.is_complete());
        let got = got.map_err(|failure| failure.code.as_str());
        assert_eq!(got, expected, "{fault:?}");
        simulator.shutdown().await;
    }
}
