//! The listener: accepts, serves, and has a door to shut.
//!
//! Its own loop rather than `axum::serve`, because a door that is shut needs the listener gone and a
//! stopped simulator must not wait for answers that hang on purpose.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::door::{Door, DoorOrders, Doorway};

/// Serves until `stop`, then drops all connections and waits for their tasks.
pub(crate) async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    mut orders: DoorOrders,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    let mut doorway = Doorway::Open(listener);
    let mut open = stop.child_token();
    loop {
        let (number, door) = *orders.wanted.borrow_and_update();
        if door != Door::Open {
            open.cancel();
        } else if open.is_cancelled() {
            open = stop.child_token();
        }
        doorway = tokio::select! {
            () = stop.cancelled() => break,
            doorway = doorway.turn(address, door) => doorway,
        };
        orders.reached.send_replace(number);
        let accepted = async {
            match &doorway {
                Doorway::Open(listener) => listener.accept().await,
                Doorway::Shut(_) | Doorway::Crowded { .. } => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            changed = orders.wanted.changed() => if changed.is_err() { break },
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
