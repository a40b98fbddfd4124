//! An actor that does what a test tells it, and writes down what happened to it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use vz_sync_actors::kit::*;

pub const SECOND: Duration = Duration::from_secs(1);

/// What happened, in order.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    pub fn write(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|l| *l == line).count()
    }
}

/// Writes down that it was dropped, like a message that must release something.
pub struct Token(pub Journal);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.write("token dropped");
    }
}

pub enum ProbeMsg {
    /// Answers how many messages this incarnation has handled.
    Count(Reply<u32>),
    /// Writes a line.
    Note(&'static str),
    /// Carries a token.
    Carry(#[expect(dead_code, reason = "only its drop matters")] Token),
    /// Is busy until the other end is used or dropped.
    Hold(oneshot::Receiver<()>),
    /// Drops the reply.
    Ignore(Reply<()>),
    /// Stops by itself.
    StopSelf,
    /// Runs a tracked task: waits for the signal; then returns, or panics on an error.
    Task(oneshot::Receiver<()>),
    /// Drops the task's handle.
    DropTask,
    /// The report of the task.
    Report(TaskEnd<&'static str>),
    /// Arms the timer, and disarms it.
    Arm(Duration),
    Disarm,
    /// The timer.
    Tick,
}

impl Message for ProbeMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Count(_) => "count",
            Self::Note(_) => "note",
            Self::Carry(_) => "carry",
            Self::Hold(_) => "hold",
            Self::Ignore(_) => "ignore",
            Self::StopSelf => "stop_self",
            Self::Task(_) => "task",
            Self::DropTask => "drop_task",
            Self::Report(_) => "report",
            Self::Arm(_) => "arm",
            Self::Disarm => "disarm",
            Self::Tick => "tick",
        }
    }

    fn abandoned(&self) -> bool {
        matches!(self, Self::Count(reply) if reply.is_closed())
    }
}

/// How `start` ends, by the number of starts before it.
type StartPlan = Arc<dyn Fn(usize) -> Result<(), ActorError> + Send + Sync>;

#[derive(Clone)]
pub struct ProbeArgs {
    pub name: String,
    pub journal: Journal,
    pub plan: StartPlan,
    /// `start` hangs until it is told to go on.
    pub hang: Option<Arc<Notify>>,
}

impl ProbeArgs {
    pub fn new(name: impl Into<String>, journal: &Journal) -> Self {
        let (name, journal) = (name.into(), journal.clone());
        Self { name, journal, plan: Arc::new(|_| Ok(())), hang: None }
    }
}

pub struct Probe {
    args: ProbeArgs,
    handled: u32,
    task: Option<TaskHandle>,
    timer: Option<TimerHandle>,
}

#[async_trait]
impl Behaviour for Probe {
    type Msg = ProbeMsg;
    type Args = ProbeArgs;
    const KIND: &'static str = "probe";
    const POOL_KIND: &'static str = "probe_pool";

    async fn start(args: ProbeArgs, ctx: &Context<Self>) -> Result<Self, ActorError> {
        let line = format!("{} starts", args.name);
        let before = args.journal.count(&line);
        args.journal.write(line);
        (args.plan)(before)?;
        if let Some(hang) = &args.hang {
            hang.notified().await;
        }
        ctx.set_details(serde_json::json!({ "handled": 0 }));
        Ok(Self { args, handled: 0, task: None, timer: None })
    }

    async fn handle(&mut self, message: ProbeMsg, ctx: &Context<Self>) -> Result<(), ActorError> {
        self.handled += 1;
        match message {
            ProbeMsg::Count(reply) => reply.send(self.handled),
            ProbeMsg::Note(line) => self.args.journal.write(line),
            ProbeMsg::Carry(_) => self.args.journal.write("carried"),
            ProbeMsg::Hold(until) => drop(until.await),
            ProbeMsg::Ignore(reply) => drop(reply),
            ProbeMsg::StopSelf => ctx.stop_self(),
            ProbeMsg::Task(until) => {
                let journal = Token(self.args.journal.clone());
                let work = async move {
                    let _journal = journal;
                    until.await.expect("told to panic");
                    "done"
                };
                self.task = Some(ctx.run_task(work, ProbeMsg::Report));
            }
            ProbeMsg::DropTask => self.task = None,
            ProbeMsg::Report(end) => self.args.journal.write(format!("{end:?}")),
            ProbeMsg::Arm(delay) => self.timer = Some(ctx.send_after(delay, ProbeMsg::Tick)),
            ProbeMsg::Disarm => self.timer = None,
            ProbeMsg::Tick => self.args.journal.write("tick"),
        }
        Ok(())
    }

    async fn stop(&mut self, _ctx: &Context<Self>) {
        self.args.journal.write(format!("{} stops", self.args.name));
    }
}

/// A roster whose wall clock starts at a fixed time and follows tokio's.
pub fn roster() -> Roster {
    let (start, base) = (Instant::now(), time::macros::datetime!(2026-11-01 12:00 UTC));
    Roster::new(Arc::new(move || base + start.elapsed()), 7)
}

pub fn probe(name: &str, bound: usize, roster: &Roster) -> Mailbox<ProbeMsg> {
    Mailbox::new::<Probe>(ActorId::root().child(name), bound, roster)
}

/// Backoff without chance: 100 ms, 200 ms, ... at most 1 s.
pub fn policy() -> RestartPolicy {
    RestartPolicy {
        base: Duration::from_millis(100),
        cap: SECOND,
        multiplier: 2.0,
        jitter: 0.0,
        intensity: 100,
        window: Duration::from_secs(30),
        reset_after: Duration::from_mins(1),
    }
}

/// A tree with one permanent probe.
pub async fn one_probe(
    bound: usize,
    policy: RestartPolicy,
) -> (Supervised, Mailbox<ProbeMsg>, Journal) {
    let (roster, journal) = (roster(), Journal::default());
    let mailbox = probe("probe", bound, &roster);
    let child = Child::permanent::<Probe>(&mailbox, ProbeArgs::new("probe", &journal), policy);
    let tree = Supervised::start(&roster, vec![child]).await.unwrap();
    (tree, mailbox, journal)
}

/// Waits on the paused clock, a millisecond at a time, and gives up after an hour of it.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_hours(1), "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Keeps an actor busy until the sender is used; returns once it is.
pub async fn hold(mailbox: &Mailbox<ProbeMsg>) -> oneshot::Sender<()> {
    let (release, held) = oneshot::channel();
    mailbox.cast(ProbeMsg::Hold(held)).unwrap();
    until("holds", || {
        let view = mailbox.vitals().view();
        view.current_message.is_some_and(|message| message.name == "hold")
    })
    .await;
    release
}

pub async fn count(mailbox: &Mailbox<ProbeMsg>) -> Result<u32, AskError> {
    mailbox.ask(SECOND, ProbeMsg::Count).await
}
