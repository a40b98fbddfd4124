//! The exams that the in-memory store sits, too.

use super::Ground;

async fn subject() -> vz_sync_actors::conformance::StoreSubject {
    Ground::new().await.subject()
}

vz_sync_actors::store_exam!([tokio::test(flavor = "multi_thread", worker_threads = 2)], subject());
