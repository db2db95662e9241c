//! The PostgreSQL protocol: a driver, psql, and strangers.

mod drivers;
mod hostile;
mod psql;
pub mod raw;
mod returning;

use super::{House, View, with_view};
use headwater::client::Client;
use headwater::wire::AckLevel;
use headwater_hub::server::Hub;
use std::net::SocketAddr;

/// A hub with rows in its view.
async fn with_rows() -> (House, Hub, Client) {
    let (house, hub, client) = with_view().await;
    for (url, user_id) in [("/", 1), ("/", 2), ("/a", 1)] {
        client.stream("pageviews").emit(&View { url, user_id, latency_ms: 1.5 }).expect("emit");
    }
    client.flush(AckLevel::Durable).await.expect("flush");
    (house, hub, client)
}

fn address(hub: &Hub) -> SocketAddr {
    hub.pg_addr().expect("the door is open")
}

async fn end(hub: Hub, client: Client) {
    client.close().await;
    hub.shutdown().await.expect("shutdown");
}
