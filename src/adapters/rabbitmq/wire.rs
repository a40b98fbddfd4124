//! The TCP connection below an AMQP connection.
//!
//! lapin runs each connection on a thread of its own, which waits for a
//! handshake without a limit. A second handle on the socket is kept, so that a
//! broker that accepts and stays silent does not cost a thread for ever.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::{Arc, OnceLock};

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use secrecy::ExposeSecret as _;
use tokio::net::lookup_host;
use tokio::time::timeout;
use vz_sync_actors::ports::PortResult;

use super::address::Address;
use super::error::{judged, unavailable};
use super::options::{RabbitOptions, TlsOptions};

/// A handle that can end the connection below lapin.
#[derive(Debug, Default)]
pub(super) struct Wire(OnceLock<TcpStream>);

impl Wire {
    /// Ends the connection at once, both ways.
    pub(super) fn hang_up(&self) {
        if let Some(stream) = self.0.get() {
            // Already closed is as good.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Hangs up unless it is told that all went well.
struct HangUpOnDrop(Option<Arc<Wire>>);

impl Drop for HangUpOnDrop {
    fn drop(&mut self) {
        if let Some(wire) = self.0.take() {
            wire.hang_up();
        }
    }
}

/// Connects and logs in.
pub(super) async fn dial(
    address: &Address,
    name: &str,
    options: &RabbitOptions,
) -> PortResult<(Connection, Arc<Wire>)> {
    let wire = Arc::new(Wire::default());
    let mut guard = HangUpOnDrop(Some(wire.clone()));
    let kept = wire.clone();
    let tls = tls_config(&options.tls);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let doing = format!("connecting to {address}");
    let runtime = lapin::runtime::default_runtime().map_err(|error| judged(&doing, &error))?;
    let connecting = Connection::connector(
        address.uri(),
        runtime,
        async move |uri: AMQPUri, runtime| {
            let authority = &uri.authority;
            let mut last = None;
            for address in lookup_host((authority.host.as_str(), authority.port)).await? {
                match AsyncTcpStream::connect(&runtime, address).await {
                    Ok(stream) => {
                        if let AsyncTcpStream::Plain(plain) = &stream {
                            // Small frames must not wait for each other's acknowledgement.
                            plain.get_ref().set_nodelay(true)?;
                            let handle = plain.get_ref().as_fd().try_clone_to_owned()?;
                            let _ = kept.0.set(TcpStream::from(handle));
                        }
                        return Ok(match uri.scheme {
                            AMQPScheme::AMQP => stream,
                            AMQPScheme::AMQPS => {
                                stream.into_tls(&authority.host, tls.as_ref()).await?
                            }
                        });
                    }
                    Err(error) => last = Some(error),
                }
            }
            Err(last.unwrap_or_else(|| std::io::Error::other("the name has no address")).into())
        },
        properties,
    );
    match timeout(options.connect, connecting).await {
        Ok(Ok(connection)) => {
            guard.0 = None;
            Ok((connection, wire))
        }
        Ok(Err(error)) => Err(judged(&doing, &error)),
        Err(_) => Err(unavailable(format!("{doing}: no answer within {:?}", options.connect))),
    }
}

pub(super) fn tls_config(options: &TlsOptions) -> OwnedTLSConfig {
    OwnedTLSConfig {
        identity: options.client.as_ref().map(|client| OwnedIdentity::PKCS8 {
            pem: client.chain_pem.clone().into_bytes(),
            key: client.key_pem.expose_secret().as_bytes().to_vec(),
        }),
        cert_chain: options.ca_pem.clone(),
    }
}
