//! Polling by scripts and forms: what goes over the wire, and that nothing of the client's becomes script.

use hobnob::{
    protocol::engineio::{Jsonp, jsonp::from_form},
    transport::Config,
};

use crate::wire::{BINARY, Echo, Listening, Poller, Wire, request, send};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

/// A payload, and the form in which clients 1.x and 2.x send it, before it is percent-encoded.
const FORMS: &[(&str, &str)] = &[
    ("4plain", "4plain"),
    ("4a\nb", r"4a\nb"),
    (r"4a\nb", r"4a\\nb"),
    (r"4a\\nb", r"4a\\\nb"),
    ("4\n\\n\n", r"4\n\\n\n"),
    (r#"42["x",{"y":"\"\\\t"}]"#, r#"42["x",{"y":"\"\\\t"}]"#),
    ("4&d=1+2%20;é€😀\u{2028}", "4&d=1+2%20;é€😀\u{2028}"),
];

/// A payload, and the literal in the script.
const SCRIPTS: &[(&str, &str)] = &[
    ("4plain", r#""4plain""#),
    (r#"42["a"]"#, r#""42[\"a\"]""#),
    ("4\\n\n\r\t\0", r#""4\\n\n\r\t\u0000""#),
    ("4\u{2028}\u{2029}", r#""4\u2028\u2029""#),
    ("4é€😀", r#""4é€😀""#),
    ("4</script>');alert(1)//", r#""4</script>');alert(1)//""#),
];

fn form(field: &str) -> Vec<u8> {
    let fields = form_urlencoded::Serializer::new(String::new()).append_pair("d", field).finish();
    fields.into_bytes()
}

async fn post(client: &Poller<'_, Echo>, form: &[u8]) -> (u16, String) {
    client.server.request("POST", &client.query, &[FORM], form).await.said()
}

#[test]
fn a_form_is_read_as_clients_write_it() {
    for (payload, field) in FORMS {
        assert_eq!(from_form(&form(field)).as_deref(), Some(*payload), "{field}");
    }
    assert_eq!(from_form(b"a=b&d=4+x%0A&e").as_deref(), Some("4 x\n"));
    for bad in [&b""[..], b"x=4a", b"4a", b"d=4a&d=4b", b"D=4a"] {
        assert_eq!(from_form(bad), None, "{bad:?}");
    }
}

#[test]
fn a_script_is_a_call_with_one_string() {
    let jsonp = Jsonp::from_query("12");
    for (payload, literal) in SCRIPTS {
        assert_eq!(jsonp.wrap(payload.as_bytes()), format!("___eio[12]({literal});"));
    }
}

#[test]
fn an_index_has_digits_only() {
    let called = |j: &str| Jsonp::from_query(j).wrap(b"6");
    assert_eq!(called("0"), r#"___eio[0]("6");"#);
    assert_eq!(called("0];alert(1);//"), r#"___eio[01]("6");"#);
    assert_eq!(called("٣\u{2028}x"), r#"___eio[]("6");"#);
    assert_eq!(called(&"9".repeat(10_000)), format!(r#"___eio[{}]("6");"#, "9".repeat(16)));
}

#[tokio::test]
async fn every_poll_of_the_session_is_a_script_that_browsers_run() {
    let server = Listening::echo(Config::default()).await;
    for (version, open) in [(3, "___eio[7]("), (4, r#"___eio[7]("0{"#)] {
        let client = Poller::open(&server, version, "&j=7&b64=1").await;
        assert!(client.open.starts_with(open) && client.open.ends_with("}\");"), "{}", client.open);
        assert_eq!(post(&client, &form(&client.payload("4a\"b"))).await, (200, "ok".to_owned()));
        let answer = client.get().await;
        assert_eq!(answer.header("content-type"), Some("text/javascript; charset=UTF-8"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let expected = if version == 3 { r#"___eio[7]("4:4a\"b");"# } else { r#"___eio[7]("4a\"b");"# };
        assert_eq!(answer.said(), (200, expected.to_owned()));
    }
    let client = Poller::open(&server, 3, "&j=%5D%28alert%29%2F%2F1%3B").await;
    assert!(client.open.starts_with(r#"___eio[1](""#), "{}", client.open);
}

#[tokio::test]
async fn what_a_form_brings_comes_back_in_a_script() {
    let server = Listening::echo(Config::default()).await;
    let client = Poller::open(&server, 3, "&j=0&b64=1").await;
    for (packet, field) in FORMS {
        let length = packet.encode_utf16().count();
        assert_eq!(post(&client, &form(&format!("{length}:{field}"))).await, (200, "ok".to_owned()), "{field}");
        let literal = serde_json::Value::from(format!("{length}:{packet}")).to_string().replace('\u{2028}', "\\u2028");
        assert_eq!(client.get().await.text(), format!("___eio[0]({literal});"));
    }
    // Binary travels as base64, whether the client said so or not.
    for more in ["&j=0&b64=1", "&j=0"] {
        let client = Poller::open(&server, 3, more).await;
        assert_eq!(post(&client, &form("2:4a10:b4AQIDBA==")).await, (200, "ok".to_owned()));
        assert_eq!(client.get().await.text(), r#"___eio[0]("2:4a10:b4AQIDBA==");"#);
    }
}

#[tokio::test]
async fn a_form_without_a_payload_ends_the_session_and_refusals_are_those_of_any_poll() {
    let server = Listening::echo(Config::default()).await;
    for bad in [&b"2:4a"[..], b"x=2:4a", b"d=2:4a&d=2:4b", b"d=", b"d=9:4a", b"d=x"] {
        let client = Poller::open(&server, 3, "&j=0&b64=1").await;
        assert_eq!(post(&client, bad).await, (400, String::new()), "{bad:?}");
        client.is_gone().await;
    }
    for (query, code) in
        [("EIO=3&transport=abc&j=0", 0), ("EIO=3&transport=polling&sid=x&j=0", 1), ("EIO=5&transport=polling&j=0", 5)]
    {
        let answer = server.get(query).await;
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(answer.status == 400 && answer.text().starts_with(&format!(r#"{{"code":{code},"#)), "{answer:?}");
    }
}

#[tokio::test]
async fn the_end_is_told_in_a_script() {
    let server = Listening::echo(Config::default()).await;
    let client = Poller::open(&server, 3, "&j=0&b64=1").await;
    assert_eq!(post(&client, &form("4:4bye")).await, (200, "ok".to_owned()));
    assert_eq!(client.get().await.text(), r#"___eio[0]("5:4good4:4bye");"#);
    assert_eq!(client.get().await.text(), r#"___eio[0]("1:1");"#);
    client.is_gone().await;
}

#[tokio::test]
async fn a_form_that_is_too_large_and_a_long_script_are_treated_like_any_payload() {
    let server = Listening::echo(Config { max_http_buffer_bytes: 3_000, ..Config::default() }).await;
    let client = Poller::open(&server, 3, "&j=0&b64=1").await;
    let long = format!("2001:4{}", "a".repeat(2_000));
    assert_eq!(post(&client, &form(&long)).await, (200, "ok".to_owned()));
    let bytes = request("GET", &client.query, &["Accept-Encoding: gzip"], b"");
    let answer = send(server.address, &bytes).await.expect("an answer");
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(answer.header("content-type"), Some("text/javascript; charset=UTF-8"));
    assert_eq!(post(&client, &form(&"a".repeat(3_000))).await, (413, String::new()));
    client.is_gone().await;
}

#[tokio::test]
async fn a_session_that_began_with_scripts_may_upgrade() {
    let server = Listening::echo(Config::default()).await;
    // What the WebSocket takes, it says itself.
    for (more, frame) in [("", (BINARY, vec![4, 1, 2, 3, 4])), ("&b64=1", (0x81, b"b4AQIDBA==".to_vec()))] {
        let client = Poller::open(&server, 3, "&j=0").await;
        let mut wire = Wire::connect(server.address, &format!("{}{more}", client.upgrade_query())).await;
        wire.say("2probe").await;
        assert_eq!(wire.text().await, "3probe");
        wire.say("5").await;
        wire.say("4hello").await;
        assert_eq!(wire.text().await, "4hello");
        wire.send(BINARY, &[4, 1, 2, 3, 4]).await;
        assert_eq!(wire.frame().await, Some(frame));
    }
}
