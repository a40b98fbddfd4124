//! How the adapters behave. Where the broker is comes with the URL.

use std::time::Duration;

use secrecy::SecretString;

/// Deadlines, heartbeat, pools and TLS.
#[derive(Debug, Clone)]
pub struct RabbitOptions {
    /// How the connections call themselves in the broker's lists.
    pub name: String,
    /// Time for TCP, TLS and the AMQP handshake together.
    pub connect: Duration,
    /// Time to assert the topology. A quorum queue that looks for a leader
    /// after a crash needs some.
    pub topology: Duration,
    /// Time for one publish, until its confirm.
    pub publish: Duration,
    /// Time to send an acknowledgement.
    pub settle: Duration,
    /// Time for any other question to the broker.
    pub ask: Duration,
    /// AMQP heartbeat, whole seconds; a silent connection is given up after
    /// twice as much. One in the URL (`?heartbeat=`) wins.
    pub heartbeat: Duration,
    /// Channels for jobs, each with one unconfirmed publish at most.
    pub job_channels: usize,
    /// Channels for events, likewise.
    pub event_channels: usize,
    /// Pause before the first attempt to reconnect. It doubles from there.
    pub first_pause: Duration,
    /// Longest pause between attempts.
    pub longest_pause: Duration,
    /// For `amqps` URLs.
    pub tls: TlsOptions,
}

impl Default for RabbitOptions {
    fn default() -> Self {
        Self {
            name: "vz-sync".to_owned(),
            connect: Duration::from_secs(10),
            topology: Duration::from_secs(10),
            publish: Duration::from_secs(5),
            settle: Duration::from_secs(5),
            ask: Duration::from_secs(5),
            heartbeat: Duration::from_secs(10),
            job_channels: 4,
            event_channels: 2,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
            tls: TlsOptions::default(),
        }
    }
}

/// Trust and identity for `amqps`. The system's roots are always trusted.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// Further roots, PEM.
    pub ca_pem: Option<String>,
    /// Our certificate, for brokers that ask for one.
    pub client: Option<ClientCertificate>,
}

/// A certificate to show to the broker.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// The chain, PEM.
    pub chain_pem: String,
    /// Its key, PEM.
    pub key_pem: SecretString,
}
