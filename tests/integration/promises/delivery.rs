//! P6 to P12: what waits comes, once it can, in order, and nothing is passed over in silence.

use serde_json::{Value, json};

use super::group;
use crate::support::{client::Client, command::Sandbox, http, packets::Packets, process::Server, token};

/// The texts of `count` messages that `client` sends.
async fn send(client: &Client, id: &str, texts: impl IntoIterator<Item = String>) -> Vec<Value> {
    let draft = |text| json!({"conversationId": id, "content": text});
    let acks: Vec<_> = texts.into_iter().map(|text| client.call("message:send", &draft(text))).collect();
    let mut messages = Vec::new();
    for ack in acks {
        let mut ack = ack.await.expect("an ack");
        assert_eq!(ack["ok"], true, "{ack}");
        messages.push(ack["message"].take());
    }
    messages
}

/// A client that answers no heartbeat, so that nothing it gets is proved.
async fn mute(server: &Server, user: &str) -> Packets {
    Packets::join(server.address, "", &token::of(user)).await
}

/// The next message that the server sends by itself.
async fn next_message(packets: &mut Packets) -> Value {
    let packet = packets.until(r#"42["message:new","#).await;
    let event: Value = serde_json::from_str(&packet[2..]).expect("an array");
    event[1].clone()
}

/// How much waits for a user.
async fn waiting(server: &Server, user: &str) -> Value {
    let answer = http::call(server.address, &token::of(user), "GET", "/api/queue/size", &Value::Null).await;
    answer.json()["size"].clone()
}

async fn metric(server: &Server, name: &str) -> u64 {
    let text = http::request(server.address, "GET", "/metrics", &[], b"").await.body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or("0");
    line.parse().expect("a number")
}

/// More than two pages of the queue, over two conversations, and a second time for another member after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn p6_every_stored_message_comes_to_every_member_in_order_and_without_being_asked_for() {
    const EACH: usize = 130;
    let sandbox = Sandbox::new();
    let (mut server, clients, first) = group(&sandbox, &["ann", "ben"]).await;
    let members = json!({"conversationId": first, "members": ["cem"]});
    clients[0].ok("conversation:add-members", members).await;
    let second = clients[0].group(&["ben", "cem"]).await;
    drop(clients);
    let ann = Client::connect(server.address, "ann").await;
    for id in [&first, &second] {
        send(&ann, id, (1..=EACH).map(|n| format!("text {n}"))).await;
    }
    for user in ["ben", "cem"] {
        let mut client = Client::connect(server.address, user).await;
        let mut last = std::collections::BTreeMap::from([(first.as_str(), 0), (second.as_str(), 0)]);
        for _ in 0..2 * EACH {
            let message = client.event("message:new").await;
            let conversation = message["conversationId"].as_str().expect("an id");
            let (_, seq) = last.iter_mut().find(|(id, _)| **id == conversation).expect("one of two");
            *seq += 1;
            assert_eq!((&message["seq"], &message["content"]), (&json!(*seq), &json!(format!("text {seq}"))));
        }
        assert!(last.values().all(|seq| *seq == EACH), "{last:?}");
        server.kill().await;
        server = Server::start(&sandbox).await;
    }
    server.calm_log();
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_a_cursor_moves_only_forward_and_only_on_confirmation() {
    let sandbox = Sandbox::new();
    let (mut server, clients, id) = group(&sandbox, &["ann", "ben"]).await;
    drop(clients);
    let ann = Client::connect(server.address, "ann").await;
    let sent = send(&ann, &id, (1..=4).map(|n| format!("text {n}"))).await;
    // Sent and not confirmed: it comes again on every connection, and says so.
    for visit in 0..3 {
        let mut ben = mute(&server, "ben").await;
        for message in &sent {
            let got = next_message(&mut ben).await;
            assert_eq!(
                (&got["id"], &got["seq"], &got["content"]),
                (&message["id"], &message["seq"], &message["content"])
            );
            assert_eq!(got["redelivered"] == true, visit > 0, "visit {visit}: {got}");
        }
        assert_eq!(waiting(&server, "ben").await, 4);
    }
    // The client says so: forward, and never back.
    let mut ben = mute(&server, "ben").await;
    for (number, up_to, left) in [(1, 3, 1), (2, 1, 1), (3, 3, 1)] {
        let wish = json!(["message:delivered", {"conversationId": id, "upToSeq": up_to}]);
        ben.send(&format!("42{number}{wish}")).await;
        assert!(ben.until(&format!("43{number}[")).await.contains(r#""ok":true"#));
        assert_eq!(waiting(&server, "ben").await, left, "up to {up_to}");
    }
    drop(ben);
    // The transport proves it: an answer to a heartbeat that came after the message.
    let mut ben = mute(&server, "ben").await;
    assert_eq!(next_message(&mut ben).await["seq"], 4);
    ben.until("2").await;
    ben.send("3").await;
    ben.send(r#"421["heartbeat",{}]"#).await;
    ben.until("431[").await;
    assert_eq!(waiting(&server, "ben").await, 0);
    drop(ben);
    // In order, the server writes it down: after a clean restart the first thing that comes is new.
    server.terminate();
    assert_eq!(server.ended().await.0.code(), Some(0));
    let server = Server::start(&sandbox).await;
    let mut ben = mute(&server, "ben").await;
    let ann = Client::connect(server.address, "ann").await;
    let fifth = send(&ann, &id, ["text 5".to_owned()]).await;
    let got = next_message(&mut ben).await;
    assert_eq!((&got["id"], &got["redelivered"]), (&fifth[0]["id"], &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_what_is_live_never_overtakes_what_was_missed() {
    const MISSED: u64 = 250;
    const LIVE: u64 = 120;
    let sandbox = Sandbox::new();
    let (server, clients, id) = group(&sandbox, &["ann", "ben"]).await;
    drop(clients);
    let ann = Client::connect(server.address, "ann").await;
    send(&ann, &id, (1..=MISSED).map(|n| n.to_string())).await;
    let (other, more) = (Client::connect(server.address, "ann").await, id.clone());
    let mut sending = tokio::task::JoinSet::new();
    sending.spawn(async move {
        for n in MISSED + 1..=MISSED + LIVE {
            send(&other, &more, [n.to_string()]).await;
        }
    });
    let mut bens = Vec::new();
    for _ in 0..3 {
        bens.push(Client::connect(server.address, "ben").await);
    }
    let complete = |mut ben: Client| async move {
        let mut last = ben.event("message:new").await["seq"].as_u64().expect("a number");
        assert!(last <= MISSED + 1, "{last} came first");
        while last < MISSED + LIVE {
            let message = ben.event("message:new").await;
            assert_eq!(message["seq"], last + 1, "after {last}");
            last += 1;
        }
    };
    futures_util::future::join_all(bens.into_iter().map(complete)).await;
    sending.join_all().await;
}

#[tokio::test]
async fn p9_complete_is_said_only_when_nothing_is_missing() {
    let sandbox = Sandbox::new();
    let (_server, clients, id) = group(&sandbox, &["ann", "ben"]).await;
    send(&clients[0], &id, (1..=25).map(|n| n.to_string())).await;
    let ben = &clients[1];
    let (mut request, mut got) = (json!({"cursors": {(id.as_str()): 3}, "limit": 10}), Vec::new());
    loop {
        let page = ben.ok("get-missed-messages", request).await;
        let messages = page["messages"].as_array().expect("a list");
        got.extend(messages.iter().map(|message| message["seq"].as_u64().expect("a number")));
        let at_end = got.len() == 22;
        assert_eq!((&page["complete"], &page["hasMore"]), (&json!(at_end), &json!(!at_end)), "{page}");
        assert_eq!(page["nextCursor"].is_null(), at_end, "{page}");
        if at_end {
            break;
        }
        request = json!({"cursor": page["nextCursor"], "limit": 10});
    }
    assert_eq!(got, (4..=25).collect::<Vec<_>>());
    // A point that does not exist is an error, and no empty list.
    for cursor in [26, 1000, u64::MAX] {
        ben.refused("invalid_payload", "get-missed-messages", json!({"cursors": {(id.as_str()): cursor}})).await;
    }
    ben.refused("invalid_payload", "get-missed-messages", json!({"cursors": {"x": 1}})).await;
    // A conversation that one is not in, perhaps not any more, is told apart from those that were read.
    let page =
        ben.ok("get-missed-messages", json!({"cursors": {"0123456789abcdef01234567": 1, (id.as_str()): 25}})).await;
    assert_eq!(page["cursors"], json!({(id.as_str()): 25}), "{page}");
    assert_eq!(page["gone"], json!(["0123456789abcdef01234567"]), "{page}");
    for cursor in ["?", "AAAA", ""] {
        ben.refused("invalid_payload", "get-missed-messages", json!({"cursor": cursor})).await;
    }
    let page = ben.ok("get-missed-messages", json!({"cursors": {(id.as_str()): 25}})).await;
    assert_eq!((&page["count"], &page["complete"]), (&json!(0), &json!(true)), "{page}");
}

#[tokio::test]
async fn p10_what_falls_out_of_the_queue_is_counted_told_and_left_to_the_history() {
    let sandbox = Sandbox::new();
    let server = Server::start_with(&sandbox, &[("HOBNOB_QUEUE__MAX_PER_USER", "10")]).await;
    let ann = Client::connect(server.address, "ann").await;
    let id = ann.group(&["ben"]).await;
    send(&ann, &id, (1..=25).map(|n| n.to_string())).await;
    let mut ben = Client::connect(server.address, "ben").await;
    assert_eq!(ben.event("queue:truncated").await, json!({"dropped": 15}));
    for seq in 16..=25 {
        assert_eq!(ben.event("message:new").await["seq"], seq);
    }
    assert_eq!(metric(&server, "hobnob_queue_truncated_total").await, 15);
    let (messages, _, _) = ben.missed(json!({(id.as_str()): 0}), 100).await.expect("an ack");
    assert_eq!(messages.len(), 25, "the history has it");
    // Nothing is told where nothing falls out.
    drop(ben);
    let mut ben = Client::connect(server.address, "ben").await;
    let mark = send(&ann, &id, ["mark".to_owned()]).await;
    loop {
        let event = ben.next().await.expect("an event");
        assert_ne!(event.name, "queue:truncated");
        if event.payload["id"] == mark[0]["id"] {
            break;
        }
    }
}

#[tokio::test]
async fn p11_a_deleted_text_reaches_nobody_who_has_not_had_it() {
    const TEXT: &str = "regretted at once";
    let sandbox = Sandbox::new();
    let (mut server, clients, id) = group(&sandbox, &["ann", "ben"]).await;
    drop(clients);
    let ann = Client::connect(server.address, "ann").await;
    let sent = send(&ann, &id, [TEXT.to_owned(), "kept".to_owned()]).await;
    let edited = json!({"messageId": sent[0]["id"], "content": format!("{TEXT} still")});
    ann.ok("message:edit", edited).await;
    ann.ok("message:delete", json!({"messageId": sent[0]["id"]})).await;
    for _ in 0..2 {
        let mut ben = Packets::join(server.address, "", &token::of("ben")).await;
        let (mut packets, mut tombstones) = (Vec::new(), 0);
        while tombstones == 0 || !packets.iter().any(|packet: &String| packet.contains(r#""content":"kept""#)) {
            let packet = ben.next().await.expect("a packet");
            tombstones += usize::from(packet.starts_with(r#"42["message:deleted""#));
            packets.push(packet);
        }
        let path = format!("/api/messages/conversation/{id}");
        let history = http::call(server.address, &token::of("ben"), "GET", &path, &Value::Null).await.body;
        let missed = Client::connect(server.address, "ben").await.missed(json!({}), 100).await.expect("an ack");
        for seen in packets.iter().chain([&history, &format!("{missed:?}")]) {
            assert!(!seen.contains(TEXT), "{seen}");
        }
        server.kill().await;
        server = Server::start(&sandbox).await;
    }
}

/// Notifications: stored before they are acknowledged, read and deleted any number of times, and counted as they are stored.
#[tokio::test]
async fn p12_notifications_survive_kills_are_idempotent_and_counted_as_stored() {
    let sandbox = Sandbox::new();
    let key = super::api_key(&sandbox).await;
    let mut server = Server::start(&sandbox).await;
    let mut ids = Vec::new();
    for step in ["make", "make", "make", "read", "delete", "look"] {
        let auth = json!({"token": token::of("eve")});
        let eve = Client::join(server.address, "/notifications", auth).await.expect("admitted");
        match step {
            "make" => {
                let wish = json!({"userId": "eve", "type": "system", "title": format!("number {}", ids.len())});
                let headers = [("X-Api-Key", key.as_str()), ("Content-Type", "application/json")];
                let body = wish.to_string();
                let path = "/api/server/notifications";
                let answer = http::request(server.address, "POST", path, &headers, body.as_bytes()).await;
                assert_eq!(answer.status, 201, "{answer:?}");
                ids.push(answer.json()["notification"]["id"].clone());
            }
            "read" => {
                for _ in 0..2 {
                    eve.ok("notification:read", json!({"notificationId": ids[0]})).await;
                }
            }
            "delete" => {
                for _ in 0..2 {
                    eve.ok("notification:delete", json!({"notificationId": ids[1]})).await;
                }
            }
            _ => {}
        }
        drop(eve);
        server.kill().await;
        server = Server::start(&sandbox).await;
        let auth = json!({"token": token::of("eve")});
        let eve = Client::join(server.address, "/notifications", auth).await.expect("admitted");
        let list = eve.ok("notifications:list", json!({})).await;
        let list = list["notifications"].as_array().expect("a list");
        let unread = list.iter().filter(|one| one["status"] == "unread").count();
        assert_eq!(eve.ok("notifications:unread", json!({})).await["count"], unread, "{step}: {list:?}");
        let expected = match step {
            "make" => (ids.len(), ids.len()),
            "read" => (3, 2),
            _ => (2, 1),
        };
        assert_eq!((list.len(), unread), expected, "{step}: {list:?}");
    }
    // A repeat after the restart changes nothing either.
    let auth = json!({"token": token::of("eve")});
    let eve = Client::join(server.address, "/notifications", auth).await.expect("admitted");
    eve.ok("notification:delete", json!({"notificationId": ids[1]})).await;
    eve.ok("notification:read", json!({"notificationId": ids[0]})).await;
    assert_eq!(eve.ok("notifications:unread", json!({})).await["count"], 1);
}
