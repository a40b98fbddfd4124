//! A database server that listens on loopback, with TLS when it is given a
//! certificate. The embedded cluster does neither: it only makes the data here.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use vz_sync::adapters::postgres::cluster::Cluster;

use super::postgres::PrivateDir;

/// An authority that signs certificates of servers.
pub struct Authority {
    /// Its certificate, as a client names it.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for `name`, and its key.
    pub fn certify(&self, name: &str) -> (String, String) {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

/// A running server. Dropping it stops it.
pub struct NetworkServer {
    child: Child,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    _dir: PrivateDir,
}

impl NetworkServer {
    /// Starts one that shows this certificate.
    pub async fn start(certificate: &(String, String)) -> Self {
        let dir = PrivateDir::new();
        let cluster = Cluster::open(dir.options()).await.expect("a cluster is made");
        cluster.stop().await.expect("and stopped");
        let data = dir.path().join("data");
        private(&data, "server.crt", &certificate.0);
        private(&data, "server.key", &certificate.1);
        let port = free_port();
        let child = command(dir.path(), &data, port).spawn().expect("it starts");
        let server = Self { child, port, _dir: dir };
        let mut ready = tokio_postgres::Config::new();
        ready
            .host("127.0.0.1")
            .port(port)
            .user("postgres")
            .ssl_mode(tokio_postgres::config::SslMode::Disable);
        for _ in 0..3000 {
            if ready.connect(tokio_postgres::NoTls).await.is_ok() {
                return server;
            }
            // A server tells nobody that it is ready.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the server does not answer on port {port}");
    }

    /// Its URL under a name of the machine.
    pub fn url(&self, host: &str, sslmode: &str) -> String {
        format!("postgres://postgres@{host}:{}/postgres?sslmode={sslmode}", self.port)
    }
}

impl Drop for NetworkServer {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT);
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago: a server cannot be handed an open one.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its number").port()
}

/// A file that the server takes for its own.
fn private(data: &Path, name: &str, content: &str) {
    let path = data.join(name);
    fs::write(&path, content).expect("it is written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is closed");
    let owner = fs::metadata(data).expect("the data is there");
    chown(&path, Some(owner.uid()), Some(owner.gid())).expect("it is the server's");
}

/// The server program, as whoever the data belongs to.
fn command(root: &Path, data: &Path, port: u16) -> Command {
    let postgres = Cluster::find_binaries(root).expect("server programs").dir().join("postgres");
    let owner = fs::metadata(data).expect("the data is there");
    let mut command = if Uid::effective().is_root() && owner.uid() == 0 {
        // Root's own files: the server may only look like somebody else.
        let mut command = Command::new("unshare");
        command.args(["-U", "--map-user=65534", "--map-group=65534"]).arg(postgres);
        command
    } else {
        let mut command = Command::new(postgres);
        if Uid::effective().is_root() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        command
    };
    command.arg("-D").arg(data).current_dir(data);
    for setting in [
        "listen_addresses=127.0.0.1",
        &format!("port={port}"),
        "unix_socket_directories=",
        "ssl=on",
        "ssl_cert_file=server.crt",
        "ssl_key_file=server.key",
        "fsync=off",
    ] {
        command.arg("-c").arg(setting);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
