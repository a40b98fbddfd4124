//! Getting in: what the server says of itself, users with few rights, TLS,
//! and that no secret is told on the way.

use std::fs;
use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use vz_sync::adapters::redis::{RedisDueQueue, RedisLock, RedisOptions, RedisPool};
use vz_sync_actors::domain::Class;
use vz_sync_actors::domain::job::Lane;
use vz_sync_actors::ports::PortError;
use vz_sync_actors::ports::due_queue::DueQueue as _;
use vz_sync_actors::ports::lock::{Acquired, Lock as _};
use vz_sync_actors::testkit::fixtures::run_id;

use super::{LEASE, entry, key, teams};
use crate::support::redis::RedisServer;

const PASSWORD: &str = "canary-of-redis";
const TTL: Duration = Duration::from_secs(60);

/// What vz-sync needs, and nothing else; the operator's guide says the same.
const USER: &str = "vz on >canary-of-redis ~vz:sync:* resetchannels -@all \
     +@read +@write +@scripting +@transaction +@connection +time +info -@dangerous +info";

/// The user on the server's command line.
fn user() -> Vec<String> {
    std::iter::once("--user").chain(USER.split_whitespace()).map(Into::into).collect()
}

fn options() -> RedisOptions {
    RedisOptions { deadline: Duration::from_secs(20), ..RedisOptions::default() }
}

fn open(url: &str, options: &RedisOptions) -> RedisPool {
    RedisPool::open(&SecretString::from(url.to_owned()), options).expect("a pool")
}

/// Both adapters work through this pool.
async fn works(pool: &RedisPool) {
    let (queue, lock) = (RedisDueQueue::new(pool.clone()), RedisLock::new(pool.clone()));
    queue.enqueue(&[entry(1, Class::Manual)]).await.unwrap();
    assert_eq!(teams(&queue.pop(Lane::High, 9, LEASE).await.unwrap()), [1]);
    queue.put_back(&[key(1)]).await.unwrap();
    assert_eq!(queue.position(key(1)).await.unwrap(), Some(0));
    assert_eq!(teams(&queue.pop(Lane::High, 9, LEASE).await.unwrap()), [1]);
    queue.confirm(&[key(1)]).await.unwrap();
    assert_eq!(queue.depths().await.unwrap().in_flight, 0);
    assert_eq!(lock.acquire(key(1), run_id(1), TTL).await.unwrap(), Acquired::Yes);
    assert!(lock.renew(key(1), run_id(1), TTL).await.unwrap());
    assert!(lock.take_over(key(1), run_id(1), run_id(2), TTL).await.unwrap());
    assert!(lock.holder(key(1)).await.unwrap().is_some());
    assert!(lock.release(key(1), run_id(2)).await.unwrap());
    pool.ping().await.unwrap();
}

#[tokio::test]
async fn a_server_describes_itself() {
    let server = RedisServer::with(|_| {
        ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"].map(Into::into).into()
    })
    .await;
    let info = server.pool().info().await.unwrap();
    assert!(info.is_new_enough(), "{info:?}");
    assert_eq!(info.maxmemory_policy, "allkeys-lru");
    assert_eq!(info.maxmemory, 100 << 20);
    assert!(info.primary && !info.cluster);
    assert!(info.now.year() >= 2024, "{info:?}");
    let old = |version: &str| {
        let info = vz_sync::adapters::redis::server::ServerInfo {
            version: version.to_owned(),
            ..info.clone()
        };
        !info.is_new_enough()
    };
    assert!(old("6.0.16") && old("5.9") && old("") && !old("6.2.0") && !old("10.0"));
}

#[tokio::test]
async fn cluster_mode_is_told() {
    let server = RedisServer::with(|_| ["--cluster-enabled", "yes"].map(Into::into).into()).await;
    assert!(server.pool().info().await.unwrap().cluster);
}

#[tokio::test]
async fn a_user_needs_few_rights() {
    let server = RedisServer::with(|_| user()).await;
    let address = server.address();
    let pool = open(&format!("redis://vz:{PASSWORD}@{address}/"), &options());
    works(&pool).await;
    assert_eq!(pool.info().await.unwrap().maxmemory_policy, "noeviction");
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_never_told() {
    let server = RedisServer::with(|_| user()).await;
    let address = server.address();
    for wrong in
        [format!("redis://vz:{PASSWORD}x@{address}/"), format!("redis://{PASSWORD}@{address}/")]
    {
        let pool = open(&wrong, &options());
        let refused = RedisDueQueue::new(pool.clone()).depths().await.unwrap_err();
        let told = format!("{refused} {refused:?} {pool:?}");
        assert!(!told.contains(PASSWORD), "{told}");
        assert!(told.contains(&address.to_string()), "{told}");
    }
    let pool = open(&format!("redis://vz:{PASSWORD}x@{address}/"), &options());
    let refused = pool.ping().await.unwrap_err();
    assert!(matches!(refused, PortError::Refused { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_url_that_makes_no_sense_is_refused_without_being_told() {
    for url in [
        "http://vz:canary-of-redis@localhost/",
        "redis://vz:canary-of-redis@/",
        "redis://vz:canary-of-redis@localhost/canary-of-redis",
        "canary-of-redis",
        "rediss://vz:canary-of-redis@localhost/#canary-of-redis",
    ] {
        let refused = RedisPool::open(&SecretString::from(url.to_owned()), &options()).unwrap_err();
        let told = format!("{refused} {refused:?}");
        assert!(!told.contains(PASSWORD), "{told}");
    }
    let with_ca = RedisOptions { ca_file: Some("/nonexistent".into()), ..options() };
    for url in ["redis://localhost/", "rediss://localhost/"] {
        assert!(RedisPool::open(&SecretString::from(url.to_owned()), &with_ca).is_err());
    }
}

/// A signer, and a server's certificate for 127.0.0.1 signed by it, as files.
fn certificates(dir: &Path) {
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca_cert = ca.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::from_params(&ca, &ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let cert = server.signed_by(&key, &issuer).unwrap();
    fs::write(dir.join("ca.pem"), ca_cert.pem()).unwrap();
    fs::write(dir.join("cert.pem"), cert.pem()).unwrap();
    fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
}

/// A server that speaks TLS only, and lets in who has a password.
async fn over_tls() -> RedisServer {
    RedisServer::with(|dir| {
        certificates(dir);
        let file = |name: &str| dir.join(name).display().to_string();
        let mut settings = user();
        settings.extend(["--tls-auth-clients", "no", "--tls-cert-file"].map(Into::into));
        settings.extend([file("cert.pem"), "--tls-key-file".into(), file("key.pem")]);
        settings.extend(["--tls-ca-cert-file".into(), file("ca.pem")]);
        settings
    })
    .await
}

#[tokio::test]
async fn tls_with_a_user() {
    let server = over_tls().await;
    let address = server.address();
    let url = format!("rediss://vz:{PASSWORD}@{address}/");
    let trusting = RedisOptions { ca_file: Some(server.dir().join("ca.pem")), ..options() };
    works(&open(&url, &trusting)).await;

    let unknown = open(&url, &options()).ping().await.unwrap_err();
    assert!(unknown.to_string().contains("certificate"), "{unknown}");
    let plain = RedisOptions { deadline: Duration::from_millis(500), ..RedisOptions::default() };
    assert!(open(&format!("redis://vz:{PASSWORD}@{address}/"), &plain).ping().await.is_err());
}
