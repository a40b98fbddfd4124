//! Removal sets that wait for a decision, as a commit moves them.

use super::apply::Commit;
use super::apply_rows::parent_of;
use super::db::{Hold, Tables};
use crate::domain::baseline::{HoldState, StoredHold};
use crate::domain::removal::HoldChange;
use crate::domain::{DataType, ExternalId, HoldId, ScopeKey, TeamId};

/// Who decided a hold that listings released.
const BY_AGREEMENT: &str = "agreeing listings";
/// Who decided a hold whose rows came back.
const BY_RETURN: &str = "returned rows";

impl Tables {
    /// Answers the holds that were made, each told by its event.
    pub fn apply_holds(&mut self, commit: &Commit<'_>) -> Vec<HoldId> {
        let mut made = Vec::new();
        for change in &commit.apply.holds {
            match change {
                HoldChange::Open { data_type, items, of, reason } => {
                    let id = self.open_hold(commit, *data_type, items, *of, reason);
                    self.tell_held(commit, id);
                    made.push(id);
                }
                HoldChange::Agree { id } => {
                    if let Some(hold) = self.hold_of(commit, *id) {
                        hold.agreeing_listings += 1;
                        hold.counted_at = commit.sent;
                    }
                }
                HoldChange::Release { id } => {
                    self.end(commit, *id, HoldState::Released, BY_AGREEMENT);
                }
                HoldChange::Expire { id } => self.end(commit, *id, HoldState::Expired, BY_RETURN),
                HoldChange::Shrink { id, returned } => {
                    if let Some(hold) = self.hold_of(commit, *id) {
                        hold.items.retain(|item| !returned.contains(item));
                    }
                }
            }
        }
        made
    }

    /// One open hold per table: a second set joins the first, and agreement
    /// counts anew for both.
    fn open_hold(
        &mut self,
        commit: &Commit<'_>,
        data_type: DataType,
        items: &[ExternalId],
        of: u64,
        reason: &str,
    ) -> HoldId {
        let team = commit.apply.lease.key.team;
        let open = self.holds.iter_mut().find(|(_, hold)| {
            hold.team == team && hold.data_type == data_type && hold.state == HoldState::Held
        });
        if let Some((id, hold)) = open {
            for item in items {
                if !hold.items.contains(item) {
                    hold.items.push(item.clone());
                }
            }
            reason.clone_into(&mut hold.reason);
            hold.of = of;
            hold.agreeing_listings = 0;
            hold.counted_at = commit.sent;
            return *id;
        }
        self.last_hold += 1;
        let id = HoldId(self.last_hold);
        self.holds.insert(
            id,
            Hold {
                team,
                data_type,
                state: HoldState::Held,
                reason: reason.to_owned(),
                items: items.to_vec(),
                of,
                agreeing_listings: 0,
                created_at: commit.now,
                counted_at: commit.sent,
                decided: None,
            },
        );
        id
    }

    fn hold_of(&mut self, commit: &Commit<'_>, id: HoldId) -> Option<&mut Hold> {
        let team = commit.apply.lease.key.team;
        self.holds.get_mut(&id).filter(|hold| hold.team == team)
    }

    fn end(&mut self, commit: &Commit<'_>, id: HoldId, state: HoldState, by: &str) {
        if let Some(hold) = self.hold_of(commit, id) {
            hold.state = state;
            hold.decided.get_or_insert((commit.now, by.to_owned()));
        }
    }

    /// The rows of a rejected hold are served on, still in doubt but no longer
    /// waiting.
    pub fn clear_held(&mut self, team: TeamId, data_type: DataType, items: &[ExternalId]) {
        let Some(rows) = self.rows.get_mut(&(team, data_type)) else { return };
        for (id, row) in rows {
            // A hold on nodes names their environments.
            let covered = items.contains(parent_of(row).unwrap_or(id));
            row.held &= !covered;
        }
    }

    /// Holds that bind the next run: waiting ones, rejected ones, and released
    /// ones whose rows still stand.
    pub fn binding_holds(&self, key: ScopeKey) -> Vec<StoredHold> {
        self.holds
            .iter()
            .filter(|(_, hold)| hold.team == key.team && hold.data_type.scope() == key.scope)
            .filter(|(_, hold)| match hold.state {
                HoldState::Held | HoldState::Rejected => true,
                HoldState::Released => self.still_stands(hold),
                HoldState::Expired => false,
            })
            .map(|(id, hold)| StoredHold {
                id: *id,
                data_type: hold.data_type,
                state: hold.state,
                items: hold.items.clone(),
                agreeing_listings: hold.agreeing_listings,
                created_at: hold.created_at,
                counted_at: hold.counted_at,
                decided_at: hold.decided.as_ref().map(|(at, _)| *at),
            })
            .collect()
    }

    fn still_stands(&self, hold: &Hold) -> bool {
        let rows = self.rows.get(&(hold.team, hold.data_type)).into_iter().flatten();
        rows.filter(|(_, row)| row.stale.is_none() && row.missing.is_some())
            .any(|(id, row)| hold.items.contains(parent_of(row).unwrap_or(id)))
    }
}
