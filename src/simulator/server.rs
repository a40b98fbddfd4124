//! The listener: accepts, serves, and can be shut like a door to play an unreachable platform.
//!
//! Its own loop rather than `axum::serve`, because a refused connection needs the listener gone
//! and a stopped simulator must not wait for answers that hang on purpose.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Whether connections are accepted. Closing it also breaks those that are open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// Accepts.
    #[default]
    Open,
    /// Connections are refused.
    Refuse,
    /// Connections wait in the operating system's queue and nobody takes them out.
    Hang,
}

/// Sets the door.
#[derive(Default)]
pub(crate) struct DoorHandle(watch::Sender<Door>);

impl DoorHandle {
    pub(crate) fn set(&self, door: Door) {
        self.0.send_replace(door);
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Door> {
        self.0.subscribe()
    }
}

/// Serves until `stop`, then drops all connections and waits for their tasks.
pub(crate) async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    mut door: watch::Receiver<Door>,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    let mut listener = Some(listener);
    let mut open = stop.child_token();
    loop {
        let state = *door.borrow_and_update();
        if state == Door::Open {
            if listener.is_none() {
                listener = listen_again(address, &stop).await;
            }
            if open.is_cancelled() {
                open = stop.child_token();
            }
        } else {
            open.cancel();
            if state == Door::Refuse {
                listener = None;
            } else if listener.is_none() {
                listener = listen_again(address, &stop).await;
            }
        }
        let accepted = async {
            match &listener {
                Some(listener) if state == Door::Open => listener.accept().await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            changed = door.changed() => if changed.is_err() { break },
            accepted = accepted => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, router.clone(), open.clone()));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: give connections time to end.
                    tracing::warn!(%error, "the simulator could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    connections.close();
    open.cancel();
    connections.wait().await;
}

/// Binds the address that it had before; another process may hold it for a moment.
async fn listen_again(address: SocketAddr, stop: &CancellationToken) -> Option<TcpListener> {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Some(listener),
            Err(error) => tracing::warn!(%error, %address, "the simulator cannot listen again yet"),
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
}

async fn connection(stream: TcpStream, router: Router, open: CancellationToken) {
    // Without it a small answer waits for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // A client that goes away, or a body broken on order, is no news here.
        _ = served => {}
        () = open.cancelled() => {}
    }
}
