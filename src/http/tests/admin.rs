//! The admin listener: probes, actors, fleet, and its token.

use axum::http::StatusCode;
use serde_json::json;

use super::world::{ADMIN, Answer, World, read, request};

async fn admin(world: &World, method: &str, path: &str, body: &str) -> Answer {
    let token = format!("Bearer {ADMIN}");
    let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
    read(world.admin.clone(), request(method, path, &headers, body)).await
}

#[tokio::test(start_paused = true)]
async fn only_probes_and_metrics_need_no_token() {
    let world = World::start().await;
    for path in ["/livez", "/readyz", "/metrics"] {
        let answer = read(world.admin.clone(), request("GET", path, &[], "")).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.json);
    }
    let paths = ["actors", "actors/root", "queues", "replicas", "platforms", "rollout", "teams"];
    for path in paths.map(|path| format!("/admin/{path}")) {
        for headers in [
            vec![],
            vec![("authorization", "Bearer wrong")],
            vec![("authorization", &*world.owner())],
        ] {
            let answer = read(world.admin.clone(), request("GET", &path, &headers, "")).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
            assert_eq!(answer.headers["content-type"], "application/problem+json");
        }
        let answer = admin(&world, "GET", &path, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.json);
    }
}

#[tokio::test(start_paused = true)]
async fn actors_are_seen_and_restarted() {
    let world = World::mirrored().await;
    let tree = admin(&world, "GET", "/admin/actors", "").await.json;
    assert_eq!(tree["actors"][0]["id"], "root");
    let names: Vec<_> = tree["actors"][0]["children"].as_array().unwrap().iter().collect();
    assert!(names.iter().any(|child| child["id"] == "root/scheduler"), "{tree}");
    let one = admin(&world, "GET", "/admin/actors/root/scheduler", "").await;
    assert_eq!(one.json["restarts"], 0);
    let restart = admin(&world, "POST", "/admin/actors/root/scheduler/restart", "").await;
    assert_eq!(restart.status, StatusCode::ACCEPTED);
    loop {
        let one = admin(&world, "GET", "/admin/actors/root/scheduler", "").await.json;
        if one["restarts"] == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    for (path, status) in [
        ("/admin/actors/root/nobody/restart", StatusCode::NOT_FOUND),
        ("/admin/actors/root/scheduler/dance", StatusCode::NOT_FOUND),
        ("/admin/actors/root/scheduler/cancel", StatusCode::CONFLICT),
        ("/admin/actors/root/restart", StatusCode::CONFLICT),
        ("/admin/actors/root/team_pool/1:environments/cancel", StatusCode::CONFLICT),
    ] {
        let answer = admin(&world, "POST", path, "").await;
        assert_eq!(answer.status, status, "{path}: {}", answer.json);
    }
}

#[tokio::test(start_paused = true)]
async fn teams_and_rollout_are_changed_while_running() {
    let world = World::start().await;
    let body = r#"{"name":"third","platform_url":"https://app.platform.example/"}"#;
    let put = admin(&world, "PUT", "/admin/teams/3", body).await;
    assert_eq!((put.status, &put.json["id"]), (StatusCode::OK, &json!(3)), "{}", put.json);
    let own = r#"{"name":"third","platform_url":"https://app.platform.example/",
        "overrides":{"delta_interval_seconds":{"environments":60},"max_allowed_staleness_seconds":{"nodes":120}}}"#;
    let put = admin(&world, "PUT", "/admin/teams/3", own).await;
    assert_eq!(put.json["overrides"]["delta_interval_seconds"], json!({"environments": 60}));
    // Without a word on them they stay, and are shown.
    admin(&world, "PUT", "/admin/teams/3", body).await;
    let list = admin(&world, "GET", "/admin/teams", "").await;
    let third = list.json.as_array().unwrap().iter().find(|team| team["id"] == 3).unwrap().clone();
    assert_eq!(third["overrides"]["max_allowed_staleness_seconds"], json!({"nodes": 120}));
    assert_eq!(third["overrides"]["full_interval_seconds"], json!({}));
    for bad in [
        r#"{"name":"x","platform_url":"https://a","overrides":{"full_interval_seconds":{"environments":29}}}"#,
        r#"{"name":"x","platform_url":"https://a","overrides":{"full_interval_seconds":{"shoes":60}}}"#,
        r#"{"name":"x","platform_url":"https://a","overrides":{"colour":{}}}"#,
        r#"{"name":"x"}"#,
        r#"{"name":"","platform_url":"https://a"}"#,
        r#"{"name":"x","platform_url":"https://10.0.0.1"}"#,
    ] {
        let answer = admin(&world, "PUT", "/admin/teams/3", bad).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
    assert_eq!(admin(&world, "DELETE", "/admin/teams/3", "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(admin(&world, "DELETE", "/admin/teams/3", "").await.status, StatusCode::NOT_FOUND);

    let set = admin(&world, "POST", "/admin/rollout", r#"{"enabled":true,"percent":50}"#).await;
    assert_eq!((set.status, &set.json["percent"]), (StatusCode::OK, &json!(50)), "{}", set.json);
    for bad in [r#"{"percent":101}"#, r#"{"colour":1}"#, r#"{"teams":[0]}"#] {
        let answer = admin(&world, "POST", "/admin/rollout", bad).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
}
