//! A team's event stream, read in the background and kept for looking back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a test waits for an event before it fails; a loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// One server-sent event.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Its number, when it is durable.
    pub id: Option<i64>,
    /// Its name.
    pub kind: String,
    /// The whole payload.
    pub json: Value,
}

impl Frame {
    /// What happened, without who and when.
    pub fn data(&self) -> &Value {
        &self.json["data"]
    }

    /// Whether it ends this job.
    pub fn ends(&self, job: i64) -> bool {
        matches!(self.kind.as_str(), "sync.completed" | "sync.failed")
            && self.data()["job_id"] == job
    }
}

/// A stream that is being read.
pub struct Stream {
    frames: Arc<Mutex<Vec<Frame>>>,
    arrived: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Stream {
    /// Opens `url`; the answer must be a stream.
    pub async fn open(
        http: &reqwest::Client,
        url: &str,
        token: &str,
        last_event_id: Option<i64>,
    ) -> Self {
        let mut request = http.get(url).header("authorization", format!("Bearer {token}"));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let mut response = request.send().await.expect("the stream opens");
        assert_eq!(response.status(), 200, "{url}");
        let frames = Arc::new(Mutex::new(Vec::new()));
        let (told, arrived) = watch::channel(0);
        let log = frames.clone();
        let task = tokio::spawn(async move {
            let mut pending = String::new();
            while let Ok(Some(chunk)) = response.chunk().await {
                pending.push_str(std::str::from_utf8(&chunk).expect("frames are UTF-8"));
                while let Some(end) = pending.find("\n\n") {
                    let block: String = pending.drain(..end + 2).collect();
                    if let Some(frame) = parse(&block) {
                        log.lock().expect("no reader panicked").push(frame);
                        told.send_modify(|count| *count += 1);
                    }
                }
            }
        });
        Self { frames, arrived, task }
    }

    /// All that came so far.
    pub fn frames(&self) -> Vec<Frame> {
        self.frames.lock().expect("no reader panicked").clone()
    }

    /// Waits for the first frame, early or late, that fits.
    pub async fn wait(&self, what: &str, fits: impl Fn(&Frame) -> bool) -> Frame {
        self.wait_after(0, what, fits).await
    }

    /// The same among the frames from place `from` on.
    pub async fn wait_after(
        &self,
        from: usize,
        what: &str,
        fits: impl Fn(&Frame) -> bool,
    ) -> Frame {
        let mut arrived = self.arrived.clone();
        let search = async {
            loop {
                arrived.borrow_and_update();
                let found = self.frames().into_iter().skip(from).find(|frame| fits(frame));
                if let Some(frame) = found {
                    return Some(frame);
                }
                if arrived.changed().await.is_err() {
                    return None;
                }
            }
        };
        match timeout(PATIENCE, search).await {
            Ok(Some(frame)) => frame,
            ended => {
                let why = if ended.is_ok() { "the stream ended" } else { "nothing came" };
                panic!("waiting for {what}: {why}; seen: {:#?}", self.frames());
            }
        }
    }

    /// Waits until the server has closed the stream.
    pub async fn ended(mut self) -> Vec<Frame> {
        timeout(PATIENCE, &mut self.task).await.expect("it ends").expect("its reader is well");
        self.frames()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Comments and lone ids are no events.
fn parse(block: &str) -> Option<Frame> {
    let field =
        |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let kind = field("event")?.to_owned();
    let json = serde_json::from_str(field("data")?).expect("data is JSON");
    Some(Frame { id: field("id").map(|id| id.parse().expect("ids are numbers")), kind, json })
}
