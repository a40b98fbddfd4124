//! Bodies that are far longer than they should be.

use vz_sync::simulator::Fault;

use crate::support::trouble::{Meets, Trouble};

/// A number of this process's memory, in bytes.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect(field);
    let kilobytes: u64 = line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().expect("a number");
    kilobytes * 1024
}

/// Real bytes against the usual limit of 256 MiB. Service and platform are both in this process,
/// so that its memory bounds the service's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_megabytes() {
    let scene = Trouble::of(&Fault::Huge { bytes: 300_000_000 });
    let before = memory("VmRSS");
    // Since the last reset, not since the start.
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux resets the peak");
    let scene = scene.strikes(Meets::End("invalid too_long")).await;
    let grown = memory("VmHWM").saturating_sub(before);
    let sent = scene.world.simulator().stats().report().methods["getbasicenvsinfo"].bytes_out;
    assert!(sent > 300_000_000, "control: it was on its way: {sent}");
    assert!(grown < 96 << 20, "memory grew by {grown} bytes");
    assert_eq!(scene.world.served().await, scene.before, "good rows stay");
    scene.recovers().await;
}

/// A terabyte in a gigabyte, of which no more is unpacked than the limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gzip_bomb() {
    Trouble::of(&Fault::GzipBomb { bytes: 1 << 40 })
        .with("VZ_SYNC_LIMITS__MAX_BODY_MIB", "2")
        .meets(Meets::End("invalid too_long"))
        .await;
}

/// Control: as long as it stays below the limit, it is an answer like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_body_and_a_packed_one_below_the_limit() {
    for fault in [Fault::Huge { bytes: 5_000_000 }, Fault::GzipBomb { bytes: 1_500_000 }] {
        Trouble::of(&fault).meets(Meets::Success).await;
    }
}
