//! What the ring promises, tried from outside.

use secrecy::{ExposeSecret, SecretString};

use super::*;

const CANARY: &str = "canary-session-key-8841";
const TEAM_42: Purpose<'_> = Purpose::Session { team_id: 42, platform_url: "https://app.example" };

fn ring(entries: &[&MasterKey]) -> KeyRing {
    let list: Vec<String> = entries.iter().map(|k| k.to_entry().expose_secret().into()).collect();
    KeyRing::parse(&list.join(",").into()).unwrap()
}

fn key(id: &str) -> MasterKey {
    MasterKey::generate(id).unwrap()
}

#[test]
fn opens_what_it_sealed() {
    let ring = KeyRing::of(key("2026-11"));
    let sealed = ring.seal(TEAM_42, &CANARY.into()).unwrap();
    let stored: Sealed = sealed.to_text().parse().unwrap();
    assert_eq!(ring.open(TEAM_42, &stored).unwrap().expose_secret(), CANARY);
    assert!(!sealed.to_text().contains(CANARY));
    assert_ne!(
        sealed.to_text(),
        ring.seal(TEAM_42, &CANARY.into()).unwrap().to_text(),
        "each seal draws its own nonce"
    );
}

#[test]
fn a_seal_moved_to_another_team_or_platform_does_not_open() {
    let ring = KeyRing::of(key("k"));
    let other_team = Purpose::Session { team_id: 43, platform_url: "https://app.example" };
    let other_platform = Purpose::Session { team_id: 42, platform_url: "https://app.other" };
    let ours = ring.seal(TEAM_42, &CANARY.into()).unwrap();
    let theirs = ring.seal(other_team, &CANARY.into()).unwrap();
    let refused = Err(SecretError::Refused("k".into()));
    assert_eq!(ring.open(other_team, &ours).map(drop), refused);
    assert_eq!(ring.open(TEAM_42, &theirs).map(drop), refused);
    assert_eq!(ring.open(other_platform, &ours).map(drop), refused);
    assert_eq!(ring.open(Purpose::Installation, &ours).map(drop), refused);
    assert!(ring.open(TEAM_42, &ours).is_ok(), "control: at home it opens");
}

#[test]
fn every_flipped_bit_is_noticed() {
    let ring = KeyRing::of(key("k"));
    let sealed = ring.seal(TEAM_42, &CANARY.into()).unwrap();
    for bit in 0..sealed.nonce.len() * 8 {
        let mut altered = sealed.clone();
        altered.nonce[bit / 8] ^= 1 << (bit % 8);
        assert!(ring.open(TEAM_42, &altered).is_err(), "nonce bit {bit}");
    }
    for bit in 0..sealed.ciphertext.len() * 8 {
        let mut altered = sealed.clone();
        altered.ciphertext[bit / 8] ^= 1 << (bit % 8);
        assert!(ring.open(TEAM_42, &altered).is_err(), "ciphertext bit {bit}");
    }
}

#[test]
fn every_altered_character_of_the_text_is_noticed() {
    let ring = KeyRing::of(key("k"));
    let text = ring.seal(TEAM_42, &CANARY.into()).unwrap().to_text();
    for (at, original) in text.char_indices() {
        let replacement = if original == 'A' { 'B' } else { 'A' };
        let mut altered = text.clone();
        altered.replace_range(at..=at, &replacement.to_string());
        let opened = altered.parse::<Sealed>().and_then(|s| ring.open(TEAM_42, &s));
        assert!(opened.is_err(), "character {at}");
    }
}

#[test]
fn an_unknown_key_is_named() {
    let sealed = KeyRing::of(key("old-key")).seal(TEAM_42, &CANARY.into()).unwrap();
    let error = KeyRing::of(key("new-key")).open(TEAM_42, &sealed).map(drop).unwrap_err();
    assert_eq!(error, SecretError::UnknownKey("old-key".into()));
    assert!(error.to_string().contains("old-key"));
}

#[test]
fn the_old_key_opens_and_the_new_one_encrypts() {
    let (old, new) = (key("old"), key("new"));
    let sealed = ring(&[&old]).seal(TEAM_42, &CANARY.into()).unwrap();
    let both = ring(&[&new, &old]);
    assert_eq!(both.open(TEAM_42, &sealed).unwrap().expose_secret(), CANARY);

    let rotated = both.rotate(TEAM_42, &sealed).unwrap().expect("sealed by the old key");
    assert_eq!(rotated.key_id(), "new");
    assert!(both.rotate(TEAM_42, &rotated).unwrap().is_none(), "already the primary's");
    assert_eq!(ring(&[&new]).open(TEAM_42, &rotated).unwrap().expose_secret(), CANARY);
}

#[test]
fn a_same_named_but_different_key_does_not_open() {
    let sealed = KeyRing::of(key("k")).seal(TEAM_42, &CANARY.into()).unwrap();
    assert!(matches!(KeyRing::of(key("k")).open(TEAM_42, &sealed), Err(SecretError::Refused(_))));
}

#[test]
fn nothing_shows_in_debug() {
    let master = key("k");
    let entry = master.to_entry();
    let base64 = entry.expose_secret().split_once(':').unwrap().1.to_owned();
    let ring = KeyRing::parse(&entry).unwrap();
    let sealed = ring.seal(TEAM_42, &CANARY.into()).unwrap();
    let shown = format!("{ring:?} {master:?} {sealed:?} {entry:?}");
    assert!(shown.contains('k'));
    assert!(!shown.contains(CANARY) && !shown.contains(&base64));
}

#[test]
fn a_bad_ring_is_refused_without_quoting_it() {
    let good = key("a").to_entry().expose_secret().to_owned();
    let cases = [
        String::new(),
        " , ".into(),
        "nocolonsecret".into(),
        "a:not base64 secret!".into(),
        "a:c2VjcmV0".into(),
        format!("bad id:{good}"),
        format!("{good},{good}"),
        format!("{good},b:c2VjcmV0"),
    ];
    for case in cases {
        let error = KeyRing::parse(&SecretString::from(case.clone())).unwrap_err().to_string();
        assert!(!error.contains("secret!") && !error.contains("c2VjcmV0"), "{error}");
        assert!(!error.contains(good.split_once(':').unwrap().1), "{error}");
    }
}

#[test]
fn malformed_seals_are_values() {
    for text in ["", "v1", "v2|k|AA|AA", "v1|k|AA|AA", "v1|k|AA|AA|AA", "v1|a b|x|y", "é|é|é|é"]
    {
        assert!(matches!(text.parse::<Sealed>(), Err(SecretError::Malformed(_))), "{text}");
    }
}

#[test]
fn an_oversized_secret_is_refused() {
    let ring = KeyRing::of(key("k"));
    let long = "x".repeat(MAX_SECRET + 1);
    assert_eq!(ring.seal(TEAM_42, &long.into()), Err(SecretError::TooLong(MAX_SECRET + 1)));
}
