//! Looks at a broker as `vz-sync doctor` does: what is well, what is not, and
//! what to do about it. Changes nothing but what a start would declare anyway.

use std::time::Duration;

use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};
use lapin::protocol::{AMQPClass, connection, parse_class};
use lapin::tcp::AMQPUriTcpExt as _;
use lapin::types::{AMQPValue, FieldTable};
use secrecy::SecretString;
use serde::Serialize;
use tokio::time::timeout;
use vz_sync_actors::ports::job_bus::JobBus as _;
use vz_sync_actors::ports::{PortError, PortResult};

use super::address::Address;
use super::error::unavailable;
use super::link::LinkStatus;
use super::options::RabbitOptions;
use super::publisher::{Fate, Letter};
use super::rabbit::Rabbit;
use super::topology;
use super::topology::{JOBS, UNROUTED};
use super::wire::{dial, tls_config};

/// The first release whose quorum queues lose no dead letter on its way.
const OLDEST: (u32, u32) = (3, 10);

/// A routing key that nothing is bound for.
const NOBODY: &str = "doctor";

/// A `connection.start` is far smaller than this.
const LARGEST_START: usize = 64 * 1024;

/// What was found about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// Whether it is well.
    pub is_well: bool,
    /// What was seen.
    pub detail: String,
    /// What to do about it; empty when it is well.
    pub remedy: String,
}

/// What a broker says about itself before anybody logs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    /// Its name, `RabbitMQ` for RabbitMQ.
    pub product: String,
    /// Its version.
    pub version: String,
}

impl Server {
    fn release(&self) -> Option<(u32, u32)> {
        let mut numbers = self.version.split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

/// Looks at everything, in the order in which one thing stands on another;
/// ends at the first that nothing can stand on.
///
/// # Errors
/// Only for a URL that cannot be read.
pub async fn check(url: &SecretString, options: &RabbitOptions) -> PortResult<Vec<Finding>> {
    let address = Address::parse(url, options.heartbeat)?;
    let mut findings = Findings::default();
    match ask_server(&address, options).await {
        Ok(server) => findings.of_server(&server),
        Err(error) => {
            findings.bad("reachable", error.to_string(), "check host, port, TLS and the firewall");
            return Ok(findings.0);
        }
    }
    findings.of_encryption(&address);
    let connection = match dial(&address, "vz-sync doctor", options).await {
        Ok((connection, _)) => connection,
        Err(error) => {
            findings.bad(
                "login",
                error.to_string(),
                "check user, password and vhost in the AMQP URL",
            );
            return Ok(findings.0);
        }
    };
    findings.good("login", address.to_string());
    let asserted = topology::assert(&connection, options.topology).await;
    let _ = timeout(options.ask, connection.close(200, "OK".into())).await;
    if !findings.of_topology(asserted) {
        return Ok(findings.0);
    }
    let rabbit = Rabbit::open(url, options.clone()).await;
    match rabbit {
        Ok(rabbit) => {
            findings.of_publishing(&rabbit).await;
            findings.of_queues(&rabbit).await;
            rabbit.close().await;
        }
        Err(error) => findings.bad("publish", error.to_string(), "see the broker's log"),
    }
    Ok(findings.0)
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn good(&mut self, subject: &'static str, detail: String) {
        self.0.push(Finding { subject, is_well: true, detail, remedy: String::new() });
    }

    fn bad(&mut self, subject: &'static str, detail: String, remedy: &str) {
        self.0.push(Finding { subject, is_well: false, detail, remedy: remedy.to_owned() });
    }

    fn of_server(&mut self, server: &Server) {
        let detail = format!("{} {}", server.product, server.version);
        if server.release().is_some_and(|release| release >= OLDEST) {
            self.good("version", detail);
        } else {
            self.bad(
                "version",
                detail,
                "use RabbitMQ 3.10 or newer: older ones may lose dead letters on their way",
            );
        }
    }

    fn of_encryption(&mut self, address: &Address) {
        let is_local = address.host() == "localhost"
            || address.host().parse::<std::net::IpAddr>().is_ok_and(|host| host.is_loopback());
        if address.is_encrypted() || is_local {
            self.good("encryption", if is_local { "loopback" } else { "TLS" }.to_owned());
        } else {
            self.bad(
                "encryption",
                "the password travels in the clear".to_owned(),
                "use an amqps URL",
            );
        }
    }

    /// Whether one may go on.
    fn of_topology(&mut self, asserted: PortResult<Vec<topology::Difference>>) -> bool {
        match asserted {
            Ok(differences) if differences.is_empty() => {
                self.good("topology", "exchanges, queues and bindings are ours".to_owned());
                true
            }
            Ok(differences) => {
                for difference in differences {
                    let detail = format!("{}: {}", difference.queue, difference.reason);
                    self.bad("topology", detail, "stop all replicas, let the queue run empty, delete it; the next start declares it");
                }
                true
            }
            Err(error @ PortError::Refused { .. }) => {
                self.bad(
                    "permissions",
                    error.to_string(),
                    "grant configure, write and read on ^(jobs|events)\\.vz\\..* in the vhost",
                );
                false
            }
            Err(error) => {
                self.bad("topology", error.to_string(), "a quorum queue without a leader does not answer: see `rabbitmq-queues check_if_node_is_quorum_critical` and the broker's log");
                false
            }
        }
    }

    /// A message for nobody must come back: that is how a lost binding is
    /// noticed.
    async fn of_publishing(&mut self, rabbit: &Rabbit) {
        let letter = Letter {
            exchange: JOBS,
            routing_key: NOBODY,
            mandatory: true,
            body: b"{}",
            properties: lapin::BasicProperties::default(),
        };
        let fate = rabbit.publisher().publish(letter).await;
        match (fate, rabbit.status().publish) {
            (Ok(Fate::Returned(_)), _) => {
                self.good("publish", "confirmed; what nobody takes comes back".to_owned());
            }
            (Ok(Fate::Routed), _) => self.bad(
                "publish",
                format!("a message for nobody was taken: a queue is bound to {UNROUTED}"),
                "remove that binding: while it is there a lost binding of a lane is not noticed, and its jobs wait for their re-dispatch",
            ),
            (Err(_), LinkStatus::Blocked { reason }) => {
                self.bad("alarm", reason, "free memory or disk on the broker, see `rabbitmq-diagnostics alarms`");
            }
            (Err(error), _) => self.bad("publish", error.to_string(), "see the broker's log"),
        }
    }

    async fn of_queues(&mut self, rabbit: &Rabbit) {
        match rabbit.job_bus().depths().await {
            Ok(depths) if depths.dead == 0 => self.good(
                "queues",
                format!(
                    "waiting: high {}, normal {}, low {}",
                    depths.high, depths.normal, depths.low
                ),
            ),
            Ok(depths) => self.bad(
                "dead letters",
                format!("{} messages were set aside", depths.dead),
                "look at them, remove the cause, and replay them by job",
            ),
            Err(error) => self.bad("queues", error.to_string(), "see the broker's log"),
        }
    }
}

/// Reads the broker's first frame; lapin does not tell what it says.
async fn ask_server(address: &Address, options: &RabbitOptions) -> PortResult<Server> {
    let doing = || format!("asking {address}");
    let limit: Duration = options.connect;
    match timeout(limit, first_frame(address, options)).await {
        Ok(Ok(payload)) => read_start(&payload)
            .ok_or_else(|| unavailable(format!("{}: it does not speak AMQP 0-9-1", doing()))),
        Ok(Err(error)) => Err(unavailable(format!("{}: {error}", doing()))),
        Err(_) => Err(unavailable(format!("{}: no answer within {limit:?}", doing()))),
    }
}

async fn first_frame(address: &Address, options: &RabbitOptions) -> std::io::Result<Vec<u8>> {
    let runtime = lapin::runtime::default_runtime().map_err(std::io::Error::other)?;
    let tls = tls_config(&options.tls);
    let uri = address.uri();
    let mut stream = uri.connect_with_config_async(tls.as_ref(), &runtime).await?;
    stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
    stream.flush().await?;
    // Type, channel, and the length of what follows.
    let mut head = [0_u8; 7];
    stream.read_exact(&mut head).await?;
    let [1, _, _, a, b, c, d] = head else {
        return Err(std::io::Error::other("the first frame is not a method"));
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > LARGEST_START {
        return Err(std::io::Error::other("the first frame is too long"));
    }
    let mut payload = vec![0_u8; length];
    stream.read_exact(&mut payload).await?;
    Ok(payload)
}

fn read_start(payload: &[u8]) -> Option<Server> {
    let (_, class) = parse_class(payload).ok()?;
    let AMQPClass::Connection(connection::AMQPMethod::Start(start)) = class else { return None };
    let text = |name: &str| word(&start.server_properties, name);
    Some(Server { product: text("product"), version: text("version") })
}

fn word(properties: &FieldTable, name: &str) -> String {
    match properties.inner().get(name) {
        Some(AMQPValue::LongString(value)) => value.to_string(),
        _ => "unknown".to_owned(),
    }
}
