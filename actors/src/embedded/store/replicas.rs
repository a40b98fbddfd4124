//! Who is alive, and whose leases are free.

use std::time::Duration;

use async_trait::async_trait;

use super::MemoryStore;
use super::db::Replica;
use crate::domain::ReplicaId;
use crate::ports::PortResult;
use crate::ports::replicas::{Fleet, Freed, ReplicaInfo, ReplicaView, Replicas};

#[async_trait]
impl Replicas for MemoryStore {
    async fn heartbeat(&self, me: &ReplicaInfo, dead_after: Duration) -> PortResult<Fleet> {
        let (mut tables, now) = (self.tables(), self.now());
        let row = tables.replicas.entry(me.id).or_insert_with(|| Replica {
            info: me.clone(),
            started_at: now,
            heartbeat_at: now,
        });
        row.info = me.clone();
        row.heartbeat_at = now;
        let alive = tables.replicas.values().filter(|row| row.heartbeat_at + dead_after > now);
        Ok(alive.fold(Fleet { replicas: 0, permits: 0 }, |fleet, row| Fleet {
            replicas: fleet.replicas + 1,
            permits: fleet.permits + row.info.permits,
        }))
    }

    async fn reap(&self, dead_after: Duration) -> PortResult<Vec<Freed>> {
        let (mut tables, now) = (self.tables(), self.now());
        let freed: Vec<Freed> = tables
            .states
            .iter()
            .filter_map(|(key, state)| {
                let lease = state.lease?;
                let live = lease.until > now && tables.alive(lease.owner, dead_after, now);
                (!live).then_some(Freed { key: *key, run: lease.run })
            })
            .collect();
        for Freed { run, .. } in &freed {
            tables.release(*run, now);
        }
        Ok(freed)
    }

    async fn leave(&self, me: ReplicaId) -> PortResult<()> {
        self.tables().replicas.remove(&me);
        Ok(())
    }

    async fn list(&self, dead_after: Duration) -> PortResult<Vec<ReplicaView>> {
        let (tables, now) = (self.tables(), self.now());
        let running = |id: ReplicaId| {
            let leases = tables.states.values().filter_map(|state| state.lease_at(now));
            leases.filter(|lease| lease.owner == id).count() as u32
        };
        Ok(tables
            .replicas
            .iter()
            .map(|(id, row)| ReplicaView {
                id: *id,
                host: row.info.host.clone(),
                started_at: row.started_at,
                heartbeat_at: row.heartbeat_at,
                alive: row.heartbeat_at + dead_after > now,
                permits: row.info.permits,
                running: running(*id),
                version: row.info.version.clone(),
            })
            .collect())
    }
}
