//! The embedded database as the other tests use it.

use crate::support::postgres::{PrivateDir, TestDatabase};
use vz_sync::adapters::postgres::cluster::Cluster;

#[tokio::test]
async fn each_test_has_a_copy_of_the_template_for_itself() {
    let migrate = async |config: tokio_postgres::Config| {
        let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute("create table cast_in (n int8)").await?;
        Ok(())
    };
    let one = TestDatabase::from_template("support_template", migrate).await;
    let refuse = async |_| anyhow::bail!("the template is built once");
    let two = TestDatabase::from_template("support_template", refuse).await;

    one.client().await.batch_execute("insert into cast_in values (1)").await.expect("insert");
    let count = "select count(*) from cast_in";
    let seen: i64 = two.client().await.query_one(count, &[]).await.expect("count").get(0);
    assert_eq!(seen, 0);

    let url: tokio_postgres::Config = one.url().parse().expect("a url");
    assert_eq!(url.get_dbname(), one.config().get_dbname());
    let known = "select count(*) from pg_database where datname = $1";
    let name = one.config().get_dbname().expect("named").to_owned();
    drop(one);
    let left: i64 = two.client().await.query_one(known, &[&name]).await.expect("count").get(0);
    assert_eq!(left, 0, "a dropped TestDatabase is dropped on the server");
}

#[tokio::test]
async fn a_test_may_kill_a_server_of_its_own() {
    let dir = PrivateDir::new();
    let cluster = Cluster::open(dir.options()).await.expect("open");
    let pid = nix::unistd::Pid::from_raw(cluster.server_pid().expect("it runs").cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("kill");
    cluster.exited().await;
    let again = Cluster::open(dir.options()).await.expect("reopen");
    again.stop().await.expect("stop");
}

#[tokio::test]
async fn an_empty_database_has_no_table() {
    let database = TestDatabase::empty().await;
    let count = "select count(*) from pg_tables where schemaname = 'public'";
    let tables: i64 = database.client().await.query_one(count, &[]).await.expect("count").get(0);
    assert_eq!(tables, 0);
}
