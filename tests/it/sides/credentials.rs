//! Keys: sealed, bound, replaced, probed.

use std::sync::Arc;
use std::time::Duration;

use super::{OWNER, Side, key};
use secrecy::ExposeSecret as _;
use vz_sync::adapters::postgres::credentials::PgCredentials;
use vz_sync::secrets::{KeyRing, MasterKey};
use vz_sync_actors::domain::TeamId;
use vz_sync_actors::ports::PortError;
use vz_sync_actors::ports::credentials::{Credentials, OnOtherAccount, Resolved};

const TEAM: TeamId = TeamId(1);

async fn opened(credentials: &PgCredentials, team: i64) -> Result<String, String> {
    match credentials.resolve(TeamId(team)).await.unwrap() {
        Resolved::Access(access) => Ok(access.session.expose_secret().to_owned()),
        Resolved::None => Err("none".to_owned()),
        Resolved::Unreadable(why) => Err(why),
    }
}

#[tokio::test]
async fn a_key_is_nowhere_in_the_clear() {
    let side = Side::with_teams(&[1]).await;
    assert_eq!(opened(&side.credentials(), 1).await, Ok("canary-key-of-1".to_owned()));
    let tables = side
        .sql
        .query("SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace", &[])
        .await
        .unwrap();
    assert!(tables.len() > 20);
    for table in tables {
        let name: String = table.get(0);
        // As text and as the hex of bytea.
        let hits: i64 = side
            .value(&format!("SELECT count(*) FROM {name} t WHERE t::text ~ 'canary' OR t::text ~ encode('canary', 'hex')"), &[])
            .await;
        assert_eq!(hits, 0, "{name}");
    }
    let told = side.credentials().describe(TEAM).await.unwrap().unwrap();
    assert_eq!((told.key_id.as_str(), told.owner_uid), ("k1", OWNER));
}

#[tokio::test]
async fn a_seal_does_not_open_in_another_row() {
    let side = Side::with_teams(&[1, 2]).await;
    side.run("UPDATE team_credentials c SET sealed = o.sealed FROM team_credentials o WHERE c.team_id = 1 AND o.team_id = 2").await;
    let why = opened(&side.credentials(), 1).await.unwrap_err();
    assert!(why.contains("k1") && !why.contains("canary"), "{why}");
    assert_eq!(opened(&side.credentials(), 2).await, Ok("canary-key-of-2".to_owned()));
    side.run("UPDATE vz_platforms SET base_url = 'https://elsewhere.example'").await;
    assert!(opened(&side.credentials(), 2).await.is_err(), "bound to the platform, too");
}

#[tokio::test]
async fn a_missing_master_key_is_named_and_rotation_keeps_keys_readable() {
    let side = Side::with_teams(&[1]).await;
    let other = PgCredentials::new(
        side.pool.clone(),
        Arc::new(KeyRing::of(MasterKey::generate("k2").unwrap())),
    );
    assert!(opened(&other, 1).await.unwrap_err().contains("k1"));
    assert_eq!(other.rotate().await, Ok((0, 1)));

    let (old, new) = (MasterKey::generate("a").unwrap(), MasterKey::generate("b").unwrap());
    let list = |keys: [&MasterKey; 2]| {
        keys.map(|key| key.to_entry().expose_secret().to_owned()).join(",").into()
    };
    let before = PgCredentials::new(
        side.pool.clone(),
        Arc::new(KeyRing::parse(&list([&old, &new])).unwrap()),
    );
    before.replace(TEAM, key(1), OWNER, OnOtherAccount::Refuse, "tester").await.unwrap();
    let after = PgCredentials::new(
        side.pool.clone(),
        Arc::new(KeyRing::parse(&list([&new, &old])).unwrap()),
    );
    assert_eq!(after.rotate().await, Ok((1, 0)));
    assert_eq!(after.rotate().await, Ok((0, 0)));
    assert_eq!(after.describe(TEAM).await.unwrap().unwrap().key_id, "b");
    assert_eq!(opened(&after, 1).await, Ok("canary-key-of-1".to_owned()));
}

#[tokio::test]
async fn a_key_of_another_account_is_refused_by_code() {
    let side = Side::with_teams(&[1]).await;
    let answer = side
        .credentials()
        .replace(TEAM, "canary-other".into(), OWNER + 1, OnOtherAccount::Refuse, "tester")
        .await;
    let Err(PortError::Refused { message, .. }) = answer else { panic!("{answer:?}") };
    assert!(message.starts_with("account-changed") && !message.contains("canary"), "{message}");
    assert_eq!(opened(&side.credentials(), 1).await, Ok("canary-key-of-1".to_owned()));
    let unknown = side
        .credentials()
        .replace(TeamId(9), key(9), OWNER, OnOtherAccount::Refuse, "tester")
        .await;
    assert_eq!(unknown, Err(PortError::NotFound("team 9".to_owned())));
}

const REFUSED: &str = "
    UPDATE team_settings SET auth_failed_at = now(), auth_failed_reason = 'result 701' WHERE team_id = 1;
    UPDATE team_credentials SET state = 'rejected', next_probe_at = now() WHERE team_id = 1;
    UPDATE vz_sync_states SET failures = 1, last_error_class = 'auth', next_full_at = now() + interval '1 h',
        next_delta_at = now() + interval '1 h' WHERE team_id = 1";
const DUE: &str =
    "SELECT count(*) FROM vz_sync_states WHERE team_id = 1 AND due_at <= now() AND failures = 0";

#[tokio::test]
async fn a_new_key_ends_the_auth_pause_and_makes_every_scope_due() {
    let side = Side::with_teams(&[1]).await;
    side.run(REFUSED).await;
    assert_eq!(side.value::<i64>(DUE, &[]).await, 0);
    side.credentials()
        .replace(TEAM, "canary-new".into(), OWNER, OnOtherAccount::Refuse, "tester")
        .await
        .unwrap();
    assert_eq!(side.value::<i64>(DUE, &[]).await, 3);
    let generation: i64 = side.value("SELECT generation FROM team_credentials", &[]).await;
    assert_eq!(generation, 2);
    side.credentials().erase(TEAM).await.unwrap();
    assert_eq!(side.value::<i64>(DUE, &[]).await, 0);
    assert_eq!(side.credentials().describe(TEAM).await, Ok(None));
}

#[tokio::test]
async fn a_refused_key_is_probed_by_one_at_a_time_and_resumes() {
    let side = Side::with_teams(&[1, 2]).await;
    side.run(REFUSED).await;
    let credentials = side.credentials();
    let hour = Duration::from_secs(3600);
    let asks = (0..4).map(|_| credentials.due_probes(10, hour));
    let answers = futures_util::future::try_join_all(asks).await.unwrap();
    assert_eq!(answers.concat(), [TEAM]);
    assert_eq!(credentials.accepted(TEAM).await, Ok(true));
    assert_eq!(side.value::<i64>(DUE, &[]).await, 3);
    assert_eq!(credentials.accepted(TEAM).await, Ok(false));
}
