//! A table of forged tokens, and the good ones that show the table can fail.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha384};

use super::*;
use crate::config::{Loaded, Sources};

const SECRET: &str = "a-secret-of-at-least-thirty-two-bytes";

fn auth() -> Auth {
    let environment = [("VZ_SYNC_JWT_SECRET".to_owned(), SECRET.to_owned())].into();
    Loaded::load(&Sources { environment, ..Sources::default() }).unwrap().config.auth
}

/// Signs any header and payload text, so that forgeries need no library's consent.
fn forge(header: &str, payload: &str, secret: &str) -> String {
    let body = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    format!("{body}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn good() -> Value {
    let now = unix_now();
    json!({
        "iss": "vz-sync", "aud": "vz-sync", "sub": "ann", "exp": now + 600, "nbf": now,
        "teams": {"42": "owner", "7": "developer"},
    })
}

fn altered(change: impl FnOnce(&mut Value)) -> String {
    let mut claims = good();
    change(&mut claims);
    claims.to_string()
}

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

#[test]
fn good_tokens_are_taken() {
    let verifier = Verifier::from_config(&auth()).unwrap();
    let now = unix_now();
    let cases = [
        ("plain", HS256, good().to_string()),
        ("no typ", r#"{"alg":"HS256"}"#, good().to_string()),
        ("access token typ", r#"{"alg":"HS256","typ":"at+JWT"}"#, good().to_string()),
        (
            "foreign key url is ignored",
            r#"{"alg":"HS256","jku":"https://evil"}"#,
            good().to_string(),
        ),
        ("unknown claim", HS256, altered(|c| c["shoe_size"] = json!(43))),
        ("audience list", HS256, altered(|c| c["aud"] = json!(["other", "vz-sync"]))),
        ("no nbf", HS256, altered(|c| drop(c.as_object_mut().unwrap().remove("nbf")))),
        ("within the leeway", HS256, altered(|c| c["exp"] = json!(now - 10))),
        ("float exp", HS256, altered(|c| c["exp"] = json!(now as f64 + 60.5))),
        ("no teams yet", HS256, altered(|c| c["teams"] = json!({}))),
    ];
    for (name, header, payload) in cases {
        let identity = verifier.verify(&forge(header, &payload, SECRET));
        assert!(identity.is_ok(), "{name}: {identity:?}");
    }
    let identity = verifier.verify(&forge(HS256, &good().to_string(), SECRET)).unwrap();
    assert_eq!(identity.subject, "ann");
    assert_eq!(identity.role(42), Some(Role::Owner));
    assert_eq!(identity.role(7), Some(Role::Developer));
    assert_eq!(identity.role(8), None);
}

#[test]
fn forged_tokens_are_refused() {
    let verifier = Verifier::from_config(&auth()).unwrap();
    let now = unix_now();
    let raw = |claims: &str| format!("{{{claims},\"teams\":{{\"42\":\"owner\"}}}}");
    let base = format!(r#""iss":"vz-sync","aud":"vz-sync","sub":"ann","exp":{}"#, now + 600);
    let without = |name: &str| altered(|c| drop(c.as_object_mut().unwrap().remove(name)));
    let claims = [
        ("expired", altered(|c| c["exp"] = json!(now - 31)), Refusal::Expired),
        ("expired long ago", altered(|c| c["exp"] = json!(0)), Refusal::Expired),
        ("exp as text", altered(|c| c["exp"] = json!((now + 600).to_string())), Refusal::Claims),
        ("exp null", altered(|c| c["exp"] = Value::Null), Refusal::Claims),
        ("exp negative", altered(|c| c["exp"] = json!(-1)), Refusal::Claims),
        ("no exp", without("exp"), Refusal::Claims),
        ("future nbf", altered(|c| c["nbf"] = json!(now + 90)), Refusal::NotYetValid),
        ("nbf as text", altered(|c| c["nbf"] = json!("soon")), Refusal::Claims),
        ("other issuer", altered(|c| c["iss"] = json!("evil")), Refusal::Issuer),
        ("no issuer", without("iss"), Refusal::Claims),
        ("issuer with a blank", altered(|c| c["iss"] = json!("vz-sync ")), Refusal::Issuer),
        ("other audience", altered(|c| c["aud"] = json!("billing")), Refusal::Audience),
        ("other audiences", altered(|c| c["aud"] = json!(["a", "b"])), Refusal::Audience),
        ("empty audience", altered(|c| c["aud"] = json!([])), Refusal::Audience),
        ("no audience", without("aud"), Refusal::Claims),
        ("no subject", without("sub"), Refusal::Claims),
        ("empty subject", altered(|c| c["sub"] = json!("")), Refusal::Claims),
        ("subject a number", altered(|c| c["sub"] = json!(7)), Refusal::Claims),
        ("no teams", without("teams"), Refusal::Claims),
        ("teams a list", altered(|c| c["teams"] = json!(["42"])), Refusal::Claims),
        ("unknown role", altered(|c| c["teams"] = json!({"42": "root"})), Refusal::Claims),
        ("role in capitals", altered(|c| c["teams"] = json!({"42": "Owner"})), Refusal::Claims),
        ("team with zero", altered(|c| c["teams"] = json!({"042": "owner"})), Refusal::Claims),
        ("team with plus", altered(|c| c["teams"] = json!({"+42": "owner"})), Refusal::Claims),
        ("team zero", altered(|c| c["teams"] = json!({"0": "owner"})), Refusal::Claims),
        ("team wildcard", altered(|c| c["teams"] = json!({"*": "owner"})), Refusal::Claims),
        ("exp twice", raw(&format!(r#"{base},"exp":99999999999"#)), Refusal::Claims),
        ("sub twice", raw(&format!(r#"{base},"sub":"root""#)), Refusal::Claims),
        (
            "team twice",
            format!(r#"{{{base},"teams":{{"42":"developer","42":"owner"}}}}"#),
            Refusal::Claims,
        ),
        ("payload not an object", "[]".into(), Refusal::Claims),
        ("payload not JSON", "hello".into(), Refusal::Claims),
    ];
    for (name, payload, expected) in claims {
        assert_eq!(verifier.verify(&forge(HS256, &payload, SECRET)), Err(expected), "{name}");
    }

    let payload = good().to_string();
    let headers = [
        ("none", r#"{"alg":"none"}"#, Refusal::Algorithm),
        ("None", r#"{"alg":"None","typ":"JWT"}"#, Refusal::Algorithm),
        ("HS384", r#"{"alg":"HS384"}"#, Refusal::Algorithm),
        ("HS512", r#"{"alg":"HS512"}"#, Refusal::Algorithm),
        ("RS256", r#"{"alg":"RS256"}"#, Refusal::Algorithm),
        ("EdDSA", r#"{"alg":"EdDSA"}"#, Refusal::Algorithm),
        ("lower case", r#"{"alg":"hs256"}"#, Refusal::Algorithm),
        ("no alg", r#"{"typ":"JWT"}"#, Refusal::Malformed),
        ("alg a number", r#"{"alg":256}"#, Refusal::Malformed),
        ("other typ", r#"{"alg":"HS256","typ":"logout+jwt"}"#, Refusal::Type),
        ("crit", r#"{"alg":"HS256","crit":["exp"]}"#, Refusal::Type),
    ];
    for (name, header, expected) in headers {
        assert_eq!(verifier.verify(&forge(header, &payload, SECRET)), Err(expected), "{name}");
    }

    let token = forge(HS256, &payload, SECRET);
    let parts: Vec<&str> = token.split('.').collect();
    let other = altered(|c| c["teams"] = json!({"1": "owner"}));
    let swapped = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(other), parts[2]);
    let mut sha384 = Hmac::<Sha384>::new_from_slice(SECRET.as_bytes()).unwrap();
    sha384.update(format!("{}.{}", parts[0], parts[1]).as_bytes());
    let sha384 = URL_SAFE_NO_PAD.encode(sha384.finalize().into_bytes());
    let texts = [
        (
            "other secret",
            forge(HS256, &payload, "another-secret-of-thirty-two-bytes!"),
            Refusal::Signature,
        ),
        ("empty secret", forge(HS256, &payload, ""), Refusal::Signature),
        ("swapped payload", swapped, Refusal::Signature),
        (
            "signed by HS384 under HS256",
            format!("{}.{}.{sha384}", parts[0], parts[1]),
            Refusal::Signature,
        ),
        ("signature cut off", format!("{}.{}.", parts[0], parts[1]), Refusal::Signature),
        ("signature missing", format!("{}.{}", parts[0], parts[1]), Refusal::Malformed),
        ("a fourth part", format!("{token}.x"), Refusal::Malformed),
        ("empty", String::new(), Refusal::Malformed),
        ("dots", "..".into(), Refusal::Malformed),
        ("not base64", "a b.c d.e f".into(), Refusal::Malformed),
        ("too long", format!("{token}{}", "x".repeat(MAX_TOKEN_BYTES)), Refusal::TooLong),
    ];
    for (name, text, expected) in texts {
        assert_eq!(verifier.verify(&text), Err(expected), "{name}");
    }
}

#[test]
fn minted_tokens_verify_and_end() {
    let auth = auth();
    let (minter, verifier) =
        (Minter::from_config(&auth).unwrap(), Verifier::from_config(&auth).unwrap());
    let now = unix_now();
    let token = minter.mint("dev", &[(42, Role::Manager)], now, 600).unwrap();
    let header = format!("Bearer {}", token.expose_secret());
    let identity = verifier.verify_header(Some(&header)).unwrap();
    assert_eq!(identity.role(42), Some(Role::Manager));
    assert_eq!(identity.expires_at, now + 600);
    let old = minter.mint("dev", &[], now - 1000, 600).unwrap();
    assert_eq!(verifier.verify(old.expose_secret()), Err(Refusal::Expired));
    assert!(!format!("{verifier:?} {minter:?} {auth:?}").contains(SECRET));
}

#[test]
fn without_a_secret_nobody_gets_in() {
    let auth = Loaded::defaults().unwrap().config.auth;
    assert!(Verifier::from_config(&auth).is_none());
    assert!(Minter::from_config(&auth).is_none());
}
