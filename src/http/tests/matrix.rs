//! Every documented route against every kind of caller. The document is made
//! from the routes, so a new route is in the matrix at once.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::Value;

use super::world::World;
use crate::http::auth::{Permission, Role, unix_now};

struct Route {
    method: String,
    path: String,
    permission: String,
}

fn routes(document: &Value) -> Vec<Route> {
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let permission = operation["security"][0]["bearer"][0].as_str();
            routes.push(Route {
                method: method.to_uppercase(),
                path: path.replace("{team_id}", "1").replace("{id}", "1"),
                permission: permission
                    .unwrap_or_else(|| panic!("{path} names no permission"))
                    .into(),
            });
        }
    }
    routes
}

fn allows(role: Role, permission: &str) -> bool {
    let known = [Permission::Read, Permission::TeamManage, Permission::Credentials];
    let named = known.into_iter().find(|p| p.to_string() == permission);
    named.map_or(permission == "token", |p| role.allows(p))
}

#[tokio::test(start_paused = true)]
async fn every_route_knows_who_may() {
    let world = World::start().await;
    let routes = routes(&world.document);
    assert!(routes.len() >= 22, "{}", routes.len());
    let now = unix_now();
    for Route { method, path, permission } in &routes {
        let ask = async |token: Option<&str>| {
            let headers: Vec<_> = token.iter().map(|token| ("authorization", *token)).collect();
            world.send(method, path, &headers, "").await
        };
        let name = format!("{method} {path}");
        assert_eq!(ask(None).await.status, StatusCode::UNAUTHORIZED, "{name}");
        let expired = world.minted(&[(1, Role::Owner)], now - 7200, 3600);
        assert_eq!(ask(Some(&expired)).await.status, StatusCode::UNAUTHORIZED, "{name}");
        let forged = format!("{}x", world.owner());
        assert_eq!(ask(Some(&forged)).await.status, StatusCode::UNAUTHORIZED, "{name}");

        let stranger = ask(Some(&world.token(&[(2, Role::Owner)]))).await;
        if permission == "token" {
            assert_eq!(stranger.status, StatusCode::OK, "{name}");
        } else {
            assert_eq!(stranger.status, StatusCode::NOT_FOUND, "{name}");
            assert_eq!(
                stranger.json["detail"], "The team does not exist, or not for you",
                "{name}"
            );
        }
        // The Owner last: what an Owner may do takes away from the others.
        for role in [Role::Developer, Role::Manager, Role::Owner] {
            let status = ask(Some(&world.token(&[(1, role)]))).await.status;
            if allows(role, permission) {
                let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
                assert!(!refused.contains(&status), "{name} as {role}: {status}");
                assert!(!status.is_server_error(), "{name} as {role}: {status}");
            } else {
                assert_eq!(status, StatusCode::FORBIDDEN, "{name} as {role}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_are_counted_by_reason() {
    let world = World::start().await;
    world.send("GET", "/api/v1/teams", &[], "").await;
    let stranger = world.token(&[(2, Role::Owner)]);
    world.send("GET", "/api/v1/teams/1/nodes", &[("authorization", &stranger)], "").await;
    let developer = world.token(&[(1, Role::Developer)]);
    world.send("POST", "/api/v1/teams/1/vz-sync", &[("authorization", &developer)], "").await;
    let count = |reason| world.api.metrics.auth_violations.with_label_values(&[reason]).get();
    assert_eq!([count("missing"), count("stranger"), count("role")], [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn the_document_is_complete() {
    let world = World::start().await;
    let document = &world.document;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    // Routes enter the router together with their description, or not at all.
    assert!(!include_str!("../routes/mod.rs").contains(".route("));
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        assert!(path.starts_with("/api/v1/teams"), "{path}");
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{name}");
            let answers = operation["responses"].as_object().unwrap();
            let shaped = |answer: &Value| answer["content"].is_object();
            let good = answers.iter().find(|(status, _)| status.starts_with('2'));
            let (status, answer) = good.unwrap_or_else(|| panic!("{name} has no good answer"));
            assert!(status == "204" || shaped(answer), "{name} has no schema");
            ids.insert(operation["operationId"].to_string());
        }
    }
    for part in document.to_string().split("#/components/schemas/").skip(1) {
        let name: String = part.chars().take_while(|c| c.is_alphanumeric()).collect();
        assert!(document["components"]["schemas"][&name].is_object(), "{name} is not described");
    }
    let answer = world.send("GET", "/openapi.json", &[], "").await;
    assert_eq!(&answer.json, document);
}

#[tokio::test(start_paused = true)]
async fn the_admin_routes_are_not_public() {
    let world = World::start().await;
    let header = format!("Bearer {}", super::world::ADMIN);
    for path in ["/livez", "/readyz", "/metrics", "/admin/actors", "/admin/rollout", "/admin/teams"]
    {
        for token in [&header, &world.owner()] {
            let answer = world.send("GET", path, &[("authorization", token)], "").await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        }
    }
}
