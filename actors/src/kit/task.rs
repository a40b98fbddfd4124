//! Tracked tasks and timers: they belong to one incarnation of an actor and end with it.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use ractor::ActorRef;
use tokio::task::AbortHandle;

use super::line::{Envelope, deliver};
use super::mailbox::Message;
use super::panic_text;
use super::vitals::Vitals;

/// How a tracked task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEnd<T> {
    /// It finished.
    Done(T),
    /// It panicked, and said this.
    Panicked(String),
    /// It was aborted, by its handle or by the end of the runtime.
    Aborted,
}

/// Keeps a tracked task alive; dropping it aborts the task.
#[derive(Debug)]
#[must_use = "dropping the handle aborts the task"]
pub struct TaskHandle(AbortHandle);

impl TaskHandle {
    /// Aborts the task now; it reports [`TaskEnd::Aborted`] unless it has ended already.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for TaskHandle {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps a timer armed; dropping it calls the message off, even one that waits in the mailbox.
#[derive(Debug)]
#[must_use = "dropping the handle calls the message off"]
pub struct TimerHandle {
    task: AbortHandle,
    cancelled: Arc<AtomicBool>,
}

impl TimerHandle {
    pub(super) fn new(task: AbortHandle, cancelled: Arc<AtomicBool>) -> Self {
        Self { task, cancelled }
    }
}

impl Drop for TimerHandle {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Release);
        self.task.abort();
    }
}

/// Sends the report exactly once, whatever happens to the task.
struct Reporter<M: Message, R, T>
where
    R: FnOnce(TaskEnd<T>) -> M,
{
    actor: ActorRef<Envelope<M>>,
    vitals: Arc<Vitals>,
    report: Option<R>,
    end: Option<TaskEnd<T>>,
}

impl<M: Message, R, T> Reporter<M, R, T>
where
    R: FnOnce(TaskEnd<T>) -> M,
{
    /// By value, so that the task owns the whole reporter and not only a field of it.
    fn finish(mut self, end: TaskEnd<T>) {
        self.end = Some(end);
    }
}

impl<M: Message, R, T> Drop for Reporter<M, R, T>
where
    R: FnOnce(TaskEnd<T>) -> M,
{
    fn drop(&mut self) {
        if let Some(report) = self.report.take() {
            let end = self.end.take().unwrap_or(TaskEnd::Aborted);
            deliver(&self.actor, &self.vitals, report(end), None);
        }
        // After the report is in the mailbox, so that the actor is never seen idle in between.
        self.vitals.task_ended();
    }
}

pub(super) fn run<M, T, F, R>(
    actor: ActorRef<Envelope<M>>,
    vitals: Arc<Vitals>,
    future: F,
    report: R,
) -> TaskHandle
where
    M: Message,
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
    R: FnOnce(TaskEnd<T>) -> M + Send + 'static,
{
    vitals.task_started();
    let reporter = Reporter { actor, vitals, report: Some(report), end: None };
    let task = tokio::spawn(async move {
        // Owned by the task from the start: one aborted before its first poll reports too.
        let end = match AssertUnwindSafe(future).catch_unwind().await {
            Ok(value) => TaskEnd::Done(value),
            Err(payload) => TaskEnd::Panicked(panic_text(payload)),
        };
        reporter.finish(end);
    });
    TaskHandle(task.abort_handle())
}
