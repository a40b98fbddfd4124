//! How connections to Postgres are made, all of them: the one place that
//! decides about TLS.
//!
//! `sslmode` of the URL is kept. `require` encrypts, and checks the server's
//! certificate and its name. `prefer`, the default, promises nothing, here as
//! in libpq: it encrypts where it can, and goes on in the clear where it
//! cannot. Whoever names an authority of their own wants it checked: then
//! `prefer` is `require`. A unix socket is not encrypted. Without an authority
//! of one's own the machine's trusted certificates count, as for the platform.
//!
//! Deliberately absent: certificates of the client, and modes that encrypt
//! without checking who is at the other end.

use std::error::Error as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Once};
use std::time::Duration;

use deadpool_postgres::Connect;
use futures_util::stream::{Stream, StreamExt as _, poll_fn};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// What a server says beside its answers. A connection works only while
/// somebody reads them.
pub type Messages = Pin<Box<dyn Stream<Item = Result<AsyncMessage, Error>> + Send>>;

/// Longest statement of the pipeline unless the configuration says otherwise.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// Where a database is and how to get there. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    statement_timeout: Duration,
    told: Arc<Once>,
}

/// TLS cannot be set up as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of authorities cannot be used.
    #[error("database.ssl_root_cert {path}: {reason}")]
    RootCert {
        /// Which file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing is trusted on this machine.
    #[error(
        "no certificate can be checked: {0}; install the system's CA certificates, or set database.ssl_root_cert"
    )]
    NoRoots(rustls::Error),
}

impl Connector {
    /// To the hosts of `config`; certificates are checked against the PEM file
    /// `root_cert`, else against what the machine trusts.
    pub fn new(mut config: Config, root_cert: Option<&Path>) -> Result<Self, TlsError> {
        if root_cert.is_some() && config.get_ssl_mode() == SslMode::Prefer {
            config.ssl_mode(SslMode::Require);
        }
        let by_network = config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(_)));
        let tls = if by_network && config.get_ssl_mode() != SslMode::Disable {
            match client_config(root_cert) {
                Ok(tls) => Some(MakeRustlsConnect::new(tls)),
                // It may be had without.
                Err(TlsError::NoRoots(_)) if config.get_ssl_mode() == SslMode::Prefer => None,
                Err(error) => return Err(error),
            }
        } else {
            None
        };
        Ok(Self { tls, ..Self::from(config) })
    }

    /// The longest statement of the pipeline; the other roles follow from it.
    pub const fn statement_timeout(mut self, longest: Duration) -> Self {
        self.statement_timeout = longest;
        self
    }

    /// The longest statement of the pipeline.
    pub const fn longest_statement(&self) -> Duration {
        self.statement_timeout
    }

    /// Where and as whom.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// A session of its own. Its connection ends with the client, and its
    /// error reaches whoever uses the client.
    pub async fn connect(&self) -> Result<Client, Error> {
        let (client, messages) = self.open(&self.config).await?;
        tokio::spawn(read_on(messages));
        Ok(client)
    }

    /// A session with other settings, for a caller that reads its messages.
    pub async fn open(&self, config: &Config) -> Result<(Client, Messages), Error> {
        let Some(tls) = &self.tls else { return through(config, NoTls).await };
        match through(config, tls.clone()).await {
            Err(error) if config.get_ssl_mode() == SslMode::Prefer && is_tls(&error) => {
                self.told.call_once(|| {
                    tracing::warn!(
                        event = "vz_sync_database_in_the_clear",
                        error = &error as &dyn std::error::Error,
                        "the server's certificate cannot be checked: sslmode=prefer goes on without encryption"
                    );
                });
                let mut plain = config.clone();
                plain.ssl_mode(SslMode::Disable);
                through(&plain, NoTls).await
            }
            answer => answer,
        }
    }
}

/// Without TLS, unless a certificate must be had: for unix sockets.
impl From<Config> for Connector {
    fn from(config: Config) -> Self {
        let statement_timeout = STATEMENT_TIMEOUT;
        Self { config, tls: None, statement_timeout, told: Arc::new(Once::new()) }
    }
}

impl From<&Config> for Connector {
    fn from(config: &Config) -> Self {
        config.clone().into()
    }
}

impl From<&Self> for Connector {
    fn from(connector: &Self) -> Self {
        connector.clone()
    }
}

impl Connect for Connector {
    fn connect(
        &self,
        config: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        let config = config.clone();
        Box::pin(async move {
            let (client, messages) = self.open(&config).await?;
            Ok((client, tokio::spawn(read_on(messages))))
        })
    }
}

// A configuration holds a password.
impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector")
            .field("hosts", &self.config.get_hosts())
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

async fn through<T>(config: &Config, tls: T) -> Result<(Client, Messages), Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, mut connection) = config.connect(tls).await?;
    Ok((client, Box::pin(poll_fn(move |context| connection.poll_message(context)))))
}

/// Keeps a connection going; what the server remarks is of no use here.
async fn read_on(mut messages: Messages) {
    while let Some(Ok(_)) = messages.next().await {}
}

/// Whether it is the other end's certificate that failed, not the way there.
fn is_tls(error: &Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause
        .and_then(std::io::Error::get_ref)
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}

fn client_config(root_cert: Option<&Path>) -> Result<ClientConfig, TlsError> {
    // Named, because no provider is installed for the whole process.
    let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::NoRoots)?;
    let builder = match root_cert {
        Some(path) => builder.with_root_certificates(authorities(path)?),
        None => builder.with_platform_verifier().map_err(TlsError::NoRoots)?,
    };
    Ok(builder.with_no_client_auth())
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let bad = |reason: String| TlsError::RootCert { path: path.display().to_string(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))?
    {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("it holds no certificate in PEM".to_owned()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(url: &str, root_cert: Option<&Path>) -> Result<Connector, TlsError> {
        Connector::new(url.parse().unwrap(), root_cert)
    }

    #[test]
    fn a_socket_and_a_refusal_of_tls_need_no_certificate() {
        for url in ["postgres://me@/db?host=/run/pg", "postgres://me@here/db?sslmode=disable"] {
            assert!(connector(url, None).unwrap().tls.is_none(), "{url}");
        }
    }

    #[test]
    fn an_authority_of_ones_own_is_never_set_aside() {
        let bad = Path::new("/nonexistent/root.crt");
        let refused = connector("postgres://me@here/db", Some(bad)).unwrap_err().to_string();
        assert!(refused.contains("/nonexistent/root.crt") && refused.contains("ssl_root_cert"));
        let empty = std::env::temp_dir().join(format!("vz-empty-{}.crt", std::process::id()));
        std::fs::write(&empty, "nothing\n").unwrap();
        let refused = connector("postgres://me@here/db", Some(&empty)).unwrap_err().to_string();
        std::fs::remove_file(&empty).unwrap();
        assert!(refused.contains("no certificate"), "{refused}");
    }

    #[test]
    fn nothing_secret_is_shown() {
        let connector = connector("postgres://me:canary@here/db?sslmode=disable", None).unwrap();
        assert!(!format!("{connector:?}").contains("canary"));
    }
}
