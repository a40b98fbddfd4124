//! Whether a request went over a new connection or over one that had lain idle in the pool.
//!
//! The pool opens a connection within the task that waits for it, and only when no idle one is at
//! hand; so a mark in that task tells the two apart. A request that started a connection and then
//! got an idle one counts as fresh, which only costs it the retry.

use std::cell::Cell;
use std::task::{Context, Poll};

use tower::{Layer, Service};

tokio::task_local! {
    static FRESH: Cell<bool>;
}

/// Runs a request and tells whether it started a connection.
pub(super) async fn watch<F: Future>(request: F) -> (F::Output, bool) {
    FRESH
        .scope(Cell::new(false), async {
            let output = request.await;
            (output, FRESH.with(Cell::get))
        })
        .await
}

/// Marks the task in which a connection is started.
#[derive(Debug, Clone, Copy)]
pub(super) struct MarkFresh;

impl<S> Layer<S> for MarkFresh {
    type Service = Marking<S>;

    fn layer(&self, inner: S) -> Marking<S> {
        Marking(inner)
    }
}

/// A connector that marks.
#[derive(Debug, Clone)]
pub(super) struct Marking<S>(S);

impl<S, T> Service<T> for Marking<S>
where
    S: Service<T>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, target: T) -> S::Future {
        // Outside of a watched request there is nobody to tell.
        let _ = FRESH.try_with(|fresh| fresh.set(true));
        self.0.call(target)
    }
}
