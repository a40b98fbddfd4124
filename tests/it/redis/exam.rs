//! The exams that the embedded queue and lock sit, too.

use vz_sync_actors::conformance::{due_queue as queue, lock as locks};

use super::Ground;

async fn a_queue() -> queue::Subject {
    let ground = Ground::new().await;
    queue::Subject { queue: ground.queue.clone(), pace: ground.pace() }
}

async fn a_lock() -> locks::Subject {
    let ground = Ground::new().await;
    locks::Subject { lock: ground.lock.clone(), pace: ground.pace() }
}

vz_sync_actors::due_queue_exam!(
    [tokio::test(flavor = "multi_thread", worker_threads = 2)],
    a_queue()
);
vz_sync_actors::lock_exam!([tokio::test(flavor = "multi_thread", worker_threads = 2)], a_lock());
