//! The methods: parameters, access, errors, paging.

use serde_json::{Value, json};

use super::{
    BASIC, GETENVINFO, GETENVS, OTHER_TOKEN, OTHER_UID, SEARCH, TOKEN, UID, USERINFO, call, infos,
    names, options, own, send, simulator, small,
};
use crate::simulator::{Change, Mutation, Share, Simulator, TokenState};

async fn search(simulator: &Simulator, search: Value) -> Value {
    own(simulator, SEARCH, &[("search", &search.to_string())]).await
}

fn ids(page: &Value) -> Vec<i64> {
    page["array"].as_array().unwrap().iter().map(|action| action["id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn get_and_post_answer_alike() {
    let simulator = small().await;
    let name = simulator.world().summary(UID).unwrap().items[0].name.clone();
    let by_name = [("envName", name.as_str())];
    let by_window = [("search", r#"{"startRow":0}"#)];
    for (path, form, query) in [
        (BASIC, &[][..], String::new()),
        (GETENVS, &[("lazy", "true")], "&lazy=true".into()),
        (GETENVINFO, &by_name, format!("&envName={name}")),
        (SEARCH, &by_window, "&search=%7B%22startRow%22%3A0%7D".into()),
        (USERINFO, &[], String::new()),
    ] {
        let url = format!("{}/1.0/{path}?session={TOKEN}{query}", simulator.base_url());
        let by_get = reqwest::get(&url).await.unwrap().bytes().await.unwrap();
        let by_get = serde_json::from_slice::<Value>(&by_get).unwrap();
        assert_eq!(by_get["result"], 0, "{path}");
        assert!(by_get == own(&simulator, path, form).await, "{path}");
    }
}

#[tokio::test]
async fn unknown_methods_are_a_page_of_the_front_proxy() {
    let simulator = small().await;
    for path in [
        "environment/control/rest/getnothing",
        "environment/control/rest/GetEnvs",
        "users/account/rest/getenvs",
        "getenvs",
    ] {
        let response = send(&simulator, path, &[("session", TOKEN)]).await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
        assert!(response.text().await.unwrap().contains("<center>openresty</center>"));
    }
    assert_eq!(simulator.stats().requests("unknown"), 4);
}

#[tokio::test]
async fn a_session_is_opened_by_post_and_ended_by_signout() {
    let simulator = small().await;
    let signin = "users/authentication/rest/signin";
    let login = [("login", "owner1@simulator.example"), ("password", "password-1")];
    let answer = call(&simulator, signin, &login).await;
    assert_eq!((&answer["result"], &answer["uid"]), (&json!(0), &json!(UID)));
    let session = answer["session"].as_str().unwrap();

    let query = "login=owner1@simulator.example&password=password-1";
    let url = format!("{}/1.0/{signin}?{query}", simulator.base_url());
    assert_eq!(reqwest::get(url).await.unwrap().status(), 405);

    let form = [("session", session)];
    assert_eq!(call(&simulator, USERINFO, &form).await["uid"], UID);
    let checksign = call(&simulator, "users/authentication/rest/checksign", &form).await;
    assert!(checksign["accessType"].is_string());
    assert_eq!(call(&simulator, "users/authentication/rest/signout", &form).await["result"], 0);
    let refused = call(&simulator, USERINFO, &form).await;
    assert_eq!(refused["error"], "invalid parameter [session]");
}

#[tokio::test]
async fn token_states_answer_as_the_platform_does() {
    let simulator = small().await;
    let world = simulator.world();
    world.set_token_state(UID, &TokenState::Expired).unwrap();
    let expired = own(&simulator, BASIC, &[]).await;
    assert_eq!(expired["result"], 702);
    assert!(expired["error"].as_str().unwrap().starts_with("USER_NOT_AUTHENTICATED"));
    assert!(!expired.to_string().contains(TOKEN), "the key is masked");

    let methods = vec!["environment.control.GetEnvs".to_owned()];
    world.set_token_state(UID, &TokenState::Restricted { methods }).unwrap();
    assert_eq!(own(&simulator, BASIC, &[]).await["result"], 8202);
    assert_eq!(own(&simulator, GETENVS, &[]).await["result"], 0);

    world.replace_token(UID, "fresh").unwrap();
    assert_eq!(own(&simulator, GETENVS, &[]).await["result"], 3);
    assert_eq!(call(&simulator, BASIC, &[("token", "fresh")]).await["result"], 0);
}

#[tokio::test]
async fn an_environment_is_found_by_each_alias_and_11_when_gone() {
    let simulator = small().await;
    let item = simulator.world().summary(UID).unwrap().items[0].clone();
    let domain = format!("{}.platform.example", item.name);
    for (alias, value) in [("envName", &item.name), ("appid", &item.appid), ("domain", &domain)] {
        let found = own(&simulator, GETENVINFO, &[(alias, value)]).await;
        assert_eq!(found["env"]["appid"], item.appid.as_str(), "{alias}");
    }
    let lazy = own(&simulator, GETENVINFO, &[("envName", &item.name), ("lazy", "true")]).await;
    assert!(lazy.get("nodes").is_none());
    let foreign = [("session", OTHER_TOKEN), ("envName", &item.name)];
    assert_eq!(call(&simulator, GETENVINFO, &foreign).await["result"], 11);

    simulator.world().delete(UID, &item.name, false).unwrap();
    let gone = own(&simulator, GETENVINFO, &[("envName", &item.name)]).await;
    assert_eq!(gone["result"], 11);
    assert_eq!(gone["error"], format!("application [{}] not exist", item.name));
}

#[tokio::test]
async fn a_transferred_environment_lives_on_elsewhere() {
    let simulator = small().await;
    let items = simulator.world().summary(UID).unwrap().items;
    simulator.world().transfer(UID, &items[0].name, OTHER_UID, true).unwrap();
    simulator.world().transfer(UID, &items[1].name, OTHER_UID, false).unwrap();
    assert_eq!(infos(&own(&simulator, BASIC, &[]).await).len(), 4);
    let moved = own(&simulator, GETENVINFO, &[("appid", &items[0].appid)]).await;
    assert_eq!((&moved["result"], &moved["env"]["uid"]), (&json!(0), &json!(OTHER_UID)));
    let hidden = own(&simulator, GETENVINFO, &[("appid", &items[1].appid)]).await;
    assert_eq!(hidden["result"], 11);
}

#[tokio::test]
async fn a_collaborator_sees_a_share_with_another_right() {
    let mut options = options(2, 10);
    options.accounts[0].environments = 200;
    options.accounts[0].shares = vec![Share { member_uid: OTHER_UID, percent: 30 }];
    let simulator = simulator(options).await;
    let owner = UID.to_string();
    let shared = [("session", OTHER_TOKEN), ("ownerUid", &owner)];
    let listing = call(&simulator, BASIC, &shared).await;
    assert_eq!(infos(&listing).len(), 60);
    assert!(
        infos(&listing).iter().all(|info| info["right"] == "USER" && info["env"]["uid"] == UID)
    );
    let own_listing = call(&simulator, BASIC, &[("session", OTHER_TOKEN)]).await;
    assert!(infos(&own_listing).iter().all(|info| info["right"] == "OWNER"));

    let path = "users/collaboration/rest/getcollaborations";
    assert_eq!(call(&simulator, path, &shared).await["isOwner"], false);
    let mine = own(&simulator, path, &[]).await;
    assert_eq!(mine["isOwner"], true);
    assert_eq!(mine["collaborations"][0]["memberUid"], OTHER_UID);
    let members = own(&simulator, "users/collaboration/rest/getmembers", &[]).await;
    assert_eq!(members["array"][0]["uid"], OTHER_UID);

    let stranger = OTHER_UID.to_string();
    assert_eq!(own(&simulator, BASIC, &[("ownerUid", &stranger)]).await["result"], 8202);
    assert_eq!(own(&simulator, BASIC, &[("ownerUid", "me")]).await["result"], 3);
}

#[tokio::test]
async fn history_comes_in_pages_that_add_up() {
    let simulator = simulator(options(1, 8)).await;
    simulator.world().step(25);
    simulator.world().settle();
    let all = search(&simulator, json!({"resultCount": 100})).await;
    let expected = ids(&all);
    assert_eq!((expected.len(), &all["totalCount"]), (25, &json!(25)));
    assert!(expected.is_sorted_by(|earlier, later| earlier > later), "newest first");
    let mut paged = Vec::new();
    for start in [0, 10, 20] {
        let page = search(&simulator, json!({"startRow": start, "resultCount": 10})).await;
        assert_eq!(page["totalCount"], 25);
        paged.extend(ids(&page));
    }
    assert_eq!(paged, expected);
    assert!(ids(&search(&simulator, json!({"startRow": 30})).await).is_empty());
}

#[tokio::test]
async fn history_is_filtered_by_window_and_environment() {
    let simulator = simulator(options(1, 8)).await;
    simulator.world().step(20);
    // The clock moves one second a step: the window holds the steps 5 to 9, both ends included.
    let window = json!({
        "startDate": "2026-01-02 03:04:10", "endDate": "2026-01-02 03:04:14",
        "orderDirection": "ASC", "resultCount": 50,
    });
    assert_eq!(ids(&search(&simulator, window).await), [5, 6, 7, 8, 9]);

    let all = search(&simulator, json!({"resultCount": 50})).await;
    let appid = all["array"][0]["appid"].as_str().unwrap().to_owned();
    let of_one = search(&simulator, json!({"appids": [appid], "resultCount": 50})).await;
    let actions = of_one["array"].as_array().unwrap();
    assert!(!actions.is_empty() && actions.iter().all(|action| action["appid"] == appid.as_str()));
    assert_eq!(search(&simulator, json!({"startDate": "yesterday"})).await["result"], 3);
    assert_eq!(own(&simulator, SEARCH, &[]).await["result"], 3);
}

#[tokio::test]
async fn late_and_silent_changes_are_missing_from_the_history() {
    let simulator = small().await;
    let world = simulator.world();
    let one = Mutation { count: Some(1), kinds: vec![Change::Rename], ..Mutation::default() };
    world.mutate(UID, &Mutation { silent: true, ..one.clone() }).unwrap();
    world.mutate(UID, &Mutation { late_s: 60, ..one.clone() }).unwrap();
    assert_eq!(search(&simulator, json!({})).await["totalCount"], 0);
    world.clock.advance(60);
    let late = search(&simulator, json!({})).await;
    assert_eq!(late["totalCount"], 1);
    assert_eq!(late["array"][0]["startTime"], "2026-01-02 03:04:05");
}

#[tokio::test]
async fn running_actions_end_when_the_world_settles() {
    let simulator = simulator(options(1, 4)).await;
    let running = |answer: &Value| answer["array"].as_array().unwrap().len();
    let path = "environment/tracking/rest/getcurrentactions";
    let mut seen = false;
    for _ in 0..200 {
        simulator.world().step(1);
        let current = own(&simulator, path, &[]).await;
        if running(&current) == 1 {
            seen = true;
            assert!(current["array"][0].get("endTime").is_none());
            assert!(current["array"][0]["env"].is_string());
            break;
        }
    }
    assert!(seen, "a slow change within 200 steps");
    simulator.world().settle();
    assert_eq!(running(&own(&simulator, path, &[]).await), 0);
    let latest =
        own(&simulator, "environment/tracking/rest/getuidactions", &[("count", "1")]).await;
    assert!(latest["array"][0]["endTime"].is_string());
    let id = latest["array"][0]["id"].to_string();
    let action = own(&simulator, "environment/tracking/rest/getaction", &[("id", &id)]).await;
    assert_eq!(action["object"], latest["array"][0]);
}

#[tokio::test]
async fn the_server_tells_its_time_without_a_session() {
    let simulator = small().await;
    let time = call(&simulator, "environment/tracking/rest/getserverutctime", &[]).await;
    assert_eq!(time["object"], "2026-01-02 03:04:05");
    let listed = own(&simulator, BASIC, &[]).await;
    assert_eq!(names(&listed).len(), 6);
}
